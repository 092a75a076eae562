"""Every data set that is known by name, written in its published layout and read again."""

import re
from pathlib import Path

import pytest
from tests.data.benchmarks.kinds import LAYOUTS, box, labelled, noise
from tests.data.layouts import write

from opensam.data.benchmarks import BENCHMARKS, Benchmark, benchmark_names, open_benchmark
from opensam.data.dataset import Dataset
from opensam.masks import decode_rle

NEEDS = {"hypersim": "h5py", "sbd": "scipy"}
FACTS = {
    "ppdls": (182, 2347), "bbbc038v1": (227, 10506), "doors": (10000, 10000), "timberseg": (220, 2487),
    "ndd20": (4402, 6100), "lvis-v0.5": (945, 9642), "streets": (819, 9854), "zerowaste-f": (2947, 6155),
    "ishape": (754, 9742), "ade20k": (302, 10128), "ovis": (2044, 10011), "hypersim": (338, 9445),
    "ndispark": (111, 2577), "visor": (1864, 10141), "plittersdorf": (187, 546), "egohos": (2940, 9961),
    "ibd": (467, 11953), "woodscape": (107, 10266), "cityscapes": (293, 9973), "pidray": (3733, 8892),
    "dram": (718, 1179), "trashcan": (5936, 9540), "gtea": (652, 1208),
}  # fmt: skip
GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "benchmark-datasets.md"


def written(name: str, folder: Path) -> Dataset:
    """The data set in its layout, opened by name."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    LAYOUTS[name](folder)
    return open_benchmark(name, folder)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_was_drawn_in_the_published_layout_is_read(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    truth = LAYOUTS[name](tmp_path)
    data = open_benchmark(name, tmp_path)
    found = {data.key(i): [decode_rle(mask) for mask in data.read(i).masks] for i in range(len(data))}
    assert found.keys() == truth.keys()
    for key, masks in truth.items():
        assert len(found[key]) == len(masks)
        assert all((one == mask).all() for one, mask in zip(found[key], masks, strict=True)), key
    assert data.read(0).rgb.shape == (20, 30, 3)
    assert data.name == name


def test_every_data_set_has_a_layout_that_is_tested() -> None:
    assert benchmark_names() == tuple(LAYOUTS)


def test_the_papers_numbers_are_those_of_table_7() -> None:
    assert {name: row.paper for name, row in BENCHMARKS.items() if row.paper} == FACTS


@pytest.mark.parametrize("name", [name for name, row in BENCHMARKS.items() if row.top])
def test_the_folder_above_will_do_too(name: str, tmp_path: Path) -> None:
    below = tmp_path / BENCHMARKS[name].top
    below.mkdir(parents=True)
    inside = written(name, below)
    above = open_benchmark(name, tmp_path)
    assert [above.key(i) for i in range(len(above))] == [inside.key(i) for i in range(len(inside))]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_folder_is_said_so_with_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"{re.escape(str(tmp_path))}.*data set {name}; docs/guides/benchmark-datasets"
    ):
        open_benchmark(name, tmp_path)


def test_an_unknown_name_and_a_missing_folder_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one of ppdls, .*got 'cityscape'"):
        open_benchmark("cityscape", tmp_path)
    with pytest.raises(ValueError, match=r"expected the folder of Cityscapes, val, got .*nowhere"):
        open_benchmark("cityscapes", tmp_path / "nowhere")


def test_a_name_may_have_capitals(tmp_path: Path) -> None:
    LAYOUTS["ndd20"](tmp_path)
    assert open_benchmark("NDD20", tmp_path).name == "ndd20"


MISSING = {
    "cityscapes": "gtFine/val/lindau/lindau_000001_000019_gtFine_instanceIds.png",
    "ade20k": "images/ADE/validation/home/indoor/deep/ADE_val_2_seg.png",
    "bbbc038v1": "stage1_train/0ab/masks",
    "plittersdorf": "val.json",
    "ovis": "annotations_train.json",
    "visor": "rgb_frames/val/P01/P01_107/P01_107_frame_0000000000.jpg",
    "streets": "annotations/vehicle-annotations.json",
    "sbd": "val.txt",
    "woodscape": "instance_annotations/00000_FV.json",
}


def read_all(name: str, folder: Path) -> None:
    data = open_benchmark(name, folder)
    for i in range(len(data)):
        data.read(i)


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    read_all(name, tmp_path)
    (tmp_path / MISSING[name]).rename(tmp_path / "elsewhere")
    with pytest.raises((ValueError, OSError), match=re.escape(MISSING[name])):
        read_all(name, tmp_path)


def test_labels_of_another_size_are_named(tmp_path: Path) -> None:
    data = written("egohos", tmp_path)
    write(tmp_path, {"train/label/thu_2.png": labelled([box(1, 1, 2, 2)])[:10]})
    with pytest.raises(ValueError, match=r"size \[20, 30\] in .*train/label/thu_2.png, got \[10, 30\]"):
        data.read(1)
    assert len(data.read(0).masks) == 2


def rows() -> list[str]:
    """The table of the guide."""

    def line(name: str, row: Benchmark) -> str:
        paper = f"{row.paper[0]:,} / {row.paper[1]:,}" if row.paper else ""
        keywords = row.reader.keywords.items()  # type: ignore[attr-defined]
        places = [value for key, value in keywords if key in ("pictures", "labels", "annotations", "images", "listed")]
        places += [entry for key, value in keywords if key == "files" for entry in value.items()]
        flat = [place for value in places for place in ([value] if isinstance(value, str) else value)]
        where = ", ".join(f"`{place}`" for place in flat)
        note = f" {row.note}" if row.note else ""
        return f"| `{name}` | [{row.title}]({row.url}) | {row.domain} | {paper} | {where}.{note} |"

    return [line(name, row) for name, row in BENCHMARKS.items()]


def test_the_guide_has_the_table() -> None:
    guide = GUIDE.read_text()
    table = [line for line in guide.splitlines() if line.startswith("| `")]
    assert table == rows(), "the table of the guide should be:\n" + "\n".join(rows())


def test_pictures_are_those_of_the_files(tmp_path: Path) -> None:
    for name in ("ovis", "plittersdorf", "cityscapes"):
        data = written(name, tmp_path / name)
        assert data.picture(0) == noise(".png" if name == "cityscapes" else ".jpg")
