"""The official generator of automatic masks."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from opensam.amg import PRESETS, MaskGenerator
from opensam.models.sam import Sam
from opensam.predictor import Predictor
from opensam.records import MaskRecord
from opensam.rle import read_runs

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]


class SamAutomaticMaskGenerator:
    """Masks of everything in a picture.

    Args:
        model: the model, in eval mode.
        points_per_side: see `opensam.AmgConfig`, as for all settings that follow.
        points_per_batch: see there.
        pred_iou_thresh: see there.
        stability_score_thresh: see there.
        stability_score_offset: see there.
        box_nms_thresh: see there.
        crop_n_layers: see there.
        crop_nms_thresh: see there.
        crop_overlap_ratio: see there.
        crop_n_points_downscale_factor: see there.
        point_grids: instead of points_per_side, which must then be None.
        min_mask_region_area: see there.
        output_mode: what `segmentation` is: an (H, W) bool array, or a dict of `size` and `counts`, these a list of
            numbers ("uncompressed_rle") or text ("coco_rle").

    Raises:
        ValueError: a setting is out of range, or both or none of points_per_side and point_grids are given.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise ValueError("expected exactly one of points_per_side and point_grids; set the other one to None")
        if output_mode not in get_args(OutputMode):
            raise ValueError(f"expected output_mode to be one of {get_args(OutputMode)}, got {output_mode!r}")
        self.output_mode = output_mode
        self.generator = MaskGenerator(
            Predictor(model, "float32"),
            PRESETS["official"],
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids,
            min_mask_region_area=min_mask_region_area,
        )

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """The masks of a picture.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            For each mask a dict of `segmentation` (see `output_mode`), `area` in pixels, `bbox` XYWH from pixel to
            pixel (a mask of one pixel has width 0), `predicted_iou`, `point_coords` [[x, y]], `stability_score`,
            `crop_box` XYWH.
        """
        return [self._annotation(record) for record in self.generator.generate(image)]

    def _annotation(self, record: MaskRecord) -> dict[str, Any]:
        x, y, width, height = (int(side) for side in record.bbox)
        return {
            "segmentation": self._segmentation(record),
            "area": record.area,
            "bbox": [x, y, width - 1, height - 1],
            "predicted_iou": record.predicted_iou,
            "point_coords": record.point_coords,
            "stability_score": record.stability_score,
            "crop_box": record.crop_box,
        }

    def _segmentation(self, record: MaskRecord) -> Any:
        if self.output_mode == "binary_mask":
            return record.mask
        if self.output_mode == "coco_rle":
            return record.segmentation
        return {"size": record.segmentation["size"], "counts": read_runs(record.segmentation).tolist()}
