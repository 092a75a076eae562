"""What a run writes about itself: `log.csv` and `validation.csv` for scripts, TensorBoard files for people."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opensam.files import replacing

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class Validation:
    """What a recipe measures while a run goes on.

    Attributes:
        facts: for the log.
        score: what the best weights have most of.
        pictures: of predictions, by name.
    """

    facts: dict[str, float]
    score: float
    pictures: dict[str, Picture] = field(default_factory=dict)


class RunLog:
    """The log of a run in `folder`, which goes on after `step`: what was written about later steps is taken back.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for name in ("log.csv", "validation.csv"):
            _cut(folder / name, step)
        self.folder = folder
        self.board: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, kind: str, step: int, facts: Mapping[str, float]) -> None:
        """Add a row to `<kind>.csv`, and its numbers to TensorBoard."""
        path = self.folder / f"{kind}.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *facts])
            writer.writerow([step, *(f"{value:.6g}" for value in facts.values())])
        for name, value in facts.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)

    def show(self, step: int, pictures: Mapping[str, Picture]) -> None:
        """Add pictures to TensorBoard."""
        for name, picture in pictures.items():
            self.board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is still in memory."""
        self.board.close()


def _cut(path: Path, step: int) -> None:
    """Drop the rows after `step`, which a run that goes on from there writes again."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if int(row[0]) <= step)])
