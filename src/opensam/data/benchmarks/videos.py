"""Videos with masks in the layout of YouTube-VIS, frame by frame."""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from opensam import image
from opensam.data.coco import elements, encode
from opensam.data.dataset import Dataset, as_names, check_unique, read_at, shown, stem
from opensam.masks import Rle


class Videos(Dataset):
    """The frames of videos in which at least one object is seen, each a picture of its own.

    In memory stay names of frames and the places of the objects in the file, not their masks.
    """

    def __init__(self, name: str, root: Path, *, annotations: str, images: str) -> None:
        """Index the file, which is in memory meanwhile.

        Args:
            name: of the data set.
            root: folder to which all paths are relative.
            annotations: the JSON file.
            images: the folder of the frames.

        Raises:
            ValueError: another kind of JSON, no masks, or no folder of frames.
        """
        self.name, self.annotations, self.images = name, root / annotations, root / images
        if not self.images.is_dir():
            raise ValueError(f"expected the folder of the frames of {self.annotations}, got {self.images}")
        videos, self.objects, seen = _index(self.annotations)
        frames = [(video, frame) for video in seen.keys() & videos.keys() for frame in seen[video]]
        frames = [(video, frame) for video, frame in frames if frame < len(videos[video])]
        if not frames:
            raise ValueError(f"expected frames with masks in {self.annotations}, got none")
        self.places = sorted(frames, key=lambda place: videos[place[0]][place[1]])
        self.files = as_names([videos[video][frame] for video, frame in self.places])
        check_unique((stem(videos[video][frame]) for video, frame in self.places), str(self.annotations))

    def __len__(self) -> int:
        return len(self.files)

    def key(self, i: int) -> str:
        """The video and the frame, without suffix."""
        return shown(stem(os.fsdecode(self.files[i])))

    def picture(self, i: int) -> bytes:
        """The content of the file."""
        return self._path(i).read_bytes()

    def masks(self, i: int) -> tuple[Rle, ...]:
        """Of the objects that are seen in the frame, in the order of the file."""
        video, frame = self.places[i]
        size = image.size(self._path(i))
        found = (json.loads(read_at(self.annotations, *place))["segmentations"] for place in self.objects[video])
        try:
            masks = [encode(of[frame], size) for of in found if frame < len(of) and of[frame]]
        except ValueError as error:
            raise ValueError(f"{self._path(i)}: {error}") from error
        return tuple(mask for mask in masks if mask)

    def _path(self, i: int) -> Path:
        return self.images / os.fsdecode(self.files[i])


def _index(file: Path) -> tuple[dict[Any, list[str]], dict[Any, list[tuple[int, int]]], dict[Any, list[int]]]:
    """By id of the video: the files of its frames, the places of its objects, the numbers of frames with masks."""
    videos: dict[Any, list[str]] = {}
    objects: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    seen: dict[Any, set[int]] = defaultdict(set)
    try:
        text = file.read_bytes().decode("latin-1")
        for key, value, start, end in elements(text, ("videos", "annotations")):
            if start == end:
                continue
            if key == "videos":
                value = json.loads(text[start:end].encode("latin-1"))
                videos[value["id"]] = [str(name) for name in value["file_names"]]
            elif not value.get("iscrowd"):
                objects[value["video_id"]].append((start, end - start))
                seen[value["video_id"]].update(np.flatnonzero([bool(one) for one in value["segmentations"]]).tolist())
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}; check the path") from error
    except IndexError as error:
        raise ValueError(f"expected a JSON file as YouTube-VIS has, got {file}, which is cut short") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"expected a JSON file as YouTube-VIS has, got {file}: {error!r}") from error
    return videos, dict(objects), {video: sorted(frames) for video, frames in seen.items()}
