"""Pictures from anywhere, as (H, W, 3) uint8 RGB arrays, and PNG files that are whole or not there.

`read` answers one question for every source: what would a person see? So pictures are turned upright (EXIF),
transparent pixels show white paper, 16-bit greys are stretched to what a screen can show, and an animation is
its first frame.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from opensam.files import replacing

Source = str | Path | bytes | BinaryIO | Image.Image | NDArray[Any]
Rgb = NDArray[np.uint8]

MAX_PIXELS = 200_000_000
"""Default limit: photographs of 100 megapixels pass, a small file that unpacks to gigabytes does not."""

# EXIF 2.32, tag 274: how to turn the stored pixels so that the picture stands upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)
_OPENING = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be read; the message says what came, why not, and what to do."""


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """Read any picture as RGB.

    Args:
        source: a path, the bytes of an image file, a binary file (read from its start), a Pillow image, or an
            array: (H, W) or (H, W, 1) grey, (H, W, 2) grey with alpha, (H, W, 3) RGB, (H, W, 4) RGBA; of
            uint8, bool, wider integers, or floats in [0, 1].
        max_pixels: refuse larger files before decoding them.

    Returns:
        (H, W, 3) uint8 in memory of its own, C-contiguous, upright after EXIF, alpha composited on white.
        Wider integers stay as they are if all lie in 0-255; else the darkest becomes 0, the brightest 255.

    Raises:
        ImageError: the source is missing, empty, truncated, no picture, too large, or of unclear levels.
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    with opened(source) as picture:
        if picture.width * picture.height > max_pixels:
            raise ImageError(
                f"expected a picture of at most {max_pixels} pixels, got {picture.width} x {picture.height} "
                f"in {_name(source)}; scale it down or, if you trust it, pass a higher max_pixels."
            )
        # Decode before looking at EXIF: Pillow turns TIFF by itself, and PNG may have it after the pixels.
        picture.load()
        return _picture_to_rgb(picture)


def size(source: str | Path | bytes) -> tuple[int, int]:
    """(H, W) of an image file, or of its bytes, after EXIF, from its header alone.

    Raises:
        ImageError: the file is missing, empty or not a picture.
    """
    with opened(source) as picture:
        if picture.format == "PNG" and _has_late_exif(picture):
            picture.load()
        # Pillow already reports TIFF the way it will turn it.
        turned = picture.format != "TIFF" and orientation(picture) in _SWAPS_SIDES
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def write_png(path: str | Path, array: NDArray[np.uint8] | NDArray[np.bool_]) -> None:
    """Write a PNG file that appears complete or not at all.

    Args:
        path: in a folder that exists; a file of that name is replaced.
        array: (H, W) bool (written as 0 and 255), or uint8 of (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        OSError: the file cannot be written.
    """
    levels = array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array
    with replacing(path) as temporary:
        # Of a photograph, level 1 makes files a fifth larger than the usual 6, in a twentieth of the time.
        Image.fromarray(levels).save(temporary, format="PNG", compress_level=6 if levels.ndim == 2 else 1)


@contextmanager
def opened(source: str | Path | bytes | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """The source as a Pillow image of any size, closed afterwards if opened here; what goes wrong is an ImageError."""
    try:
        if isinstance(source, Image.Image):
            yield source
            return
        with _open(source) as picture:
            yield picture
    except ImageError:
        raise
    except Exception as error:  # a decoder raises nearly anything when it meets a damaged file
        raise ImageError(f"cannot read {_name(source)} as a picture: {_reason(error)}.") from error


def _open(source: str | Path | bytes | BinaryIO) -> Image.Image:
    if isinstance(source, str | Path):
        empty = os.path.getsize(source) == 0
    else:
        data = source if isinstance(source, bytes) else _read_all(source)
        empty = not data
        source = BytesIO(data)
    if empty:
        raise ValueError("it is empty (0 bytes)")
    # Pillow's own limit is below ours and lives in a global: lift it, but only while the header is read.
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read_all(stream: BinaryIO) -> bytes:
    if not hasattr(stream, "read"):
        raise ImageError(
            "expected a path, bytes, a binary file, a Pillow image or a numpy array as picture, "
            f"got {type(stream).__name__}; of a tensor pass .numpy() with channels last."
        )
    if stream.seekable():
        stream.seek(0)
    return stream.read()


def _picture_to_rgb(picture: Image.Image) -> Rgb:
    turn = _TURNS.get(orientation(picture))
    if turn is not None:
        picture = picture.transpose(turn)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _array_to_rgb(np.asarray(picture))
    if picture.has_transparency_data:
        cutout = picture.convert("RGBA")
        picture = Image.new("RGB", picture.size, "white")
        picture.paste(cutout, mask=cutout)
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _has_late_exif(picture: Image.Image) -> bool:
    """Whether a PNG says behind its pixels how it is turned (PNG 3, 11.3.4.5: eXIf stands before them or after)."""
    file = getattr(picture, "fp", None)
    if file is None:  # it is unpacked already
        return False
    place, behind = file.tell(), False
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND" and not (behind and head[4:] == b"eXIf"):
        behind = behind or head[4:] == b"IDAT"
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    file.seek(place)
    return head[4:] == b"eXIf"


def orientation(picture: Image.Image) -> int:
    """How the stored pixels are to be turned, as EXIF 2.32 (or XMP) says it: 1 is upright."""
    try:
        # Not picture.getexif(): that of PNG decodes the whole picture first.
        return int(Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF is no reason to refuse the pixels
        return 1


def _array_to_rgb(array: NDArray[Any]) -> Rgb:
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.size == 0:
        raise ImageError(
            "expected a picture as array of shape (H, W) or (H, W, channels) with 1 to 4 channels, "
            f"got shape {array.shape}; move channels last with np.moveaxis(image, 0, -1)."
        )
    levels = _to_uint8(array)
    if levels.shape[2] == 3:
        return np.array(levels, order="C")
    return _picture_to_rgb(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels))


def _to_uint8(levels: NDArray[Any]) -> NDArray[np.uint8]:
    if levels.dtype == np.uint8:
        return levels
    if levels.dtype.kind not in "buif":
        raise ImageError(f"expected a picture as array of numbers, got {levels.dtype}; convert it to uint8.")
    low, high = levels.min().item(), levels.max().item()  # Python numbers: int16 would overflow in high - low
    if levels.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # NaN fails both
            raise ImageError(
                f"expected a float picture with values in [0, 1], got values from {low} to {high}; "
                "if they are meant to be 0-255, pass np.clip(image, 0, 255).astype(np.uint8)."
            )
        low, high = 0, 1
    elif levels.dtype.kind == "b":
        low, high = 0, 1
    elif low >= 0 and high <= 255:
        return levels.astype(np.uint8)
    stretched = levels.astype(np.float64)
    stretched -= low
    stretched *= 255 / max(high - low, 1)
    return np.rint(stretched, out=stretched).astype(np.uint8)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else f"the given {type(source).__name__}"


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is in no image format that Pillow knows; convert it to PNG or JPEG"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}; check the path"
    return f"{error}; save or download it again"
