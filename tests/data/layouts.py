"""Small data sets of one picture and one mask, written in the layouts that training reads."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from opensam.records import ImageInfo, ImageRecord, MaskRecord

MASK = np.zeros((20, 30), dtype=bool)
MASK[5:15, 10:20] = True


def picture() -> bytes:
    """A PNG of the size of MASK; noise, so that a part of the file is not the whole."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*MASK.shape, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def record(name: str, mask: np.ndarray = MASK) -> bytes:
    """The SA-1B record of one mask."""
    annotation = MaskRecord.from_mask(mask, 1, predicted_iou=1.0, stability_score=1.0)
    info = ImageInfo(image_id=1, width=mask.shape[1], height=mask.shape[0], file_name=f"{name}.png")
    return ImageRecord(image=info, annotations=[annotation]).to_json()


def write_shard(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    """A tar with these files."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write(folder: Path, files: dict[str, bytes | str | np.ndarray]) -> Path:
    """Files of a folder: bytes, text, or arrays to be saved as pictures."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
