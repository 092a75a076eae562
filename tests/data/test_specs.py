"""What a user types after --data."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.data.benchmarks.kinds import LAYOUTS
from tests.data.layouts import MASK, picture, record, write, write_shard
from tests.data.test_folders import YOLO

from opensam.data.coco import Coco
from opensam.data.folders import MaskFolder, RecordFolder, YoloFolder
from opensam.data.mixture import open_mixture
from opensam.data.specs import open_datasets, open_pictures, parse
from opensam.data.tars import LabelledTars

LABELS = MASK.astype(np.uint8)


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A data set in each layout."""
    write(tmp_path / "sa", {"a.png": picture(), "a.json": record("a")})
    write(tmp_path / "masked", {"images/a.png": picture(), "images/b.png": picture(), "masks/a.png": LABELS})
    write(tmp_path / "yolo", {"images/a.png": picture(), "labels/a.txt": YOLO})
    annotation = {"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [annotation]}
    write(tmp_path / "coco", {"farm.json": json.dumps(coco), "photos/a.png": picture()})
    (tmp_path / "tars").mkdir()
    for name in ("x-0", "x-1", "y"):
        write_shard(tmp_path / "tars" / f"{name}.tar", {f"{name}.png": picture(), f"{name}.json": record("a")})
    return tmp_path


def test_every_layout_is_recognised(everything: Path) -> None:
    specs = ["sa", "masked", "yolo", "coco/farm.json:PLACE/coco/photos/", "tars", "tars/y.tar@3"]
    opened = open_datasets([f"{everything}/{spec}".replace("PLACE", str(everything)) for spec in specs[:-1]])
    kinds = [RecordFolder, MaskFolder, YoloFolder, Coco, LabelledTars, LabelledTars]
    assert [type(dataset) for dataset, _ in opened] == kinds
    assert [dataset.name for dataset, _ in opened] == ["sa", "masked", "yolo", "farm", "x", "y"]
    assert [len(dataset) for dataset, _ in opened] == [1, 1, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("text", "path", "images", "weight"),
    [
        ("a/b", "a/b", None, None),
        ("a/b@2.5", "a/b", None, 2.5),
        ("a.json:b/c/@0.5", "a.json", "b/c", 0.5),
        ("me@home.json:photos", "me@home.json", "photos", None),
        ("C:/a.JSON:D:/b", "C:/a.JSON", "D:/b", None),
        ("me@home/a@1e2", "me@home/a", None, 100.0),
    ],
)
def test_specs_are_taken_apart(text: str, path: str, images: str | None, weight: float | None) -> None:
    spec = parse(text)
    assert (spec.path, spec.images, spec.weight) == (Path(path), images and Path(images), weight)


def test_a_path_that_exists_is_no_weight(tmp_path: Path) -> None:
    (tmp_path / "run@2").mkdir()
    assert parse(f"{tmp_path}/run@2").path == tmp_path / "run@2"
    assert parse(f"{tmp_path}/run@2@3").weight == 3


def test_published_layouts_are_known_by_name(tmp_path: Path) -> None:
    LAYOUTS["egohos"](tmp_path / "hands")
    LAYOUTS["ndd20"](tmp_path / "x@2" / "NDD20")
    opened = open_datasets([f"EgoHOS:{tmp_path}/hands@3", f"ndd20:{tmp_path}/x@2/NDD20"])
    assert [(dataset.name, len(dataset), weight) for dataset, weight in opened] == [
        ("egohos", 2, 3.0),
        ("ndd20", 2, 1.0),
    ]
    pictures = open_pictures([f"egohos:{tmp_path}/hands"])
    assert [pictures.key(i) for i in range(2)] == [("egohos", "train/image/ego4d_1"), ("egohos", "train/image/thu_2")]


def test_a_path_that_exists_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sbd:data", {"a.png": picture(), "a.json": record("a")})
    assert [dataset.name for dataset, _ in open_datasets(["sbd:data"])] == ["sbd:data"]
    assert parse("sbd:other").benchmark == "sbd"


def test_a_weight_goes_to_every_data_set_of_a_folder(everything: Path) -> None:
    opened = open_datasets([f"{everything}/tars@3", f"{everything}/sa"])
    assert [(dataset.name, weight) for dataset, weight in opened] == [("x", 3.0), ("y", 3.0), ("sa", 1.0)]


def test_data_sets_of_one_name_stay_apart(everything: Path, tmp_path: Path) -> None:
    write(tmp_path / "other" / "sa", {"a.png": picture(), "a.json": record("a")})
    specs = [f"{everything}/sa@9", f"{tmp_path}/other/sa"]
    mixture = open_mixture(specs, 0.5)
    assert sorted(mixture.weights) == pytest.approx([0.1, 0.9])
    assert {dataset.name for dataset in mixture.datasets} == {f"sa of {everything}/sa", f"sa of {tmp_path}/other/sa"}


BROKEN = {
    "nowhere": (["nowhere"], "does not exist"),
    "a weight of 0": (["sa@0"], "a number above 0"),
    "a weight below 0": (["sa@-1"], "a number above 0"),
    "annotations alone": (["coco/farm.json"], r"farm\.json:IMAGES/"),
    "no folder of pictures": (["coco/farm.json:nothing"], "folder of the pictures"),
    "the wrong folder of pictures": (["coco/farm.json:PLACE/yolo"], r"got none among 1 of them; a: .*a\.png"),
    "no layout": (["coco/photos"], "a tar or a folder of tars, NAME.jpg beside NAME.json, images/"),
    "an empty folder": (["empty"], "images/ beside masks/ or labels/"),
    "only labels": (["lonely"], "expected images/ beside labels/"),
    "two kinds of labels": (["both"], "got both"),
    "boxes": (["boxes"], "expected pictures with masks in boxes.*a: no masks"),
    "an unknown name": (["cityscape:PLACE/masked"], "the names before a colon are ppdls,"),
    "a name of another layout": (["gtea:PLACE/masked"], r"pictures GTEA/Images/\*\.jpg in .*data set gtea"),
    "the same twice": (["sa", "./sa"], "each data set once"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_be_opened_is_said_in_one_sentence(everything: Path, broken: str) -> None:
    (everything / "empty").mkdir()
    write(everything / "lonely", {"labels/a.txt": YOLO})
    write(everything / "both", {"images/a.png": picture(), "labels/a.txt": YOLO, "masks/a.png": LABELS})
    write(everything / "boxes", {"images/a.png": picture(), "labels/a.txt": "0 0.5 0.5 0.1 0.1"})
    specs, sentence = BROKEN[broken]
    placed = [spec if ":PLACE" in spec and ".json" not in spec else f"{everything}/{spec}" for spec in specs]
    with pytest.raises(ValueError, match=sentence):
        open_mixture([spec.replace("PLACE", str(everything)) for spec in placed], 0.5)


def test_no_spec_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected pictures with masks"):
        open_mixture([], 0.5)
    with pytest.raises(ValueError, match="expected a folder or tar"):
        open_pictures([])


def test_pictures_without_masks_come_from_anywhere(everything: Path) -> None:
    write(everything / "loose", {"x.png": b"1", "sub/y.webp": b"2", "notes.txt": "", "broken.json": "{"})
    (everything / "unlabelled.tar").write_bytes(write_shard(everything / "z.tar", {"z.jpg": b"3"}).read_bytes())
    specs = ["loose", "unlabelled.tar", "tars", "masked", "sa", f"coco/farm.json:{everything}/coco/photos"]
    pictures = open_pictures([f"{everything}/{spec}" for spec in specs])
    assert [pictures.key(i) for i in range(len(pictures))] == [
        ("loose", "sub/y"), ("loose", "x"), ("masked", "a"), ("masked", "b"), ("photos", "a"), ("sa", "a"),
        ("unlabelled", "z"), ("x", "x-0"), ("x", "x-1"), ("y", "y"),
    ]  # fmt: skip
    contents = [pictures.read(i) for i in range(len(pictures))]
    assert contents[:2] == [b"2", b"1"]
    assert contents[6] == b"3"
    assert all(content == picture() for content in (*contents[2:6], *contents[7:]))
    with pytest.raises(IndexError, match="from 0 to 9"):
        pictures.read(10)


@pytest.mark.parametrize(
    ("spec", "sentence"), [("sa@2", "leave @WEIGHT"), ("nowhere", "does not exist"), ("empty", "expected pictures")]
)
def test_pictures_that_cannot_be_opened_are_said_so(everything: Path, spec: str, sentence: str) -> None:
    (everything / "empty").mkdir()
    with pytest.raises(ValueError, match=sentence):
        open_pictures([f"{everything}/{spec}"])
