"""Pictures with files of labels of their own: most published data sets."""

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from opensam import image
from opensam.data.dataset import Dataset, Folder, is_picture, shown
from opensam.masks import Rle

Read = Callable[[Path], Sequence[Rle]]
"""The masks of one file of labels; see `opensam.data.benchmarks.labels`."""


class Paired(Folder, Dataset):
    """Pictures found by a pattern, and the labels of each by the names that the pattern found.

    In `pictures`, a star stands for a part of a name, `**/` for any folders. In `labels`, {0} is what the first of them
    stood for, {1} the second; a star there stands for anything: all such files, in sorted order, or none.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        pictures: str,
        labels: str | tuple[str, ...],
        read: Read,
        only: str = "",
        listed: str | None = None,
    ) -> None:
        """List the pictures.

        Args:
            name: of the data set.
            root: folder to which all paths are relative.
            pictures: see above.
            labels: see above; of several, all belong to the picture.
            read: the masks of one of them.
            only: a regular expression that the path of a picture must contain.
            listed: a text file with the names of the pictures that are meant: what their first star stands for.

        Raises:
            ValueError: there are no pictures, none has labels where they should be, or a listed one is missing.
        """
        self.stars, self.read_labels = _as_regex(pictures), read
        self.labels = (labels,) if isinstance(labels, str) else labels
        found = (file.replace("\\", "/") for file in glob.glob(pictures, root_dir=root, recursive=True))
        files = sorted(file for file in found if is_picture(file) and re.search(only, file))
        if listed:
            files = _of_list(root / listed, {self._stars(file)[0]: file for file in files})
        if not files:
            raise ValueError(f"expected pictures {pictures} in {root}, got none")
        super().__init__(name, root, files)
        self.label_paths(0)  # what is missing altogether is said at once

    def label_paths(self, i: int) -> list[Path]:
        """The files of labels of picture i, at least one. Raises ValueError where one is missing."""
        picture = self.path(i)
        stars = self._stars(picture.relative_to(self.folder).as_posix())
        paths: list[Path] = []
        for pattern in self.labels:
            if "*" in pattern:
                filled = pattern.format(*map(glob.escape, stars))
                paths += [self.folder / file for file in sorted(glob.glob(filled, root_dir=self.folder))]
            else:
                paths.append(self.folder / pattern.format(*stars))
                if not paths[-1].exists():
                    raise ValueError(f"expected the labels {paths[-1]} of {picture}, got none")
        if not paths:
            expected = self.folder / self.labels[0].format(*stars)
            raise ValueError(f"expected the labels {expected} of {picture}, got none")
        return paths

    def masks(self, i: int) -> tuple[Rle, ...]:
        """All masks of its labels; ValueError too where their size is not the picture's."""
        size = list(image.size(self.path(i)))
        masks: list[Rle] = []
        for path in self.label_paths(i):
            found = self.read_labels(path)
            if wrong := [mask["size"] for mask in found if mask["size"] != size]:
                raise ValueError(f"expected labels of the picture's size {size} in {path}, got {wrong[0]}")
            masks += found
        return tuple(masks)

    def _stars(self, file: str) -> tuple[str, ...]:
        match = self.stars.fullmatch(file)
        if not match:
            raise ValueError(f"expected a path like {self.stars.pattern}, got {shown(file)}")
        return match.groups()


def _as_regex(pattern: str) -> re.Pattern[str]:
    """A regular expression with a group for each star of a pattern for files."""
    groups = {"**/": "((?:[^/]+/)*)", "*": "([^/]*)"}
    return re.compile("".join(groups.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", pattern)))


def _of_list(path: Path, files: dict[str, str]) -> list[str]:
    """The files that a text file names, one a line, by name."""
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; check the path") from error
    if missing := [name for name in names if name not in files]:
        raise ValueError(f"expected the picture {missing[0]}, which {path} lists, got none")
    return sorted(files[name] for name in names)
