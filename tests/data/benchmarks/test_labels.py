"""Files of labels that are damaged, empty, or of another kind."""

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.benchmarks.kinds import box, labelled
from tests.data.layouts import write

from opensam.data.benchmarks.labels import bright, hdf5, inside, panoptic, regions, sbd, woodscape
from opensam.masks import decode_rle


@pytest.mark.parametrize("read", [bright, inside, panoptic, regions, sbd, woodscape])
def test_a_damaged_file_is_named(read: Callable[[Path], Any], tmp_path: Path) -> None:
    if read is sbd:
        pytest.importorskip("scipy")
    write(tmp_path, {"broken.png": b"hello"})
    with pytest.raises(ValueError, match=r"broken\.png"):
        read(tmp_path / "broken.png")


def test_a_damaged_or_foreign_hdf5_file_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write(tmp_path, {"broken.hdf5": b"hello"})
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["something"] = np.zeros((2, 2))
    with h5py.File(tmp_path / "flat.hdf5", "w") as file:
        file["dataset"] = np.zeros(4)
    for name in ("broken", "other", "flat", "missing"):
        with pytest.raises(ValueError, match=rf"{name}\.hdf5"):
            hdf5(tmp_path / f"{name}.hdf5")


@pytest.mark.parametrize(("read", "package"), [(hdf5, "h5py"), (sbd, "scipy")])
def test_a_missing_package_comes_with_the_line_that_installs_it(
    read: Callable[[Path], Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(name=package)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=rf"package {package}.*pip install 'opensam\[eval\]'") as error:
        read(Path("any"))
    assert error.value.name == package


@pytest.mark.parametrize("read", [bright, inside, regions, panoptic])
def test_labels_with_nothing_in_them_are_no_masks(read: Callable[[Path], Any], tmp_path: Path) -> None:
    write(tmp_path, {"empty.png": labelled([])})
    assert list(read(tmp_path / "empty.png")) == []


def test_grey_128_is_undecided_in_pictures_of_one_and_of_three_channels(tmp_path: Path) -> None:
    grey = labelled([box(2, 2, 9, 9), box(4, 4, 7, 7)], (128, 255))
    write(tmp_path, {"1.png": grey, "3.png": np.stack([grey] * 3, axis=2)})
    for name in ("1.png", "3.png"):
        (mask,) = bright(tmp_path / name)
        assert (decode_rle(mask) == box(4, 4, 7, 7)).all()


def test_a_blurred_label_map_is_named(tmp_path: Path) -> None:
    values = np.arange(110 * 110, dtype=np.uint16).reshape(110, 110)
    write(tmp_path, {"photo.png": values})
    with pytest.raises(ValueError, match=r"photo\.png.*at most 10000 values"):
        regions(tmp_path / "photo.png")


@pytest.mark.parametrize(
    "content",
    [[], {}, {"a": {}}, {"a": {"image_width": 9, "image_height": 9, "annotation": [{"segmentation": "x"}]}}],
)
def test_json_without_outlines_is_named(content: Any, tmp_path: Path) -> None:
    write(tmp_path, {"a.json": json.dumps(content)})
    with pytest.raises(ValueError, match=r"outlines as WoodScape writes them in .*a\.json"):
        woodscape(tmp_path / "a.json")


def test_outlines_of_less_than_three_points_are_left_out(tmp_path: Path) -> None:
    listed = [{"segmentation": [[1, 1], [4, 4]]}, {"segmentation": [[1, 1], [5, 1], [5, 5], [1, 5]]}]
    write(tmp_path, {"a.json": json.dumps({"a": {"image_width": 9, "image_height": 8, "annotation": listed}})})
    (mask,) = woodscape(tmp_path / "a.json")
    assert (mask["size"], decode_rle(mask).sum()) == ([8, 9], 16)
