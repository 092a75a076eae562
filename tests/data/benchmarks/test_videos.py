"""Video files in the layout of YouTube-VIS that are damaged or empty."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.benchmarks.kinds import noise, videos
from tests.data.layouts import write

from opensam.data.benchmarks.videos import Videos

VIDEO = {"id": 1, "file_names": ["v/0.jpg", "v/1.jpg"], "height": 20, "width": 30}
SEGMENTATION = [[1, 1, 9, 1, 9, 9]]


def opened(folder: Path, annotations: list[Any], listed: Any = (VIDEO,)) -> Videos:
    content = {"annotations": annotations, "videos": list(listed)}  # in this order too
    write(folder, {"a.json": json.dumps(content), "in/v/0.jpg": noise(".jpg"), "in/v/1.jpg": noise(".jpg")})
    return Videos("farm", folder, annotations="a.json", images="in")


def track(segmentations: list[Any], **more: Any) -> dict[str, Any]:
    return {"video_id": 1, "segmentations": segmentations, **more}


def test_polygons_will_do_and_crowds_are_left_out(tmp_path: Path) -> None:
    data = opened(tmp_path, [track([None, SEGMENTATION]), track([SEGMENTATION, SEGMENTATION], iscrowd=1)])
    assert [data.key(i) for i in range(len(data))] == ["v/1"]
    assert len(data.read(0).masks) == 1


@pytest.mark.parametrize("segmentations", [[None, None], [None, None, SEGMENTATION], []])
def test_videos_without_masks_are_said_so(segmentations: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected frames with masks in .*a\.json"):
        opened(tmp_path, [track(segmentations)])


@pytest.mark.parametrize(
    "content", ["", "[]", '{"videos": [', '{"videos": [{"id": 1}]}', '{"annotations": [{"id": 1}]}']
)
def test_another_kind_of_json_is_named(content: str, tmp_path: Path) -> None:
    write(tmp_path, {"a.json": content, "in/v/0.jpg": noise(".jpg")})
    with pytest.raises(ValueError, match=r"as YouTube-VIS has, got .*a\.json"):
        Videos("farm", tmp_path, annotations="a.json", images="in")


def test_masks_of_another_size_are_named(tmp_path: Path) -> None:
    data = opened(tmp_path, [track([{"size": [10, 10], "counts": [50, 50]}, None])])
    with pytest.raises(ValueError, match=r"v/0\.jpg: expected masks of the picture's size \[20, 30\], got \[10, 10\]"):
        data.read(0)


def test_memory_holds_places_not_masks(tmp_path: Path) -> None:
    videos(tmp_path)
    data = Videos("farm", tmp_path, annotations="annotations_train.json", images="train")
    assert sum(len(places) for places in data.objects.values()) == 2
    assert sum(value.nbytes for value in vars(data).values() if isinstance(value, np.ndarray)) < 200
