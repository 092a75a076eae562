"""The official predictor, and how it scales pictures and coordinates.

Letters: B prompts (as the official code calls them), N points, C masks, (H, W) the original size.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from opensam.geometry import Resize
from opensam.models.sam import Sam
from opensam.prompts import Prompts


class ResizeLongestSide:
    """Moves pictures and coordinates to the frame of the model: the longest side becomes `target_length`."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale a picture (H, W, 3) uint8."""
        return self._resize(image.shape[:2]).apply_image(image)

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """Scale points (..., 2) given in pixels of a picture of `original_size` (H, W)."""
        return self._resize(original_size).apply_coords(coords)

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """Scale XYXY boxes of shape (B, 4)."""
        return self._resize(original_size).apply_boxes(boxes.reshape(-1, 4))

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Scale pictures (B, 3, H, W) float; the pixels differ slightly from those of `apply_image`."""
        size = self.get_preprocess_shape(image.shape[2], image.shape[3], self.target_length)
        return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """`apply_coords` for tensors."""
        return self._resize(original_size).apply_coords(coords)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, ...]) -> Tensor:
        """`apply_boxes` for tensors."""
        return self._resize(original_size).apply_boxes(boxes.reshape(-1, 4))

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(H, W) of a picture after scaling."""
        return Resize((oldh, oldw), long_side_length).input_size

    def _resize(self, original_size: tuple[int, ...]) -> Resize:
        return Resize((original_size[0], original_size[1]), self.target_length)


class SamPredictor:
    """The official predictor: it holds one picture, and answers prompts on it.

    Args:
        sam_model: the model.
    """

    def __init__(self, sam_model: Sam) -> None:
        self.model = sam_model
        self.transform = ResizeLongestSide(sam_model.image_size)
        self.reset_image()

    def reset_image(self) -> None:
        """Forget the picture."""
        self.is_image_set = False
        self.features: Tensor | None = None
        self.original_size: tuple[int, ...] | None = None
        self.input_size: tuple[int, ...] | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Look at a picture.

        Args:
            image: (H, W, 3) uint8.
            image_format: the order of its channels, "RGB" or "BGR".

        Raises:
            ValueError: the picture or the format is not as described.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"expected image_format 'RGB' or 'BGR', got {image_format!r}")
        rgb = image if image_format == "RGB" else image[..., ::-1]
        scaled = torch.from_numpy(self.transform.apply_image(np.ascontiguousarray(rgb)))
        self.set_torch_image(scaled.to(self.device).permute(2, 0, 1)[None], image.shape[:2])

    @torch.no_grad()
    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, ...]) -> None:
        """Look at a picture already scaled with `transform`.

        Args:
            transformed_image: (1, 3, h, w), 0-255 RGB, its longest side that of the model's square.
            original_image_size: (H, W) before scaling.

        Raises:
            ValueError: the picture does not have that shape.
        """
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != self.model.image_size:
            raise ValueError(
                f"expected (1, 3, h, w) with a longest side of {self.model.image_size}, got {shape}; "
                "scale the picture with transform.apply_image_torch"
            )
        self.reset_image()
        self.original_size = tuple(original_image_size)
        self.input_size = shape[2:]
        self.features = self.model.encode(self.model.preprocess(transformed_image.to(self.device)))
        self.is_image_set = True

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Masks for one prompt on the picture.

        Args:
            point_coords: (N, 2), (x, y) in pixels of the original picture.
            point_labels: (N,) 1 foreground, 0 background.
            box: (4,) XYXY.
            mask_input: (1, 4h, 4w) logits of an earlier round.
            multimask_output: 3 masks, or 1.
            return_logits: give logits instead of masks.

        Returns:
            masks (C, H, W) bool, or float32 logits; scores (C,); low-resolution logits (C, 4h, 4w); in the
            order of the decoder's outputs.

        Raises:
            RuntimeError: no picture is set.
            ValueError: there is no prompt, or it is not as described.
        """
        _, size = self._state()
        coords = labels = boxes = masks = None
        if point_coords is not None:
            coords = self._tensor(self.transform.apply_coords(np.asarray(point_coords), size))[None]
        if point_labels is not None:
            labels = torch.as_tensor(point_labels, dtype=torch.int, device=self.device)[None]
        if box is not None:
            boxes = self._tensor(self.transform.apply_boxes(np.asarray(box), size))
        if mask_input is not None:
            masks = self._tensor(mask_input)[None]
        answer = self.predict_torch(coords, labels, boxes, masks, multimask_output, return_logits)
        found, scores, low_res_masks = (one[0].detach().cpu().numpy() for one in answer)
        return found, scores, low_res_masks

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks for B prompts on the picture; everything is a tensor in the model's frame, on its device.

        Args:
            point_coords: (B, N, 2), scaled with `transform.apply_coords_torch`.
            point_labels: (B, N).
            boxes: (B, 4), scaled with `transform.apply_boxes_torch`.
            mask_input: (B, 1, 4h, 4w) logits of an earlier round.
            multimask_output: 3 masks, or 1.
            return_logits: give logits instead of masks.

        Returns:
            masks (B, C, H, W) bool, or logits; scores (B, C); low-resolution logits (B, C, 4h, 4w).

        Raises:
            RuntimeError: no picture is set.
            ValueError: there is no prompt, or it is not as described.
        """
        features, size = self._state()
        boxes = None if boxes is None else boxes.reshape(-1, 4)
        prompts = Prompts(point_coords, point_labels, boxes, mask_input)
        low_res_masks, iou_predictions = self.model.decode(features, prompts, multimask_output)
        masks = Resize((size[0], size[1]), self.model.image_size).restore_masks(low_res_masks)
        if not return_logits:
            masks = masks > self.model.mask_threshold
        return masks, iou_predictions, low_res_masks

    def get_image_embedding(self) -> Tensor:
        """The image embeddings (1, 256, h, w) of the picture.

        Raises:
            RuntimeError: no picture is set.
        """
        return self._state()[0]

    def _state(self) -> tuple[Tensor, tuple[int, ...]]:
        if self.features is None or self.original_size is None:
            raise RuntimeError("expected a picture, got none yet; call set_image(...) first")
        return self.features, self.original_size

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float, device=self.device)
