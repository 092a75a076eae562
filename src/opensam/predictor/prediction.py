"""What the model answers.

Letters: P prompts, C masks per prompt, (H, W) the original size, (h, w) the grid of image embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class BestMask:
    """The best candidate of each prompt; shapes of one prompt, with P in front if the prompts had it.

    Attributes:
        mask: (H, W) bool.
        low_res_mask: (1, 4h, 4w) float32 logits, as the next prediction takes them for `mask_input`.
        predicted_iou: () float32 in [0, 1].
        stability_score: () float32.
    """

    mask: NDArray[np.bool_]
    low_res_mask: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]
    stability_score: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks for prompts, best candidate first; shapes of one prompt, with P in front if the prompts had it.

    Attributes:
        masks: (C, H, W) bool.
        iou_predictions: (C,) float32, the model's estimate of each mask's IoU, as it comes: it may exceed 1.
            Candidates are ordered by it, the highest first.
        stability_score: (C,) float32 in [0, 1], how little a mask changes with its threshold
            (`masks.stability_score`).
        low_res_masks: (C, 4h, 4w) float32 logits over the model's square.
    """

    masks: NDArray[np.bool_]
    iou_predictions: NDArray[np.float32]
    stability_score: NDArray[np.float32]
    low_res_masks: NDArray[np.float32]

    @property
    def predicted_iou(self) -> NDArray[np.float32]:
        """(C,) `iou_predictions` clamped to [0, 1], where an IoU lies."""
        return self.iou_predictions.clip(0, 1)

    @property
    def best(self) -> BestMask:
        """The first candidate of each prompt."""
        return BestMask(
            mask=self.masks[..., 0, :, :],
            low_res_mask=self.low_res_masks[..., :1, :, :],
            # [()] makes a plain number of an array without axes
            predicted_iou=self.predicted_iou[..., 0][()],
            stability_score=self.stability_score[..., 0][()],
        )


def stack(predictions: Sequence[Prediction]) -> Prediction:
    """Answers to single prompts as one answer with the prompt axis P."""
    names = [field.name for field in fields(Prediction)]
    return Prediction(**{name: np.stack([getattr(one, name) for one in predictions]) for name in names})
