"""Which pictures are used for what."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.data.layouts import MASK, picture

from opensam.data.coco import Coco
from opensam.data.dataset import InMemory, Source
from opensam.data.selection import Subset, evenly, hold_out, keep_categories, usable, write_split
from opensam.masks import Rle, encode_rle


def named(name: str, keys: list[str], masks: tuple[Rle, ...] = (encode_rle(MASK),)) -> InMemory:
    return InMemory(name, [Source(name, key, b"", masks) for key in keys])


def whole(dataset: InMemory) -> Subset:
    return usable(dataset, 1024, 2.0, {})


def keys(subsets: list[Subset]) -> set[str]:
    return {subset.key(i) for subset in subsets for i in range(len(subset))}


def test_pictures_without_masks_that_training_can_use_are_left_out_with_the_reason() -> None:
    speck = np.zeros_like(MASK)
    speck[0, 0] = True
    empty = encode_rle(np.zeros_like(MASK))
    sources = [
        Source("set", "good", b"", (encode_rle(MASK), empty, encode_rle(MASK))),
        Source("set", "none", b"", ()),
        Source("set", "speck", b"", (encode_rle(speck),)),
        Source("set", "bad", b"", ({"size": [20, 30], "counts": "\x01"},)),
    ]
    skipped: dict[tuple[str, str], str] = {}
    found = usable(InMemory("set", sources), 64, 2.0, skipped)
    assert (found.key(0), len(found), found.counts) == ("good", 1, (2,))
    assert skipped.keys() == {("set", "none"), ("set", "speck"), ("set", "bad")}
    assert "no masks" in skipped["set", "none"]
    assert "2 cells" in skipped["set", "speck"]
    assert len(usable(InMemory("set", sources), 1024, 2.0, {})) == 2, "the speck is large enough in a larger square"


def test_the_share_is_held_out_and_depends_on_names_only() -> None:
    names = [f"{n:03}" for n in range(40)]
    train, held = hold_out([whole(named("a", names)), whole(named("b", names[:20]))], 0.1)
    assert sum(map(len, held)) == 6
    assert sum(map(len, train)) == 54
    again, _ = hold_out([whole(named("b", names[19::-1])), whole(named("a", names[::-1]))], 0.1)
    assert keys(train[:1]) == keys(again[1:])
    _, alone = hold_out([whole(named("a", names))], 0.1)
    assert len(keys(alone)) == 4
    _, grown = hold_out([whole(named("a", [*names, "new"]))], 0.1)
    assert len(keys(alone) - keys(grown)) <= 1, "another picture moves one at most"


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.99, 2)])
def test_there_is_always_one_picture_on_each_side(share: float, count: int) -> None:
    train, held = hold_out([whole(named("a", ["x", "y", "z"]))], share)
    assert (sum(map(len, train)), sum(map(len, held))) == (3 - count, count)


def test_one_picture_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"at least two pictures with masks.*got 1; add pictures"):
        hold_out([whole(named("a", ["x"]))], 0.1)


def test_a_split_is_written_once_and_checked_after(tmp_path: Path) -> None:
    train, held = hold_out([whole(named("a", ["x", "y", "z"]))], 0.3)
    path = tmp_path / "split.csv"
    write_split(path, train, held)
    text = path.read_text()
    assert text.splitlines()[0] == "part,dataset,name"
    assert sorted(text.splitlines()[1:])[0].startswith("held out,a,")
    write_split(path, train, held)
    with pytest.raises(ValueError, match=r"split.csv lists them\), got others"):
        write_split(path, train + held, held)
    assert path.read_text() == text


def test_evenly_spaced() -> None:
    assert evenly(3, 8) == [0, 1, 2]
    assert evenly(10, 4) == [0, 2, 5, 7]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(picture())
    square = [[10, 5, 20, 5, 20, 15, 10, 15]]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n % 2, "segmentation": square, "iscrowd": 0} for n in range(3)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(["cat", "dog", "cow"])],
    }
    path = tmp_path / "my.json"
    path.write_text(json.dumps(content))
    return path


def test_annotations_of_some_categories(annotations: Path, tmp_path: Path) -> None:
    for names, count in ((["dog"], 1), (["cat"], 2), (["cat", "dog"], 3)):
        keep_categories(annotations, names, tmp_path / "run" / "my.json")
        assert len(Coco(tmp_path / "run" / "my.json", tmp_path / "images").masks(0)) == count


@pytest.mark.parametrize(
    ("name", "words"), [("horse", "one of cat, cow, dog, got 'horse'"), ("cow", "masks of cow in .*got none")]
)
def test_a_category_that_matches_nothing_is_refused(annotations: Path, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        keep_categories(annotations, [name], tmp_path / "run" / "my.json")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"categories": []}', '{"annotations": []}'])
def test_no_coco_file_with_categories_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "my.json").write_text(text)
    with pytest.raises(ValueError, match="COCO file with categories"):
        keep_categories(tmp_path / "my.json", ["cat"], tmp_path / "out.json")
