"""Pictures without masks, drawn one by one."""

import numpy as np

from opensam import image
from opensam.data.mixture import ATTEMPTS
from opensam.data.specs import PictureList


class PictureSource:
    """Pictures without labels, each drawn as often as any other.

    Attributes:
        skipped: why a picture was passed over when it was drawn, by (data set, name of the picture).
    """

    def __init__(self, pictures: PictureList) -> None:
        self.pictures = pictures
        self.skipped: dict[tuple[str, str], str] = {}

    def draw(self, rng: np.random.Generator) -> tuple[str, image.Rgb]:
        """A picture that can be decoded, with its name; others go into `skipped`, and the next is drawn.

        What comes depends on `rng` and the files alone. Many threads may draw at once.

        Raises:
            ValueError: a hundred pictures in a row could not be decoded.
        """
        for _ in range(ATTEMPTS):
            i = int(rng.integers(len(self.pictures)))
            dataset, name = self.pictures.key(i)
            try:
                return f"{dataset}/{name}", image.read(self.pictures.read(i))
            except (ValueError, OSError) as error:
                reason = str(error)
                self.skipped.setdefault((dataset, name), reason)  # atomic, so threads need no lock
        raise ValueError(
            f"expected pictures that can be read, got {ATTEMPTS} in a row that cannot; the last was {name} of "
            f"{dataset}: {reason}"
        )
