"""Shards in the SA-1B layout."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opensam.data.sa1b import ShardError, dataset_name, list_shards, read_shard
from opensam.records import ImageInfo, ImageRecord, MaskRecord


def record(name: str, mask: np.ndarray) -> bytes:
    annotation = MaskRecord.from_mask(mask, 1, predicted_iou=1.0, stability_score=1.0)
    info = ImageInfo(image_id=1, width=mask.shape[1], height=mask.shape[0], file_name=f"{name}.png")
    return ImageRecord(image=info, annotations=[annotation]).to_json()


def picture(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(stream, "PNG")
    return stream.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 10:20] = True
    return mask


def test_pairs_come_in_the_order_of_the_tar(tmp_path: Path, mask: np.ndarray) -> None:
    members = {
        name + suffix: picture((30, 20)) if suffix == ".png" else record(name, mask)
        for name in ("b", "a")
        for suffix in (".png", ".json")
    }
    pairs = list(read_shard(write_shard(tmp_path / "farm-001.tar", members)))
    assert [(pair.dataset, pair.name) for pair in pairs] == [("farm", "b"), ("farm", "a")]
    assert (pairs[0].record.annotations[0].mask == mask).all()


@pytest.mark.parametrize(
    ("file", "name"), [("coco.tar", "coco"), ("coco-000.tar", "coco"), ("a-b.tar", "a-b"), ("a-b-012.tar", "a-b")]
)
def test_shard_numbers_are_no_part_of_the_name(file: str, name: str) -> None:
    assert dataset_name(Path(file)) == name


def test_a_folder_without_tars_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="expected a tar or a folder of tars"):
        list_shards(tmp_path)


@pytest.mark.parametrize("broken", ["not a tar", "cut short", "no record", "no picture", "bad json"])
def test_broken_shards_name_the_file(tmp_path: Path, mask: np.ndarray, broken: str) -> None:
    members = {"a.png": picture((30, 20)), "a.json": record("a", mask)}
    if broken == "no record":
        del members["a.json"]
    if broken == "no picture":
        del members["a.png"]
    if broken == "bad json":
        members["a.json"] = b"{"
    shard = write_shard(tmp_path / "bad.tar", members)
    if broken == "not a tar":
        shard.write_bytes(b"hello" * 200)
    if broken == "cut short":
        shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(ShardError, match=r"bad\.tar"):
        list(read_shard(shard))
