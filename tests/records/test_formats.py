"""Formats: every one is read back, by our own readers and by those it was made for."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from tests.records.examples import SIZE, awkward, box, levels, masks_of, only, parsed, picture_of

from opensam.data.coco import Coco
from opensam.data.folders import MaskFolder, RecordFolder, YoloFolder
from opensam.masks import decode_rle
from opensam.records import ImageRecord, read_image_record
from opensam.records.formats import FORMATS, coco_dataset, yolo

NAMES = ["a", "farm/cow", "zwei Kühe/ß 日本"]


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def put_picture(folder, stem):
    (folder / f"{stem}.png").parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1]).save(folder / f"{stem}.png")


def dataset(name, records):
    return {file: b"".join(pieces) for file, pieces in FORMATS[name].dataset(iter(records))}


def same(masks, expected):
    assert len(masks) == len(expected)
    for mask, other in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(mask, other)


def test_formats_are_those_that_the_command_offers():
    assert list(FORMATS) == ["sa1b", "coco", "yolo", "labelme", "png", "labelmap"]
    for name, form in FORMATS.items():
        assert form.name == name
        assert "\n" not in form.description


@pytest.mark.parametrize("stem", NAMES)
def test_sa1b_is_read_back(tmp_path: Path, stem):
    record = picture_of(*awkward().values(), name=f"{stem}.png")
    put(tmp_path, FORMATS["sa1b"].files(record, stem))
    put_picture(tmp_path, stem)
    assert RecordFolder(tmp_path).masks(0) == tuple(mask.segmentation for mask in record.annotations)


def test_sa1b_has_the_keys_and_numbers_of_the_published_files():
    content = parsed(FORMATS["sa1b"].files(picture_of(box(3, 4, 6, 9)), "a"), "a.json")
    assert list(content) == ["image", "annotations"]
    assert list(content["image"].items()) == [("image_id", 1), ("width", 36), ("height", 24), ("file_name", "a.jpg")]
    [mask] = content["annotations"]
    assert list(mask) == [
        *("bbox", "area", "segmentation", "predicted_iou", "point_coords", "crop_box", "id", "stability_score")
    ]
    numbers = [*mask["bbox"], *mask["point_coords"][0], *mask["crop_box"], mask["predicted_iou"]]
    assert {type(number) for number in numbers} == {float}
    assert {type(mask[key]) for key in ("area", "id")} == {int}


def test_sa1b_written_read_and_written_is_the_same_bytes():
    files = FORMATS["sa1b"].files(picture_of(*awkward().values(), categories=["cow"] * 10), "a")
    again = FORMATS["sa1b"].files(read_image_record(files["a.json"]), "a")
    assert again == files


@pytest.mark.parametrize("stem", NAMES)
def test_coco_is_read_back_by_our_reader(tmp_path: Path, stem):
    put_picture(tmp_path / "images", stem)
    record = picture_of(*awkward().values(), name=f"{stem}.png")
    put(tmp_path, {"one.json": only(FORMATS["coco"].files(record, "one"), "one.json").encode()})
    put(tmp_path, dataset("coco", [record]))
    for file in ("one.json", "instances.json"):
        data = Coco(tmp_path / file, tmp_path / "images")
        assert data.key(0) == stem
        assert data.masks(0) == tuple(mask.segmentation for mask in record.annotations)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_coco_is_read_back_by_pycocotools_with_numbers_of_its_own(tmp_path: Path):
    cows = picture_of(box(1, 1, 9, 9), box(0, 0, 1, 1), name="cows.jpg", categories=["cow", None])
    pigs = picture_of(box(2, 3, 9, 9), np.zeros(SIZE, bool), name="pigs.jpg", categories=["pig", "cow"])
    put(tmp_path, dataset("coco", [cows, pigs]))
    coco = COCO(tmp_path / "instances.json")
    assert [(i["id"], i["file_name"], i["width"], i["height"]) for i in coco.loadImgs([1, 2])] == [
        *((1, "cows.jpg", 36, 24), (2, "pigs.jpg", 36, 24))
    ]
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["cow", "object", "pig"]
    assert sorted(coco.anns) == [1, 2, 3]  # the empty mask is left out
    assert [(ann["image_id"], ann["category_id"]) for ann in coco.anns.values()] == [(1, 1), (1, 2), (2, 3)]
    same([coco.annToMask(coco.anns[n]) > 0 for n in (1, 3)], [box(1, 1, 9, 9), box(2, 3, 9, 9)])
    assert coco.anns[3]["bbox"] == [2, 3, 7, 6]
    assert (coco.anns[3]["area"], coco.anns[3]["iscrowd"]) == (42, 0)


def test_coco_lists_the_categories_that_are_asked_for_first():
    records = iter([picture_of(box(1, 1, 9, 9), box(0, 0, 1, 1), categories=["cow", "sheep"])])
    ((_, pieces),) = coco_dataset(records, ["pig", "cow"])
    content = json.loads(b"".join(pieces))
    assert content["categories"] == [{"id": 1, "name": "pig"}, {"id": 2, "name": "cow"}, {"id": 3, "name": "sheep"}]
    assert [one["category_id"] for one in content["annotations"]] == [2, 3]


def test_coco_counts_boxes_and_areas_anew():
    record = picture_of(box(2, 3, 9, 9))
    short = record.annotations[0].model_copy(update={"bbox": [2.0, 3.0, 6.0, 5.0], "area": 1})
    content = parsed(FORMATS["coco"].files(record.model_copy(update={"annotations": [short]}), "a"), "a.json")
    assert (content["annotations"][0]["bbox"], content["annotations"][0]["area"]) == ([2, 3, 7, 6], 42)


def test_coco_of_many_pictures_reads_them_one_at_a_time():
    read = []

    def records():
        for number in range(3):
            read.append(number)
            yield picture_of(box(1, 1, 9, 9))

    [(name, pieces)] = FORMATS["coco"].dataset(records())
    assert (name, read) == ("instances.json", [])
    assert b"segmentation" in [next(pieces), next(pieces)][1]
    assert read == [0]
    rest = b"".join(pieces)
    assert rest.count(b'"image_id":') == 2


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "png"])
def test_a_picture_without_masks_still_has_its_file(name):
    [content] = FORMATS[name].files(picture_of(), "farm/a").values()
    again = FORMATS[name].files(picture_of(np.zeros(SIZE, bool)), "farm/a")
    if name != "sa1b":
        assert list(again.values()) == [content]  # an empty mask is none
    if name in ("sa1b", "coco", "labelme"):
        json.loads(content)


def test_no_pictures_make_a_coco_file_that_can_be_read():
    assert json.loads(dataset("coco", [])["instances.json"]) == {
        "annotations": [],
        "images": [],
        "categories": [{"id": 1, "name": "object"}],
    }


@pytest.mark.parametrize("stem", NAMES)
def test_yolo_is_read_back_bit_by_bit(tmp_path: Path, stem):
    put_picture(tmp_path / "images", stem)
    put(tmp_path, FORMATS["yolo"].files(picture_of(*awkward().values()), stem))
    same([decode_rle(rle) for rle in YoloFolder(tmp_path).masks(0)], list(awkward().values()))


def test_yolo_lines_are_a_class_and_corners_in_shares():
    text = only(FORMATS["yolo"].files(picture_of(box(0, 6, 18, 24)), "a"), "labels/a.txt")
    number, *shares = text.split()
    assert number == "0"
    assert text.endswith("\n")
    corners = np.array(shares, dtype=float).reshape(-1, 2).tolist()
    assert sorted(corners) == [[0.0, 0.25], [0.0, 1.0], [0.5, 0.25], [0.5, 1.0]]


def test_yolo_classes_are_numbered_as_listed():
    form = yolo(["pig", 'cow: a "big" one', "object"])
    record = picture_of(box(1, 1, 9, 9), box(2, 2, 9, 9), categories=['cow: a "big" one', None])
    text = only(form.files(record, "a"), "labels/a.txt")
    assert [line[:2] for line in text.splitlines()] == ["1 ", "2 "]
    [(name, pieces)] = form.dataset(iter([record]))
    assert name == "data.yaml"
    assert b"".join(pieces).decode() == (
        'path: .\ntrain: images\nval: images\nnames:\n  0: "pig"\n  1: "cow: a \\"big\\" one"\n  2: "object"\n'
    )


def test_yolo_refuses_a_category_that_has_no_number():
    record = picture_of(box(1, 1, 9, 9), categories=["cow"])
    with pytest.raises(ValueError, match=r"category of mask 1 among \['object'\], got 'cow'"):
        FORMATS["yolo"].files(record, "a")


def drawn_by_labelme(shapes):
    """The masks as LabelMe's own exporters draw them: filled with their outline, by group."""
    masks = {}
    for shape in shapes:
        canvas = Image.new("L", SIZE[::-1])
        points = [tuple(point) for point in shape["points"]]
        assert len(points) > 2  # it refuses fewer
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        masks[shape["group_id"]] = masks.get(shape["group_id"], False) | (np.asarray(canvas) > 0)
    return list(masks.values())


def test_labelme_is_read_back():
    """Bridges to holes are drawn as lines; they lie on the mask, so nothing changes."""
    content = parsed(FORMATS["labelme"].files(picture_of(*awkward().values()), "a"), "a.json")
    same(drawn_by_labelme(content["shapes"])[:-1], list(awkward().values())[:-1])


def test_labelme_keeps_nearly_all_of_noise():
    noise = awkward()["noise"]
    content = parsed(FORMATS["labelme"].files(picture_of(noise), "a"), "a.json")
    [drawn] = drawn_by_labelme(content["shapes"])
    assert (drawn & noise).sum() / (drawn | noise).sum() > 0.9


def test_labelme_has_the_keys_that_the_tool_asks_for():
    record = picture_of(awkward()["two islands"], box(2, 2, 9, 9), name="farm/Kühe 1.jpg", categories=[None, "Kuh"])
    text = only(FORMATS["labelme"].files(record, "farm/Kühe 1"), "farm/Kühe 1.json")
    assert "Kühe 1.jpg" in text
    content = json.loads(text)
    shapes = content.pop("shapes")
    version = content.pop("version")
    assert version.split(".")[0] == "5"
    assert content == {"flags": {}, "imagePath": "Kühe 1.jpg", "imageData": None, "imageHeight": 24, "imageWidth": 36}
    assert [(shape["label"], shape["group_id"], shape["shape_type"]) for shape in shapes] == [
        *(("object", 0, "polygon"), ("object", 0, "polygon"), ("Kuh", 1, "polygon"))
    ]
    assert shapes[2]["points"] == [[2.0, 2.0], [2.0, 8.0], [8.0, 8.0], [8.0, 2.0]]
    assert {(shape["description"], shape["mask"], json.dumps(shape["flags"])) for shape in shapes} == {("", None, "{}")}


@pytest.mark.parametrize("stem", NAMES)
def test_png_per_mask_is_read_back(tmp_path: Path, stem):
    put_picture(tmp_path / "images", stem)
    masks = list(awkward().values())[:8]
    files = FORMATS["png"].files(picture_of(*masks), stem)
    assert list(files) == [f"{stem}/{number}.png" for number in range(8)]
    assert set(np.unique(levels(files[f"{stem}/0.png"]))) == {0, 255}
    put(tmp_path / "masks", files)
    same([decode_rle(rle) for rle in MaskFolder(tmp_path).masks(0)], masks)


def test_png_of_an_empty_mask_keeps_its_number():
    files = FORMATS["png"].files(picture_of(np.zeros(SIZE, bool), box(0, 0, 2, 2)), "a")
    assert [int(levels(content).sum()) for content in files.values()] == [0, 4 * 255]
    assert FORMATS["png"].files(picture_of(), "a") == {}


@pytest.mark.parametrize("stem", NAMES)
def test_label_map_is_read_back(tmp_path: Path, stem):
    put_picture(tmp_path / "images", stem)
    whole, part = box(2, 2, 20, 20), box(4, 4, 9, 9)
    put(tmp_path / "masks", FORMATS["labelmap"].files(picture_of(part, whole), stem))
    same([decode_rle(rle) for rle in MaskFolder(tmp_path).masks(0)], [part, whole & ~part])


@pytest.mark.parametrize(("count", "kind"), [(255, np.uint8), (256, np.uint16)])
def test_a_label_map_has_16_bits_from_256_masks_on(count, kind):
    pixels = [box(n % 36, n // 36, n % 36 + 1, n // 36 + 1) for n in range(count)]
    labels = levels(FORMATS["labelmap"].files(picture_of(*pixels), "a")["a.png"])
    assert labels.dtype == kind
    assert labels.ravel()[: count + 1].tolist() == [*range(1, count + 1), 0]


def test_a_label_map_of_more_masks_than_it_can_number_is_refused():
    [mask] = masks_of(box(0, 0, 1, 1))
    record = ImageRecord.model_construct(image=picture_of().image, annotations=[mask] * 65536)
    with pytest.raises(ValueError, match=r"at most 65535 masks for a label map, got 65536 in a\.jpg"):
        FORMATS["labelmap"].files(record, "a")


@pytest.mark.parametrize("name", ["coco", "yolo", "labelme", "png", "labelmap"])
def test_a_damaged_mask_is_refused_not_written(name):
    record = picture_of(box(1, 1, 9, 9))
    record.annotations[0].segmentation["counts"] = "5220007"
    with pytest.raises(ValueError, match="runs fill its size"):
        FORMATS[name].files(record, "a")


def test_formats_without_files_about_all_pictures_give_none():
    assert [name for name in FORMATS if dataset(name, [])] == ["coco", "yolo"]
