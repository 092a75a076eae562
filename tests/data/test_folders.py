"""Folders of pictures with labels beside them."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.layouts import MASK, picture, record, write

from opensam.data.dataset import Folder
from opensam.data.folders import MaskFolder, RecordFolder, YoloFolder
from opensam.masks import decode_rle

LEVELS = MASK.astype(np.uint8)
YOLO = "3 0.3333333 0.25 0.6666667 0.25 0.6666667 0.75 0.3333333 0.75\n"


def keys(folder: Folder) -> list[str]:
    return [folder.key(i) for i in range(len(folder))]


def test_records_beside_pictures(tmp_path: Path) -> None:
    files = {"b.png": picture(), "b.json": record("b"), "sub/a.PNG": picture(), "sub/a.json": record("a")}
    data = RecordFolder(write(tmp_path / "farm", files | {"c.png": picture(), ".d.png": b"", ".e/f.png": b""}))
    assert keys(data) == ["b", "sub/a"]
    assert data.read(1).dataset == "farm"
    assert (decode_rle(data.read(1).masks[0]) == MASK).all()


@pytest.mark.parametrize(
    "labels",
    [
        LEVELS,
        LEVELS * 255,
        LEVELS.astype(np.uint16) * 40000,
        MASK,
        np.stack([LEVELS * 200, LEVELS, LEVELS * 7], axis=2),
    ],
    ids=["1", "255", "16 bit", "1 bit", "colours"],
)
def test_a_label_map_of_any_depth(tmp_path: Path, labels: np.ndarray) -> None:
    data = MaskFolder(write(tmp_path, {"images/sub/a.jpg": picture(), "masks/sub/a.png": labels, "images/b.jpg": b""}))
    assert keys(data) == ["sub/a"]
    (mask,) = data.read(0).masks
    assert (decode_rle(mask) == MASK).all()


def test_each_palette_index_and_each_colour_is_a_mask(tmp_path: Path) -> None:
    labels = LEVELS.copy()
    labels[0, 0] = 2
    palette = Image.fromarray(labels, mode=None).convert("P")
    palette.putdata(labels.ravel().tolist())
    palette.putpalette([0, 0, 0, 9, 9, 9, 9, 9, 9])
    write(tmp_path, {f"images/{name}.jpg": picture() for name in "ab"})
    write(tmp_path, {"masks/b.png": np.stack([labels, labels // 2, labels * 0], axis=2)})
    palette.save(tmp_path / "masks" / "a.png")
    data = MaskFolder(tmp_path)
    for i in range(2):
        assert [decode_rle(mask).sum() for mask in data.read(i).masks] == [100, 1]


def test_a_folder_of_binary_masks(tmp_path: Path) -> None:
    files = {"images/a.jpg": picture(), "masks/a/2.png": ~MASK, "masks/a/10.png": LEVELS * 200, "masks/a/notes.txt": ""}
    masks = [decode_rle(mask) for mask in MaskFolder(write(tmp_path, files)).read(0).masks]
    assert (np.array(masks) == np.array([MASK, ~MASK])).all()


def test_a_damaged_mask_is_an_error_when_read(tmp_path: Path) -> None:
    data = MaskFolder(write(tmp_path, {"images/a.jpg": picture(), "masks/a.png": b"hello"}))
    with pytest.raises(ValueError, match=r"cannot read the mask .*a\.png"):
        data.read(0)


def test_yolo_polygons_are_read_and_boxes_are_not(tmp_path: Path) -> None:
    files = {
        "images/train/a.jpg": picture(),
        "labels/train/a.txt": YOLO + "0 0.5 0.5 0.1 0.1\n\n" + YOLO.strip() + " 0.9",
    }
    data = YoloFolder(write(tmp_path, files | {"images/train/b.jpg": picture()}))
    assert keys(data) == ["train/a"]
    masks = data.read(0).masks
    assert len(masks) == 2
    assert all((decode_rle(mask) == MASK).all() for mask in masks)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [("0 a b", "expected `class"), ("0 10 5 20 5 20 15", "from 0 to 1"), ("0 nan 0 0 0 0 0", "from 0 to 1")],
)
def test_a_line_that_is_no_polygon_is_an_error_when_read(tmp_path: Path, line: str, sentence: str) -> None:
    data = YoloFolder(write(tmp_path, {"images/a.jpg": picture(), "labels/a.txt": YOLO + line}))
    with pytest.raises(ValueError, match=sentence) as error:
        data.read(0)
    assert "line 2" in str(error.value)


@pytest.mark.parametrize("kind", [RecordFolder, MaskFolder, YoloFolder])
def test_a_folder_without_pairs_and_one_name_twice_are_refused(tmp_path: Path, kind: type) -> None:
    labels = {"a.json": record("a"), "masks/a.png": LEVELS, "labels/a.txt": YOLO}
    write(tmp_path, labels | {"b.jpg": picture(), "images/b.jpg": picture()})
    with pytest.raises(ValueError, match="expected"):
        kind(tmp_path)
    write(tmp_path, {"a.jpg": picture(), "a.png": picture(), "images/a.jpg": picture(), "images/a.webp": picture()})
    with pytest.raises(ValueError, match="'a' twice"):
        kind(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such file names")
def test_file_names_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    data = MaskFolder(write(tmp_path, {f"images/{name}.jpg": picture(), f"masks/{name}.png": LEVELS}))
    assert data.read(0).name == "caf\\xe9"
    assert (decode_rle(data.read(0).masks[0]) == MASK).all()
