"""Annotation files of COCO and LVIS."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.layouts import MASK, picture, write

from opensam.data.coco import Coco
from opensam.masks import decode_rle, encode_rle

SQUARE = [10, 5, 20, 5, 20, 15, 10, 15]
RUNS = [10 * 20 + 5, *[10, 10] * 9, 10, 5 + 10 * 20]


def image(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "height": 20, "width": 30} | changes


def annotation(image_id: int, segmentation: Any, **changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image_id, "segmentation": segmentation, "iscrowd": 0} | changes


def coco(folder: Path, images: list[Any], annotations: list[Any], *, files: str = "1 2 3", **more: Any) -> Coco:
    write(folder, {f"images/{name}.png": picture() for name in files.split()})
    content = {"info": {"note": "[{"}, "annotations": annotations, "images": images, "categories": [], **more}
    (folder / "farm.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return Coco(folder / "farm.json", folder / "images")


@pytest.mark.parametrize(
    "segmentation",
    [[SQUARE], {"size": [20, 30], "counts": RUNS}, encode_rle(MASK)],
    ids=["polygons", "runs", "compressed runs"],
)
def test_every_kind_of_segmentation_is_read(tmp_path: Path, segmentation: Any) -> None:
    source = coco(tmp_path, [image(1)], [annotation(1, segmentation)]).read(0)
    assert (source.dataset, source.name, source.picture) == ("farm", "1", picture())
    assert (decode_rle(source.masks[0]) == MASK).all()


def test_pictures_come_sorted_with_their_own_annotations(tmp_path: Path) -> None:
    whole = [0, 0, 30, 0, 30, 20, 0, 20]
    annotations = [annotation(3, [SQUARE]), annotation(1, [whole]), annotation(3, [whole]), annotation(9, [whole])]
    data = coco(tmp_path, [image(3), image(2), image(1)], annotations)
    assert [data.key(i) for i in range(len(data))] == ["1", "3"], "2 has no masks; 9 is no picture"
    assert [[decode_rle(mask).sum() for mask in data.masks(i)] for i in range(2)] == [[600], [100, 600]]


def test_crowds_and_boxes_are_left_out(tmp_path: Path) -> None:
    crowd = annotation(1, {"size": [20, 30], "counts": RUNS}, iscrowd=1)
    data = coco(tmp_path, [image(1)], [crowd, annotation(1, []), annotation(1, [SQUARE])])
    assert len(data.masks(0)) == 1


def test_pictures_of_lvis_are_found_by_their_address(tmp_path: Path) -> None:
    url = "http://images.cocodataset.org/train2017/1.png"
    lvis = image(1, coco_url=url)
    del lvis["file_name"]
    data = coco(tmp_path, [lvis], [annotation(1, [SQUARE])])
    assert data.read(0).name == "train2017/1"
    (tmp_path / "images" / "train2017").mkdir()
    (tmp_path / "images" / "1.png").rename(tmp_path / "images" / "train2017" / "1.png")
    assert data.read(0).picture == picture()


def test_a_size_that_the_file_does_not_say_is_that_of_the_picture(tmp_path: Path) -> None:
    without = {"id": 1, "file_name": "1.png"}
    assert (decode_rle(coco(tmp_path, [without], [annotation(1, [SQUARE])]).masks(0)[0]) == MASK).all()


def test_letters_of_all_languages_and_paths_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    images = [image(1, file_name="Äpfel.png"), image(2, file_name="/data/2.png"), image(3, file_name="../3.png")]
    data = coco(tmp_path, images, [annotation(n, [SQUARE]) for n in (1, 2, 3)], files="Äpfel 2 3")
    assert [data.read(i).name for i in range(3)] == ["2", "3", "Äpfel"]
    assert all((decode_rle(data.masks(i)[0]) == MASK).all() for i in range(3)), "offsets are in bytes, not letters"


def test_a_picture_that_is_not_there_and_a_strange_segmentation_are_errors_when_read(tmp_path: Path) -> None:
    data = coco(tmp_path, [image(1), image(4)], [annotation(1, "text"), annotation(4, [SQUARE])])
    with pytest.raises(ValueError, match="expected a segmentation"):
        data.read(0)
    with pytest.raises(FileNotFoundError, match=r"4\.png"):
        data.read(1)


BROKEN = {
    "no masks": ([image(1)], [annotation(1, [])], "are there only boxes"),
    "two of one name": ([image(1), image(2, file_name="1.jpg")], [annotation(1, [SQUARE])], "'1' twice"),
    "two of one id": ([image(1), image(1, file_name="2.png")], [annotation(1, [SQUARE])], "one id twice"),
    "no file name": ([{"id": 1}], [annotation(1, [SQUARE])], "neither file_name nor coco_url"),
    "no image id": ([image(1)], [{"segmentation": [SQUARE]}], "field 'image_id' is missing"),
    "a size below 0": ([image(1, height=-5)], [annotation(1, [SQUARE])], "height and width"),
    "an endless size": ([image(1, height=1e999)], [annotation(1, [SQUARE])], "layout of COCO"),
    "no objects": ([1, 2], [3], "layout of COCO"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_cannot_be_used_is_refused_when_it_is_opened(tmp_path: Path, broken: str) -> None:
    images, annotations, sentence = BROKEN[broken]
    with pytest.raises(ValueError, match=sentence) as error:
        coco(tmp_path, images, annotations)
    assert "farm.json" in str(error.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "nonsense", '{"images": [', '{"images": [], "version": 3}', "{1: 2}"]
)
def test_json_that_is_no_coco_file_is_said_so(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"a.json": content, "images/1.png": picture()})
    with pytest.raises(ValueError, match=r"COCO.*a\.json"):
        Coco(tmp_path / "a.json", tmp_path / "images")


def test_a_missing_folder_or_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the folder of the pictures"):
        Coco(tmp_path / "a.json", tmp_path / "images")
    with pytest.raises(ValueError, match="No such file"):
        Coco(tmp_path / "a.json", tmp_path)


def test_memory_holds_places_not_annotations(tmp_path: Path) -> None:
    long = np.linspace(0, 19, 4000).tolist()
    data = coco(tmp_path, [image(1)], [annotation(1, [SQUARE]), annotation(1, [long])])
    assert sum(value.nbytes for value in vars(data).values() if isinstance(value, np.ndarray)) < 200
