"""Pictures whose outlines are listed together in JSON files: VGG Image Annotator, VISOR."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opensam import image
from opensam.data.benchmarks.json_files import read_json
from opensam.data.dataset import Dataset, Folder
from opensam.data.polygons import encode_polygons
from opensam.masks import Rle

Outlines = Sequence[NDArray[np.float32]]
"""The polygons of one mask, each flat: x1, y1, x2, y2, ... in pixels of the picture."""


class Outlined(Folder, Dataset):
    """Pictures with outlines, which stay in memory; those without are left out."""

    def __init__(self, name: str, root: Path, outlines: Mapping[str, Sequence[Outlines]]) -> None:
        """Take outlines by the path of the picture below `root`.

        Raises:
            ValueError: there are none, or the first picture is missing.
        """
        files = sorted(file for file, masks in outlines.items() if masks)
        if not files:
            raise ValueError(f"expected pictures with outlines in {root}, got none")
        super().__init__(name, root, files)
        self.outlines = [outlines[file] for file in files]
        if not self.path(0).exists():
            raise ValueError(f"expected the picture {self.path(0)}, got none; unpack the pictures too")

    def masks(self, i: int) -> tuple[Rle, ...]:
        """One for each list of polygons, in the order of the file."""
        size = image.size(self.path(i))
        try:
            masks = [encode_polygons(polygons, size) for polygons in self.outlines[i]]
        except ValueError as error:
            raise ValueError(f"{self.path(i)}: {error}") from error
        return tuple(mask for mask in masks if mask)


def via(name: str, root: Path, *, files: Mapping[str, str]) -> Outlined:
    """Read JSON files of VGG Image Annotator, in which each region is a mask.

    Args:
        name: of the data set.
        root: folder to which all paths are relative.
        files: by JSON file the folder of its pictures.

    Raises:
        ValueError: a file is missing or another kind of JSON, or there are no pictures.
    """
    outlines = {}
    for file, folder in files.items():
        content = read_json(root / file)
        try:
            for entry in content.values():
                regions = entry["regions"]  # a list; in older versions of the program an object
                listed = regions.values() if isinstance(regions, dict) else regions
                outlines[f"{folder}/{entry['filename']}"] = [_via_region(region) for region in listed]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected polygons of VGG Image Annotator in {root / file}, got: {error!r}") from error
    return Outlined(name, root, outlines)


def visor(name: str, root: Path, *, annotations: str, pictures: str) -> Outlined:
    """Read the JSON files of VISOR, one a video, in which each annotation is a mask of several polygons.

    Args:
        name: of the data set.
        root: folder to which all paths are relative.
        annotations: pattern of the JSON files.
        pictures: where a frame lies, with {participant}, {video} and {frame}.

    Raises:
        ValueError: a file is missing or another kind of JSON, or there are no pictures.
    """
    outlines = {}
    for file in sorted(root.glob(annotations)):
        content = read_json(file)
        try:
            for entry in content["video_annotations"]:
                video, frame = entry["image"]["video"], entry["image"]["name"]
                place = pictures.format(participant=video.split("_")[0], video=video, frame=frame)
                masks = [[_flat(segment) for segment in one["segments"]] for one in entry["annotations"]]
                outlines[place] = [polygons for polygons in masks if polygons]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected annotations of VISOR in {file}, got: {error!r}") from error
    if not outlines:
        raise ValueError(f"expected annotations {annotations} in {root}, got none")
    return Outlined(name, root, outlines)


def _via_region(region: Mapping[str, Any]) -> Outlines:
    shape = region["shape_attributes"]
    return [_flat(np.column_stack([shape["all_points_x"], shape["all_points_y"]]))]


def _flat(points: Any) -> NDArray[np.float32]:
    return np.asarray(points, dtype=np.float32).ravel()
