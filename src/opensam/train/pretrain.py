"""One training step of masked autoencoding: crops of pictures without labels, some squares hidden, a loss.

Letters: B pictures, S side of the crops, (H, W) size of a picture as it is stored.
"""

import math
from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from opensam.config import Config
from opensam.data.colours import recolour
from opensam.data.paste import resize
from opensam.data.pictures import PictureSource
from opensam.models.mae import MaeConfig, MaskedAutoencoder
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam
from opensam.train.loop import RunConfig


class CropConfig(Config):
    """How a crop is taken from a picture; the defaults are MAE's.

    Attributes:
        area: range of its share of the picture.
        ratio: range of its width over its height, before it becomes a square.
        flip: probability of a mirror image.
        color: strength of random brightness, contrast and saturation; 0 leaves colours alone.
    """

    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = Field(default=0.5, ge=0, le=1)
    color: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, (low, high), most in (("area", self.area, 1.0), ("ratio", self.ratio, math.inf)):
            if not 0 < low <= high <= most:
                raise ValueError(f"expected {name} as two numbers above 0, the smaller first, got {low} and {high}")
        return self


class PretrainConfig(RunConfig):
    """One run of masked autoencoding; the defaults are MAE's (arXiv 2111.06377).

    Attributes:
        model: a name of `opensam models`: the architecture of its image encoder, not its weights.
        image_size: side of the square that the model will have later. A ViT knows so many positions, and is shown a
            crop at any of them.
        crop_size: side of the crops, a multiple of 16 for a ViT and of 32 for TinyViT.
        crop: see there.
        mae: how much is hidden, and the decoder that guesses it.
        recompute: save memory by computing the blocks of the image encoder again in the backward pass.
    """

    model: str = "sam_vit_b"
    image_size: int = Field(default=1024, ge=EMBEDDING_STRIDE, multiple_of=EMBEDDING_STRIDE)
    crop_size: int = Field(default=224, ge=EMBEDDING_STRIDE, multiple_of=EMBEDDING_STRIDE)
    crop: CropConfig = CropConfig()
    mae: MaeConfig = MaeConfig()
    recompute: bool = False


class PictureBatch(NamedTuple):
    """B crops (B, 3, S, S) uint8 RGB, and the names of the pictures that they are from."""

    images: Tensor
    names: tuple[str, ...]


def draw_crops(
    source: PictureSource, count: int, side: int, config: CropConfig, rng: np.random.Generator
) -> PictureBatch:
    """Random crops (count, 3, side, side) of as many pictures."""
    images, names = [], []
    for _ in range(count):
        name, rgb = source.draw(rng)
        window = draw_window(rgb.shape[:2], config, rng)
        crop = resize(rgb[window], (side, side), bool(rng.random() < config.flip))
        images.append(torch.from_numpy(recolour(crop, config.color, 0.0, rng)).permute(2, 0, 1))
        names.append(name)
    return PictureBatch(torch.stack(images), tuple(names))


def draw_window(size: tuple[int, ...], config: CropConfig, rng: np.random.Generator) -> tuple[slice, slice]:
    """The (rows, columns) of a crop of random area and ratio anywhere in a picture (H, W).

    A crop that would be longer than the picture is cut to it.
    """
    area = rng.uniform(*config.area) * size[0] * size[1]
    ratio = math.exp(rng.uniform(*np.log(config.ratio)))
    window = []
    for side, wanted in zip(size, (math.sqrt(area / ratio), math.sqrt(area * ratio)), strict=True):
        length = min(side, max(1, round(wanted)))
        start = int(rng.integers(side - length + 1))
        window.append(slice(start, start + length))
    return window[0], window[1]


class PretrainStep(nn.Module):
    """A batch to a loss, as one module, so that wrappers for precision and many devices see one `forward`."""

    def __init__(self, sam: Sam, config: MaeConfig) -> None:
        """Wrap the image encoder of a model.

        Args:
            sam: its image encoder is trained in place; the rest of it is left alone.
            config: of the autoencoder around it.

        Raises:
            ValueError: the method is not for this encoder.
        """
        super().__init__()
        self.autoencoder = MaskedAutoencoder(sam.image_encoder, config)
        for name in ("pixel_mean", "pixel_std"):
            self.register_buffer(name, sam.get_buffer(name).clone(), persistent=False)

    def forward(
        self,
        batch: PictureBatch,
        shared: torch.Generator,  # noqa: ARG002
        generator: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of guessing what `generator` hides, and no other facts."""
        loss, _, _ = self.autoencoder(self.preprocess(batch.images), generator)
        return loss, {}

    def preprocess(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB of 0-255 from anywhere -> pixels, normalised as in `Sam`."""
        mean, std = self.get_buffer("pixel_mean"), self.get_buffer("pixel_std")
        return (images.to(mean.device, mean.dtype) - mean) / std
