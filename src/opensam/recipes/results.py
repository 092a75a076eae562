"""What a job writes for each picture, as files or as tars, and how it knows what is there."""

import csv
import errno
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opensam.data.dataset import shown
from opensam.files import PREFIX, replacing
from opensam.image import Rgb
from opensam.recipes.inputs import Picture
from opensam.records import ImageRecord, read_image_record
from opensam.records.formats import FORMATS

Draw = Callable[[Rgb, ImageRecord], bytes]

HIDDEN = ".opensam"
"""The folder, inside that of a job, of what the job needs to go on. Pictures of hidden folders are not listed."""
RESERVED = {"run", "instances"}
"""Pictures called so would write over run.json, or over the file of COCO about all pictures."""


class WriteError(ValueError):
    """A file that cannot be written; the message says which and why."""


class NameTooLongError(WriteError):
    """A file whose name is too long for the disk: other pictures have other names."""


@dataclass(frozen=True)
class Segmented:
    """A picture with what was made of it: as a file has it, (H, W, 3), and its masks."""

    picture: Picture
    content: bytes
    rgb: Rgb
    record: ImageRecord


class Files:
    """A picture becomes files named after it; the last to appear is its record, and that says that it is done.

    Args:
        out: the folder of the job.
        form: a name of `FORMATS`.
        draw: makes a JPEG of a picture and its masks, if there is to be one; must survive pickling.
    """

    def __init__(self, out: Path, form: str, draw: Draw | None) -> None:
        self.out, self.form, self.draw = out.absolute(), form, draw

    def has(self, picture: Picture) -> bool:
        """Whether a picture is done."""
        return os.path.isfile(self.out / self._record(picture))  # False also for a name that is too long

    def files(self, done: Segmented) -> dict[str, bytes]:
        """The files of a picture, by their paths in the folder, in the order in which they are to be written."""
        stem = done.picture.stem
        files = dict(FORMATS[self.form].files(done.record, stem))
        if self.draw is not None:
            files[f"{stem}_overlay.jpg"] = self.draw(done.rgb, done.record)
        last = self._record(done.picture)
        record = files.pop(last, None) if self.form == "sa1b" else None
        return files | {last: record or done.record.to_json()}

    def write(self, files: dict[str, bytes]) -> None:
        """Write files, one after the other. Raises WriteError."""
        for name, content in files.items():
            write_file(self.out / name, [content])

    def prepare(self, todo: NDArray[np.int64]) -> None:
        """Nothing is left to do from an earlier start."""

    def account(self, picture: Picture) -> None:
        """Nothing is left to do when a picture is done."""

    def finish(self, pictures: Iterable[Picture]) -> None:
        """Write the files that are about all pictures, from the records of those that are done."""
        records = (read_image_record(self.out / self._record(picture)) for picture in pictures if self.has(picture))
        for name, chunks in FORMATS[self.form].dataset(records):
            write_file(self.out / name, chunks)

    def _record(self, picture: Picture) -> str:
        return f"{picture.stem}.json" if self.form == "sa1b" else f"{HIDDEN}/records/{picture.stem}.json"


class Shards:
    """Pictures beside their records in tars of `size` pictures each, in their order.

    Until all pictures of a tar are done, each is a piece of it: a file with the members of one picture.
    """

    def __init__(self, out: Path, size: int, pictures: int) -> None:
        self.out, self.size, self.pictures = out.absolute(), size, pictures
        self.missing: Counter[int] = Counter()  # of each tar that is not finished, pictures still to do

    def has(self, picture: Picture) -> bool:
        """Whether a picture is done: a piece, or in a tar; those in a tar that were skipped are done with, too."""
        return self._tar(self._shard(picture.number)).is_file() or self._piece(picture.number).is_file()

    def files(self, done: Segmented) -> dict[str, bytes]:
        """One piece."""
        name = member_name(done.picture.stem)
        file_name = name + os.path.splitext(done.record.image.file_name)[1]
        info = done.record.image.model_copy(update={"file_name": file_name})
        record = done.record.model_copy(update={"image": info})
        members = {file_name: done.content} | FORMATS["sa1b"].files(record, name)
        return {str(self._piece(done.picture.number)): b"".join(map(_member, members, members.values()))}

    def write(self, files: dict[str, bytes]) -> None:
        """Write the piece. Raises WriteError."""
        for name, content in files.items():
            write_file(Path(name), [content])

    def prepare(self, todo: NDArray[np.int64]) -> None:
        """Make the tars that an earlier start had all pieces of, given the numbers of the pictures still to do."""
        self.missing = Counter(self._shard(int(number)) for number in todo)
        pieces = self._piece(1).parent
        for shard in sorted({self._shard(int(piece.stem)) for piece in pieces.glob("*.piece")}):
            if not self.missing[shard]:
                self._pack(shard)

    def account(self, picture: Picture) -> None:
        """Make the tar of a picture if that was the last one."""
        shard = self._shard(picture.number)
        self.missing[shard] -= 1
        if not self.missing[shard]:
            self._pack(shard)

    def finish(self, pictures: Iterable[Picture]) -> None:
        """Nothing is left to do."""

    def _pack(self, shard: int) -> None:
        numbers = range(shard * self.size + 1, min((shard + 1) * self.size, self.pictures) + 1)
        pieces = [piece for piece in map(self._piece, numbers) if piece.is_file()]
        tar = self._tar(shard)
        if pieces and not tar.is_file():
            write_file(tar, _tar_of(pieces))
        for piece in pieces:
            piece.unlink()

    def _shard(self, number: int) -> int:
        return (number - 1) // self.size

    def _tar(self, shard: int) -> Path:
        return self.out / f"masks-{shard:06d}.tar"

    def _piece(self, number: int) -> Path:
        return self.out / HIDDEN / "pieces" / f"{number:09d}.piece"


class SkippedList:
    """Pictures without a result, a row each in a CSV file, on disk at once.

    Args:
        path: of the file, which is there only if it has rows.
        keep: whether to keep the row of an earlier start about a picture, by its number.
    """

    def __init__(self, path: Path, keep: Callable[[int], bool]) -> None:
        self.path = path
        self._write([row for row in _read_rows(path) if keep(int(row[0]))])

    def add(self, picture: Picture, reason: str) -> None:
        """Add a row. Raises WriteError."""
        place = str(picture.path) if picture.place is None else f"{picture.stem} in {picture.path}"
        if not self.path.is_file():
            self._write([[str(picture.number), shown(place), reason]])
            return
        with _writing(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([picture.number, shown(place), reason])

    def sort(self) -> None:
        """Put the rows into the order of the pictures. Raises WriteError."""
        self._write(sorted(_read_rows(self.path), key=lambda row: int(row[0])))

    def _write(self, rows: list[list[str]]) -> None:
        with _writing(self.path):
            if not rows:
                self.path.unlink(missing_ok=True)
                return
            with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("number", "picture", "reason"), *rows])


def _read_rows(path: Path) -> list[list[str]]:
    """All rows but the header, and but a last one that was cut short."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [row for row in csv.reader(file) if len(row) == 3 and row[0].isdigit()]


def member_name(stem: str) -> str:
    """What a picture is called in a tar, without suffix: readers know it by its name without folders."""
    return stem.replace("/", "__")


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that appears complete or not at all, and the folders that it needs.

    Raises:
        WriteError: that cannot be done.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.writelines(chunks)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = NameTooLongError if error.errno == errno.ENAMETOOLONG else WriteError
        raise kind(
            f"cannot write {shown(str(path))}: {error.strerror}; what was written before is whole, and the same "
            "command goes on when this is mended"
        ) from None


def sweep_all(folder: Path) -> None:
    """Delete half-written files of processes that were killed, in a folder and all folders in it."""
    for root, _, names in os.walk(folder):
        for name in names:
            if name.startswith(PREFIX) and name.endswith(".tmp"):
                Path(root, name).unlink(missing_ok=True)


def _member(name: str, content: bytes) -> bytes:
    """A file as a part of a tar; the same bytes whenever it is made."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _tar_of(pieces: Iterable[Path]) -> Iterator[bytes]:
    """Parts of a tar, and what ends it."""
    for piece in pieces:
        yield piece.read_bytes()
    yield bytes(2 * tarfile.BLOCKSIZE)
