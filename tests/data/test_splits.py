"""The pictures that the embedded model was trained on are not those that it is measured on."""

import io
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from opensam.data.specs import open_pictures

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data are not there: {DATA}")

SEEN, HELD_OUT = ("train", "unlabelled"), ("val", "bsds500_test")
SIDE = 32
ALIKE = 0.945  # copies at half the size and JPEG quality 50 reach 0.95; two eyes under one fundus camera reach 0.93


def pictures(folders: tuple[str, ...]) -> dict[tuple[str, str], bytes]:
    found = open_pictures([str(DATA / folder) for folder in folders])
    return {found.key(i): found.read(i) for i in range(len(found))}


def slopes(picture: bytes, mirrored: bool = False) -> NDArray[np.float32]:
    """How brightness changes over a small copy, to the right and downwards, as a vector of length 1."""
    grey = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)
    small = cv2.resize(grey, (SIDE + 1, SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small[:, ::-1] if mirrored else small
    vector = np.concatenate([np.diff(small, axis=axis)[:SIDE, :SIDE].ravel() for axis in (0, 1)])
    return vector / max(np.linalg.norm(vector), 1e-6)


def test_no_file_is_on_both_sides() -> None:
    seen, held_out = pictures(SEEN), pictures(HELD_OUT)
    assert len(seen) > 4000
    assert len(held_out) > 400
    digests = {sha256(picture).digest() for picture in seen.values()}
    assert [name for name, picture in held_out.items() if sha256(picture).digest() in digests] == []


@pytest.mark.slow
def test_no_picture_is_on_both_sides_in_another_size_or_mirrored() -> None:
    seen, held_out = pictures(SEEN), pictures(HELD_OUT)
    with ThreadPoolExecutor(2) as pool:
        ours = np.array(list(pool.map(slopes, seen.values())))
        theirs = [np.array(list(pool.map(slopes, held_out.values(), [flip] * len(held_out)))) for flip in (False, True)]
    alike = np.maximum(*(ours @ vectors.T for vectors in theirs))
    names, others = list(seen), list(held_out)
    assert [(names[i], others[j], alike[i, j]) for i, j in np.argwhere(alike > ALIKE)] == []


def test_a_copy_in_another_size_would_be_found() -> None:
    for picture in list(pictures(("bsds500_test",)).values())[::20]:
        opened = Image.open(io.BytesIO(picture))
        copy = io.BytesIO()
        ImageOps.mirror(opened.resize((opened.width // 2, opened.height // 2))).save(copy, "JPEG", quality=50)
        assert slopes(picture) @ slopes(copy.getvalue(), mirrored=True) > ALIKE
