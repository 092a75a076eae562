"""A folder of pictures that people look at: what is in it, how large, and as a browser can show it.

A picture is known by an id that depends on its name in the folder alone; no other path leaves this module. Files may
come, change and vanish at any time: a size is remembered together with the time and length of the file.
"""

import hashlib
import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image

from opensam import image
from opensam.data.dataset import is_picture, shown
from opensam.engine.store import Picture
from opensam.files import replacing

HIDDEN = ".opensam"
"""The folder, inside that of the pictures, of what opensam keeps about them."""

_ID_LENGTH = 24  # hexadecimal digits: pictures that share one by chance are not to be expected
_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp"}
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
_LOSSLESS = 4_000_000  # pixels up to which a converted picture is PNG, and JPEG, which is quicker, above
_MOST_JPEG = 65_500  # pixels on a side
_LONGEST_NAME = 150  # bytes of a file name without its suffix; most disks take 255 in all
_DECODING = threading.BoundedSemaphore(2)  # a picture in memory is hundreds of megabytes at worst


class VanishedError(ValueError):
    """A picture that was there and is not, or never was."""


class FolderVanishedError(VanishedError):
    """The whole folder is not there; it may come back."""


class ReadOnlyError(ValueError):
    """A folder to which nothing can be added."""


@dataclass(frozen=True)
class Entry:
    """A picture in the folder.

    Attributes:
        id: hexadecimal digits.
        file: its path in the folder, as the disk has it.
        file_name: the same to show, with "/".
    """

    id: str
    file: str
    file_name: str


@dataclass(frozen=True)
class Shown:
    """A picture as a browser shows it the way the model sees it, and what kind of file that is."""

    content: bytes
    media_type: str


class PictureFolder:
    """The pictures of a folder and the folders in it, in natural order; hidden ones are left out.

    Raises:
        ValueError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"expected a folder of pictures, got {folder}; check the path")
        self.folder = folder.absolute()
        self._lock = threading.Lock()
        self._sizes: dict[str, tuple[str, tuple[int, int] | str]] = {}
        self._entries: dict[str, Entry] = {}
        self.scan()

    @property
    def read_only(self) -> bool:
        """Whether pictures cannot be added."""
        return not os.access(self.folder, os.W_OK)

    def scan(self) -> None:
        """Look again what there is. Raises FolderVanishedError."""
        self._check_there()
        entries = sorted((_entry(file) for file in _files(self.folder)), key=lambda one: _natural(one.file_name))
        with self._lock:
            self._entries = {entry.id: entry for entry in entries}

    def entries(self) -> list[Entry]:
        """All pictures, in natural order: a2 before a10."""
        with self._lock:
            return list(self._entries.values())

    def entry(self, image_id: str) -> Entry:
        """One by its id. Raises VanishedError."""
        with self._lock:
            found = self._entries.get(image_id)
        if found is None:
            raise VanishedError("there is no picture with this id; load the list of pictures again")
        return found

    def path(self, entry: Entry) -> Path:
        """Where it lies."""
        return self.folder / entry.file

    def mark(self, entry: Entry) -> str:
        """Changes when the file does. Raises VanishedError."""
        with self._there(entry):
            found = self.path(entry).stat()
        return f"{found.st_mtime_ns:x}-{found.st_size:x}"

    def size(self, entry: Entry) -> tuple[int, int]:
        """(H, W) upright.

        Raises:
            VanishedError: the file is gone.
            ImageError: it cannot be read, or has too many pixels.
        """
        mark = self.mark(entry)
        with self._lock:
            known = self._sizes.get(entry.id)
        if known is None or known[0] != mark:
            known = (mark, self._measure(entry))
            with self._lock:
                self._sizes[entry.id] = known
        if isinstance(known[1], str):
            raise image.ImageError(known[1])
        return known[1]

    def picture(self, entry: Entry) -> Picture:
        """A picture for the store. Raises as `size`."""
        height, width = self.size(entry)
        return Picture(entry.id, entry.file_name, width, height)

    def read_bytes(self, entry: Entry) -> bytes:
        """The file as it is. Raises VanishedError, or ImageError where it cannot be read."""
        with self._there(entry):
            return self.path(entry).read_bytes()

    def show(self, entry: Entry) -> Shown:
        """The picture for a browser: the file itself where it would show what `opensam.image.read` reads.

        Raises:
            VanishedError: the file is gone.
            ImageError: it cannot be read.
        """
        self.size(entry)
        content = self.read_bytes(entry)
        with _named(entry, "the given bytes"), _DECODING:
            if kind := _passes(content):
                return Shown(content, kind)
            picture = Image.fromarray(image.read(content))
            stream = BytesIO()
            if picture.width * picture.height <= _LOSSLESS or max(picture.size) > _MOST_JPEG:
                picture.save(stream, "PNG", compress_level=1)
                return Shown(stream.getvalue(), "image/png")
            picture.save(stream, "JPEG", quality=95, subsampling=0)
            return Shown(stream.getvalue(), "image/jpeg")

    def add(self, name: str, content: bytes) -> Entry:
        """Put a picture into the folder under its name made safe, or another if that is taken by another picture.

        Raises:
            FolderVanishedError: the folder is gone.
            ReadOnlyError: nothing can be added.
            ImageError: it is no picture, or of a kind that is not read from folders.
            OSError: it cannot be written, for instance because the disk is full.
        """
        self._check_there()
        if self.read_only:
            raise ReadOnlyError("the folder of pictures cannot be written to; copy it to where it can")
        with _renamed(shown(name)[-100:], "the given bytes"), _DECODING:
            image.read(content)  # whole: a truncated one says so only at its end
            kind = _format(content)
        if kind not in _SUFFIXES:
            raise image.ImageError(f"expected JPEG, PNG, WebP, BMP or TIFF, got {kind}; convert it to PNG")
        stem, suffix = os.path.splitext(_safe_name(name))
        suffix = suffix if is_picture(f"x{suffix}") else _SUFFIXES[kind]
        number = 1
        while True:
            entry = _entry(f"{stem}{'' if number == 1 else f'-{number}'}{suffix}")
            if self._write_new(entry, content) or self._has(entry, content):
                break
            number += 1
        self.scan()
        return self.entry(entry.id)

    def _check_there(self) -> None:
        if not self.folder.is_dir():
            raise FolderVanishedError("the folder of pictures has vanished; put it back, or open another")

    @contextmanager
    def _there(self, entry: Entry) -> Iterator[None]:
        """Errors of the disk about a picture that was listed."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError):
            self._check_there()
            raise VanishedError(
                f"{entry.file_name} is no longer in the folder; load the list of pictures again"
            ) from None
        except OSError as error:
            raise image.ImageError(f"cannot read {entry.file_name}: {(error.strerror or 'error').lower()}") from None

    def _measure(self, entry: Entry) -> tuple[int, int] | str:
        try:
            with _named(entry, str(self.path(entry))):
                height, width = image.size(self.path(entry))
        except image.ImageError as error:
            return str(error)
        if height * width > image.MAX_PIXELS:
            return f"{entry.file_name} has more than {image.MAX_PIXELS} pixels: {width} x {height}; scale it down"
        return height, width

    def _write_new(self, entry: Entry, content: bytes) -> bool:
        """Write a file unless there is one of that name."""
        path = self.path(entry)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return False
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return True

    def _has(self, entry: Entry, content: bytes) -> bool:
        """Whether the file is this picture: a request that is made again adds it once."""
        try:
            return self.path(entry).read_bytes() == content
        except OSError:
            return False


def decode(content: bytes, longest: int) -> Image.Image:
    """A picture upright, with its longest side at most that long. Raises ImageError."""
    with _DECODING:
        # JPEG is unpacked at an eighth, a quarter or half of its size, in a fraction of the time.
        with suppress(image.ImageError), image.opened(content) as picture:
            if picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB"):
                picture.draft(picture.mode, (2 * longest, 2 * longest))
                return _fitted(image.read(picture), longest)
        return _fitted(image.read(content), longest)


def _fitted(rgb: image.Rgb, longest: int) -> Image.Image:
    picture = Image.fromarray(rgb)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture


def _files(folder: Path) -> Iterator[str]:
    """Paths of pictures in it; a folder that cannot be listed has none."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(root, folder)
        for name in files:
            if is_picture(name) and not name.startswith("."):
                yield os.path.normpath(os.path.join(inside, name))


def _entry(file: str) -> Entry:
    file_name = shown(file).replace(os.sep, "/")
    return Entry(hashlib.sha256(os.fsencode(file)).hexdigest()[:_ID_LENGTH], file, file_name)


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Numbers in a name count as numbers; folders come together."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name.casefold())
    return [(0, int(number[:4000]), "") if number else (1, 0, text) for number, text in parts], name


def _safe_name(name: str) -> str:
    """The last part of a path, of any system, without what a disk or a shell would trip over."""
    last = unicodedata.normalize("NFC", shown(name)).replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(re.sub(r"[^\w.() +=@-]", "_", last).strip(" ."))
    stem = stem.encode()[:_LONGEST_NAME].decode("utf-8", "ignore").strip(" .") or "picture"
    return stem + suffix[:10]


def _format(content: bytes) -> str:
    """What Pillow calls the kind of file; the picture was read before, so there is one."""
    with image.opened(content) as picture:
        return picture.format or "an unknown format"


def _passes(content: bytes) -> str | None:
    """The type of a file of which a browser shows what we read; None of any other.

    Not so are 16 bits (we stretch the levels), CMYK (colours differ), transparency (we see white), animations, and a
    turn that is not in the EXIF data of a JPEG.
    """
    with image.opened(content) as picture:
        kind = _TYPES.get(picture.format or "")
        if kind is None or picture.mode not in ("1", "L", "P", "RGB") or picture.has_transparency_data:
            return None
        if picture.format != "MPO" and getattr(picture, "is_animated", False):
            return None
        if kind == "image/png" and b"eXIf" in content:
            picture.load()  # it may stand behind the pixels
        turn, written = image.orientation(picture), Image.Exif()
        written.load(picture.info.get("exif") or b"")
        in_exif = kind == "image/jpeg" and written.get(ExifTags.Base.Orientation, 1) == turn
        return kind if turn == 1 or in_exif else None


@contextmanager
def _named(entry: Entry, name: str) -> Iterator[None]:
    """Sentences about a picture say its name in the folder, and not where the folder is."""
    with _renamed(entry.file_name, name):
        yield


@contextmanager
def _renamed(to: str, name: str) -> Iterator[None]:
    try:
        yield
    except image.ImageError as error:
        raise image.ImageError(str(error).replace(name, to)) from None
