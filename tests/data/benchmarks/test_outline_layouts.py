"""Outlines in JSON files that are of another kind, or that belong to other pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.benchmarks.kinds import noise
from tests.data.layouts import write

from opensam.data.benchmarks.outlines import Outlined, via, visor


def region(points: list[tuple[int, int]]) -> dict[str, Any]:
    return {"shape_attributes": {"all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}}


def one(regions: Any) -> dict[str, Any]:
    return {"a": {"filename": "a.jpg", "regions": regions}}


def opened(folder: Path, content: Any) -> Outlined:
    write(folder, {"a.json": content if isinstance(content, str) else json.dumps(content), "in/a.jpg": noise(".jpg")})
    return via("farm", folder, files={"a.json": "in"})


BROKEN = {
    "no JSON": ("{", r"expected JSON in .*a\.json"),
    "a list": ([], r"VGG Image Annotator in .*a\.json"),
    "no regions": ({"a": {"filename": "a.jpg"}}, r"a\.json, got: KeyError\('regions'\)"),
    "a circle": (one([{"shape_attributes": {"cx": 3, "cy": 4, "r": 2}}]), "all_points_x"),
    "uneven": (one([{"shape_attributes": {"all_points_x": [1, 2], "all_points_y": [1]}}]), r"a\.json"),
    "nothing": (one([]), "expected pictures with outlines"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_another_kind_of_json_is_named(broken: str, tmp_path: Path) -> None:
    content, sentence = BROKEN[broken]
    with pytest.raises(ValueError, match=sentence):
        opened(tmp_path, content)


def test_outlines_far_outside_are_those_of_another_picture(tmp_path: Path) -> None:
    data = opened(tmp_path, one([region([(1, 1), (900, 1), (900, 900)])]))
    with pytest.raises(ValueError, match=r"in/a\.jpg: expected a polygon in the picture of 30 x 20"):
        data.read(0)


def test_lines_are_left_out(tmp_path: Path) -> None:
    data = opened(tmp_path, one([region([(1, 1), (9, 1)]), region([(1, 1), (9, 1), (9, 9), (1, 9)])]))
    assert len(data.read(0).masks) == 1


def test_another_kind_of_video_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"v/P01_1.json": json.dumps({"annotations": []})})
    with pytest.raises(ValueError, match=r"annotations of VISOR in .*P01_1\.json"):
        visor("farm", tmp_path, annotations="v/*.json", pictures="{video}/{frame}")
    with pytest.raises(ValueError, match=r"expected annotations w/\*\.json in"):
        visor("farm", tmp_path, annotations="w/*.json", pictures="{video}/{frame}")
