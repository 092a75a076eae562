"""The settings of automatic masks, and some sets of them with a name."""

from typing import Any, Self

import numpy as np
import pydantic
from pydantic import Field

from opensam.config import Config
from opensam.geometry import point_grid

Grid = tuple[tuple[float, float], ...]


class AmgConfig(Config):
    """Settings of `MaskGenerator`; names and defaults of the first twelve are the official ones.

    A threshold of 0 for predicted IoU or stability switches that filter off.

    Attributes:
        points_per_side: points along a side of the grid; a click on each gives three masks.
        points_per_batch: prompts decoded at once on an accelerator. A processor takes fewer, to no disadvantage.
        pred_iou_thresh: predicted IoU must be higher.
        stability_score_thresh: stability must be at least this.
        stability_score_offset: see `masks.stability_score`.
        box_nms_thresh: box IoU above which the worse of two masks of one crop goes.
        crop_n_layers: layers of crops that are segmented beside the whole picture: 4 crops, 16, ...
        crop_nms_thresh: box IoU above which, of two masks of different crops, the one of the larger crop goes.
        crop_overlap_ratio: see `geometry.crop_boxes`.
        crop_n_points_downscale_factor: points_per_side is divided by it once per layer.
        point_grids: instead of points_per_side: for each layer points (x, y) in [0, 1].
        min_mask_region_area: holes and islands with fewer pixels go; 0: they stay.
        drop_small_masks: masks whose every island is smaller than that go too (paper, B; officially the largest
            island stays).
        max_area_fraction: masks that cover at least this part of the picture go; None: they stay, as officially.
        object_aware: grid points that several masks found before lie over are left out. Several times less work; how
            many masks it costs depends on the model, see docs/benchmarks.md.
    """

    points_per_side: int | None = Field(default=32, ge=1)
    points_per_batch: int = Field(default=64, ge=1)
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = Field(default=1.0, ge=0)
    box_nms_thresh: float = Field(default=0.7, ge=0)
    crop_n_layers: int = Field(default=0, ge=0, le=6)
    crop_nms_thresh: float = Field(default=0.7, ge=0)
    crop_overlap_ratio: float = Field(default=512 / 1500, ge=0, lt=1)
    crop_n_points_downscale_factor: int = Field(default=1, ge=1)
    point_grids: tuple[Grid, ...] | None = None
    min_mask_region_area: int = Field(default=0, ge=0)
    drop_small_masks: bool = False
    max_area_fraction: float | None = Field(default=None, gt=0)
    object_aware: bool = False

    @pydantic.field_validator("point_grids", mode="before")
    @classmethod
    def _arrays_to_tuples(cls, grids: Any) -> Any:
        if grids is None:
            return None
        return tuple(tuple(map(tuple, np.asarray(grid, dtype=np.float64).tolist())) for grid in grids)

    @pydantic.model_validator(mode="after")
    def _points_for_every_layer(self) -> Self:
        if self.point_grids is None and self.points_per_side is None:
            raise ValueError("expected points_per_side or point_grids, got neither")
        if self.point_grids is not None and len(self.point_grids) != self.crop_n_layers + 1:
            raise ValueError(
                f"expected {self.crop_n_layers + 1} point_grids, one for the picture and one per layer of crops, "
                f"got {len(self.point_grids)}"
            )
        if not all(0 <= side <= 1 for grid in self.point_grids or () for point in grid for side in point):
            raise ValueError("expected points (x, y) of point_grids in [0, 1]; divide by the width and the height")
        return self

    def grid(self, layer: int) -> np.ndarray:
        """The points of a layer, (N, 2), (x, y) in [0, 1]; layer 0 is the whole picture."""
        if self.point_grids is not None:
            return np.array(self.point_grids[layer], dtype=np.float64).reshape(-1, 2)
        return point_grid(max(1, int((self.points_per_side or 0) / self.crop_n_points_downscale_factor**layer)))

    def changed(self, **values: Any) -> Self:
        """A copy with other values.

        Raises:
            ValueError: a setting is unknown or out of range.
        """
        try:
            return self.model_validate(dict(self) | values)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "AmgConfig"
            raise ValueError(f"automatic masks: {where}: {first['msg']}, got {first['input']!r}") from None


PRESETS: dict[str, AmgConfig] = {
    "official": AmgConfig(),
    # The recipe of the paper's data set (paper, B).
    "sa1b": AmgConfig(
        crop_n_layers=2,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
        drop_small_masks=True,
        max_area_fraction=0.95,
    ),
    # For opensam_tiny, which rarely predicts an IoU above 0.6: with the official thresholds nothing of it passes. Its
    # borders are ragged, so small regions are cleaned as in the paper.
    "tiny": AmgConfig(pred_iou_thresh=0.4, stability_score_thresh=0.6, min_mask_region_area=100),
}
SUITS = {"opensam_tiny": "tiny"}  # models of the zoo that the official thresholds do not suit


def preset_of(model: str) -> str:
    """The preset that suits a model of this name; "official" for one that has none of its own."""
    return SUITS.get(model, "official")
