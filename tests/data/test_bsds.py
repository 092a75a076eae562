"""BSDS500 in its two layouts, and maps of edges."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from tests.data.layouts import picture, write, write_shard

from opensam.data.bsds import Bsds, read_map, write_map

DRAWN = np.zeros((3, 20, 30), dtype=bool)
DRAWN[0, 4], DRAWN[1, 5], DRAWN[2, :, 7] = True, True, True


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **(arrays or {"boundaries": DRAWN, "segmentations": DRAWN.astype(np.uint16)}))
    return stream.getvalue()


def mat(drawn: np.ndarray = DRAWN) -> bytes:
    """As published: a cell per annotator, each a struct."""
    cell = np.empty((1, len(drawn)), dtype=object)
    for number, one in enumerate(drawn):
        cell[0, number] = {"Segmentation": one.astype(np.uint16), "Boundaries": one.astype(np.uint8)}
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"groundTruth": cell})
    return stream.getvalue()


def write_published(root: Path, names: str = "ab") -> Path:
    files: dict[str, bytes | str | np.ndarray] = {"images/test/Thumbs.db": b"left by Windows"}
    for name in names:
        files |= {f"images/test/{name}.png": picture(), f"groundTruth/test/{name}.mat": mat()}
    write(root, files)
    return root


PAIRS = {"b.png": picture(), "b.npz": npz(), "a.npz": npz(), "a.png": picture()}


@pytest.fixture(params=["tar", "folder of a tar", "folder", "published", "published, unpacked here"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    match request.param:
        case "tar":
            return write_shard(tmp_path / "bsds.tar", PAIRS)
        case "folder of a tar":
            return write_shard(tmp_path / "bsds.tar", PAIRS).parent
        case "folder":
            return write(tmp_path, PAIRS)
        case "published":
            return write_published(tmp_path)
    write_published(tmp_path / "BSR/BSDS500/data")
    return tmp_path


def test_every_layout_gives_the_same(place: Path) -> None:
    data = pickle.loads(pickle.dumps(Bsds(place)))  # workers get it so
    assert [data.key(i) for i in range(len(data))] == ["a", "b"]
    for i in range(2):
        assert data.picture(i) == picture()
        assert data.boundaries(i).dtype == np.bool_
        np.testing.assert_array_equal(data.boundaries(i), DRAWN)


def test_another_split_of_the_published_layout_is_asked_for_by_name(tmp_path: Path) -> None:
    (write_published(tmp_path) / "images/val").mkdir()
    with pytest.raises(ValueError, match="images/val/ID"):
        Bsds(tmp_path, "val")


INCOMPLETE = {
    "a picture alone": ({"a.png": picture()}, "a.png.* without boundaries"),
    "boundaries alone": ({"a.png": picture(), "a.npz": npz(), "b.npz": npz()}, "b.npz.* without a picture"),
    "nothing": ({"notes.txt": b"nothing"}, "expected BSDS500 in .*ID.npz"),
    "twice": ({"a.png": picture(), "a.jpg": picture(), "a.npz": npz()}, "'a' twice"),
}


@pytest.mark.parametrize(("members", "words"), INCOMPLETE.values(), ids=INCOMPLETE)
@pytest.mark.parametrize("layout", [write, write_shard])
def test_an_incomplete_data_set_is_named(members: dict, words: str, layout: object, tmp_path: Path) -> None:
    place = write(tmp_path / "bsds", members) if layout is write else write_shard(tmp_path / "bsds.tar", members)
    with pytest.raises(ValueError, match=words):
        Bsds(place)


def test_a_damaged_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "bsds.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(ValueError, match=r"uncompressed tar, got .*bsds\.tar"):
        Bsds(tmp_path)


DAMAGED = {
    "no zip": ("a.npz", b"nothing"),
    "no boundaries": ("a.npz", npz(segmentations=DRAWN)),
    "one annotator without an axis": ("a.npz", npz(boundaries=DRAWN[0])),
    "objects": ("a.npz", npz(boundaries=np.array([{}], dtype=object))),
    "no mat": ("a.mat", b"nothing" * 40),
}


@pytest.mark.parametrize(("name", "content"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_boundaries_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    data = Bsds(write(tmp_path, {"a.png": picture(), name: content}))
    with pytest.raises(ValueError, match=rf"boundaries .*{name}"):
        data.boundaries(0)


def test_a_map_comes_back_within_one_of_65535_levels(tmp_path: Path) -> None:
    edges = np.random.default_rng(0).random((20, 30), dtype=np.float32)
    edges[0, :2] = 0, 1
    write_map(tmp_path / "a.png", edges)
    back = read_map(tmp_path / "a.png", (20, 30))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, edges, atol=0.5 / 65535 + 1e-7)
    assert back[0, :2].tolist() == [0, 1]


def test_maps_of_other_programs_have_256_levels(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_map(tmp_path / "a.png", (16, 16)), levels / 255, rtol=1e-6)


BAD_MAPS = {
    "missing": (None, "got none: No such file"),
    "size": (np.zeros((30, 20), np.uint8), r"30 x 20 pixels.* got uint8 of shape \(30, 20\)"),
    "colours": (np.zeros((20, 30, 3), np.uint8), r"grey PNG .* got uint8 of shape \(20, 30, 3\)"),
    "text": (b"nothing", "got none: cannot identify"),
}


@pytest.mark.parametrize(("content", "words"), BAD_MAPS.values(), ids=BAD_MAPS)
def test_a_map_that_cannot_be_used_is_named(content: np.ndarray | bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        write(tmp_path, {"a.png": content})
    with pytest.raises(ValueError, match=rf"a\.png.*{words}"):
        read_map(tmp_path / "a.png", (20, 30))
