"""The data that the embedded model was trained on, against the data that it is measured on."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from opensam.data.specs import open_pictures

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data are not there: {DATA}")

SEEN, HELD_OUT = ("train", "unlabelled"), ("val", "bsds500_test")
SIDE = 16


def pictures(folders: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        found = open_pictures([str(DATA / folder)])
        for i in range(len(found)):
            yield f"{folder}: {found.key(i)}", found.read(i)


def brightness(picture: bytes) -> NDArray[np.bool_]:
    """Where a small copy gets brighter to the right, and downwards: what scaling and compression hardly change."""
    grey = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)
    small = cv2.resize(grey, (SIDE + 1, SIDE + 1), interpolation=cv2.INTER_AREA).astype(int)
    return np.concatenate([np.diff(small, axis=axis)[:SIDE, :SIDE].ravel() > 0 for axis in (0, 1)])
