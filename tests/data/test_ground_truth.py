"""Files of COCO and LVIS, and tars, as what detections are measured against."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.layouts import MASK, picture, record, write, write_shard

from opensam.data.ground_truth import Annotation, Category, GroundTruth, open_ground_truth
from opensam.masks import encode_rle
from opensam.records import ImageInfo, ImageRecord, MaskRecord

SQUARE = [10, 5, 20, 5, 20, 15, 10, 15]
CATS = [{"id": 7, "name": "sheep"}, {"id": 3, "name": "cow"}]


def image(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "height": 20, "width": 30} | changes


def annotation(number: int, image_id: int, **changes: Any) -> dict[str, Any]:
    entry = {"id": number, "image_id": image_id, "category_id": 7, "segmentation": [SQUARE], "iscrowd": 0}
    return entry | {"bbox": [10, 5, 10, 10], "area": 99.5} | changes


def coco(folder: Path, images: list[Any], annotations: list[Any], categories: list[Any] = CATS) -> GroundTruth:
    write(folder, {f"images/{number}.png": picture() for number in (1, 2, 3)})
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (folder / "farm.json").write_text(json.dumps(content))
    return open_ground_truth([f"{folder / 'farm.json'}:{folder / 'images'}"])


def test_a_coco_file_gives_all_pictures_by_id_with_everything_in_them(tmp_path: Path) -> None:
    crowd = annotation(5, 3, iscrowd=1, segmentation=encode_rle(MASK), category_id=3)
    truth = coco(tmp_path, [image(3), image(1), image(2)], [annotation(4, 3), crowd, annotation(0, 1)])
    assert (truth.name, truth.federated, len(truth)) == ("farm", False, 3)
    assert [truth.image_id(i) for i in range(3)] == [1, 2, 3], "2 has no annotations and counts all the same"
    assert [truth.key(i) for i in range(3)] == ["1.png", "2.png", "3.png"]
    assert list(truth.categories.items()) == [(3, Category(3, "cow")), (7, Category(7, "sheep"))]
    assert truth.picture(0) == picture()
    assert truth.read(1).annotations == ()
    first, second = truth.read(2).annotations
    assert first == Annotation(4, 7, encode_rle(MASK), (10, 5, 10, 10), 99.5)
    assert (second.crowd, second.category) == (True, 3)
    assert (truth.size(2), truth.read(2).size, truth.read(2).id) == ((20, 30), (20, 30), 3)


def test_a_lvis_file_says_where_categories_were_looked_for(tmp_path: Path) -> None:
    lists = {"neg_category_ids": [3], "not_exhaustive_category_ids": [7]}
    url = {"coco_url": "http://images.cocodataset.org/val2017/1.png"}
    lvis = {key: value for key, value in image(1, **lists, **url).items() if key != "file_name"}
    kinds = [CATS[0] | {"frequency": "f"}, CATS[1] | {"frequency": "r"}]
    truth = coco(tmp_path, [lvis, image(2, neg_category_ids=[])], [annotation(4, 1)], kinds)
    assert truth.federated
    assert [one.frequency for one in truth.categories.values()] == ["r", "f"]
    known = truth.read(0)
    assert (known.negatives, known.not_exhaustive) == ({3}, {7})
    assert truth.key(0) == "val2017/1.png"
    assert truth.picture(0) == picture(), "also without the folder that the address names"
    assert truth.read(1).negatives == set()


def test_what_the_file_does_not_say_is_measured(tmp_path: Path) -> None:
    bare = annotation(4, 1)
    del bare["area"], bare["iscrowd"]
    truth = coco(tmp_path, [{"id": 1, "file_name": "1.png"}], [bare])
    assert truth.size(0) == MASK.shape
    (one,) = truth.read(0).annotations
    assert (one.area, one.crowd) == (100.0, False)


def named(name: str, number: int, masks: list[tuple[np.ndarray, str | None]]) -> dict[str, bytes]:
    records = [
        MaskRecord.from_mask(mask, k, predicted_iou=1.0, stability_score=1.0, category=category)
        for k, (mask, category) in enumerate(masks)
    ]
    info = ImageInfo(image_id=number, width=30, height=20, file_name=f"{name}.png")
    return {f"{name}.png": picture(), f"{name}.json": ImageRecord(image=info, annotations=records).to_json()}


def test_tars_are_one_ground_truth_with_the_categories_that_they_name(tmp_path: Path) -> None:
    empty = np.zeros_like(MASK)
    write_shard(tmp_path / "farm-000.tar", named("a", 5, [(MASK, "sheep"), (MASK, None), (empty, "cow")]))
    write_shard(tmp_path / "farm-001.tar", named("b", 6, [(MASK, "cow")]))
    farm = open_ground_truth([str(tmp_path)])
    assert (farm.name, [farm.key(i) for i in range(2)], farm.image_id(1)) == ("farm", ["a", "b"], 6)
    assert [one.name for one in farm.categories.values()] == ["cow", "object", "sheep"]
    known = farm.read(0)
    assert [(one.id, farm.categories[one.category].name) for one in known.annotations] == [(0, "sheep"), (1, "object")]
    assert known.annotations[0].bbox == (10, 5, 10, 10)
    assert (known.annotations[0].area, farm.size(0), farm.picture(0)) == (100, (20, 30), picture())
    write_shard(tmp_path / "sea.tar", {"a.png": picture(), "a.json": record("a")})
    both = open_ground_truth([str(tmp_path / "sea.tar"), str(tmp_path / "farm-000.tar")])
    assert (both.name, [both.key(i) for i in range(2)]) == ("2 data sets", ["farm/a", "sea/a"])


def test_it_can_be_sent_to_workers_and_holds_no_pictures(tmp_path: Path) -> None:
    write_shard(tmp_path / "farm.tar", named("a", 5, [(MASK, "sheep")]))
    for truth in (open_ground_truth([str(tmp_path / "farm.tar")]), coco(tmp_path, [image(1)], [annotation(4, 1)])):
        sent = pickle.dumps(truth)
        assert len(sent) < 3000
        assert pickle.loads(sent).read(0) == truth.read(0)


BROKEN = {
    "a category of nothing": ([image(1)], [annotation(4, 1, category_id=9)], "annotation 4 .*unknown category_id 9"),
    "an annotation of no picture": ([image(1)], [annotation(4, 8)], "annotation 4 .*unknown image_id 8"),
    "one id twice": ([image(1), image(1)], [], "two pictures have one id"),
    "no id": ([{"file_name": "1.png"}], [], "field 'id' is missing"),
    "no pictures": ([], [], "expected pictures"),
    "no objects": ([1], [], "layout of COCO"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, broken: str) -> None:
    images, annotations, sentence = BROKEN[broken]
    with pytest.raises(ValueError, match=sentence) as error:
        coco(tmp_path, images, annotations)
    assert "farm.json" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"segmentation": []}, "expected a segmentation, got none"),
        ({"segmentation": {"size": [9, 9], "counts": ""}}, r"size \[20, 30\], got \[9, 9\]"),
        ({"bbox": [1, 2, 3]}, "values to unpack"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    truth = coco(tmp_path, [image(1), image(2)], [annotation(4, 1, **changes), annotation(5, 2)])
    with pytest.raises(ValueError, match=rf"annotation 4 of .*farm\.json: .*{sentence}"):
        truth.read(0)
    assert len(truth.read(1).annotations) == 1, "the others can be used"


@pytest.mark.parametrize(
    ("categories", "sentence"),
    [
        ([CATS[0], CATS[0]], "two categories have one id"),
        ([CATS[0] | {"frequency": "often"}], "'often', not r, c or f"),
    ],
)
def test_categories_that_cannot_be_told_apart_are_refused(tmp_path: Path, categories: list, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        coco(tmp_path, [image(1)], [], categories)


@pytest.mark.parametrize("content", ["", "[]", '{"images": [], "annotations": []}', "nonsense"])
def test_json_of_another_layout_is_said_so(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"a.json": content, "images/1.png": picture()})
    with pytest.raises(ValueError, match=r"COCO and LVIS|layout of COCO") as error:
        open_ground_truth([f"{tmp_path / 'a.json'}:{tmp_path / 'images'}"])
    assert "a.json" in str(error.value)


def test_a_missing_file_or_folder_and_specs_of_other_kinds_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the folder of the pictures"):
        open_ground_truth([f"{tmp_path / 'a.json'}:{tmp_path / 'images'}"])
    with pytest.raises(ValueError, match="No such file"):
        open_ground_truth([f"{tmp_path / 'a.json'}:{tmp_path}"])
    with pytest.raises(ValueError, match="one ANNOTATIONS"):
        open_ground_truth([f"{tmp_path / 'a.json'}:{tmp_path}", "b.tar"])
    with pytest.raises(ValueError, match="expected a tar"):
        open_ground_truth([str(tmp_path)])
