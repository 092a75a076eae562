"""What an evaluation asks of a method (masks from boxes, and from clicks if it can), and our model as one.

Letters: P prompts, N clicks per prompt, C candidate masks, (H, W) the picture. All coordinates are in the
original frame, so that every method is judged on the picture as it came.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam.geometry import Resize
from opensam.image import Rgb
from opensam.models.sam import Sam
from opensam.prompts import Prompts

Masks = NDArray[np.bool_]


def prompts_per_call(device: str) -> int:
    """How many masks of a picture to ask for at once: on a processor a few, so that the decoder stays in its cache."""
    return 4 if device == "cpu" else 32


@dataclass(frozen=True)
class Answer:
    """Candidate masks for P objects.

    Attributes:
        masks: (P, C, H, W) bool at the size of the picture.
        iou_predictions: (P, C) the method's own estimate of their IoU; the highest is its choice.
        low_res_masks: (P, C, 4h, 4w) logits; those of the choice are handed back with the next click.
    """

    masks: Masks
    iou_predictions: NDArray[np.floating[Any]]
    low_res_masks: Tensor


class BoxSegmenter(Protocol):
    """A method that turns boxes into masks."""

    def embed(self, image: Rgb) -> Any:
        """Whatever the method needs of a picture (H, W, 3), made once and used for all its prompts."""

    def segment_boxes(self, embedding: Any, boxes: NDArray[np.float64]) -> Masks:
        """The masks (P, H, W) of the objects in XYXY boxes (P, 4); both corners are pixels of the box."""


@runtime_checkable
class ClickSegmenter(BoxSegmenter, Protocol):
    """A method that also turns clicks into masks."""

    def segment_clicks(
        self,
        embedding: Any,
        points: NDArray[np.float64],
        labels: NDArray[np.int64],
        mask_input: Tensor | None,
        multimask_output: bool,
    ) -> Answer:
        """Masks of P objects from all their clicks so far.

        Args:
            embedding: what `embed` gave.
            points: (P, N, 2) clicks (x, y).
            labels: (P, N) 1 on the object, 0 beside it.
            mask_input: (P, 1, 4h, 4w) logits of the previous answer; None at the first click.
            multimask_output: True: several candidates for an ambiguous click; False: one.
        """


class SamSegmenter:
    """A `Sam` model as a method to evaluate.

    Args:
        sam: the model, in eval mode, on the device that shall do the work; `models.inference` makes a fast one.
    """

    def __init__(self, sam: Sam) -> None:
        self.sam = sam

    @torch.no_grad()
    def embed(self, image: Rgb) -> tuple[Resize, Tensor]:
        """The image embeddings (1, 256, h, w) and how the picture lies in the model's square."""
        resize = Resize((image.shape[0], image.shape[1]), self.sam.image_size)
        resized = torch.from_numpy(resize.apply_image(image)).permute(2, 0, 1)
        pixels = self.sam.preprocess(resized.to(self.sam.device))
        return resize, self.sam.encode(pixels)

    def segment_boxes(self, embedding: tuple[Resize, Tensor], boxes: NDArray[np.float64]) -> Masks:
        """The masks (P, H, W) of the objects in XYXY boxes (P, 4); see `BoxSegmenter`."""
        prompts = Prompts(boxes=torch.from_numpy(embedding[0].apply_boxes(boxes)).to(self.sam.dtype))
        return self._decode(embedding, prompts, multimask_output=False).masks[:, 0]

    def segment_clicks(
        self,
        embedding: tuple[Resize, Tensor],
        points: NDArray[np.float64],
        labels: NDArray[np.int64],
        mask_input: Tensor | None,
        multimask_output: bool,
    ) -> Answer:
        """Masks of P objects from all their clicks so far; see `ClickSegmenter`."""
        coords = torch.from_numpy(embedding[0].apply_coords(points)).to(self.sam.dtype)
        prompts = Prompts(point_coords=coords, point_labels=torch.from_numpy(labels), mask_input=mask_input)
        return self._decode(embedding, prompts, multimask_output)

    @torch.no_grad()  # not inference_mode: the caller picks from the logits and hands them back
    def _decode(self, embedding: tuple[Resize, Tensor], prompts: Prompts, multimask_output: bool) -> Answer:
        resize, image_embeddings = embedding
        prompts = prompts.to(self.sam.device)
        low_res_masks, iou_predictions = self.sam.decode(image_embeddings, prompts, multimask_output)
        masks = resize.restore_masks(low_res_masks) > self.sam.mask_threshold
        return Answer(masks.cpu().numpy(), iou_predictions.cpu().numpy(), low_res_masks)
