"""The names, arguments and answers of the official `segment_anything`, so that old scripts change one import.

    from opensam.compat import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

Coordinates, frames, shapes and the order of candidates are the official ones. New code: `opensam.Predictor` and
`opensam.MaskGenerator`.
"""

from opensam.compat.automatic_mask_generator import SamAutomaticMaskGenerator
from opensam.compat.model import (
    Sam,
    build_sam,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
    build_sam_vit_t,
    sam_model_registry,
)
from opensam.compat.predictor import ResizeLongestSide, SamPredictor

__all__ = [
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "sam_model_registry",
]
