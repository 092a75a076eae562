"""Masks from words: what a text model must offer, how it sees a mask, and masks of everything ranked by a text.

Letters: T texts, K masks, D numbers of an embedding, (H, W) the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from opensam.amg import MaskGenerator
from opensam.config import Config
from opensam.image import Rgb
from opensam.masks import decode_rle
from opensam.rle import Rle, crop_rle, rle_to_box

PLACE = "{}"
"""Where a template has the name of what is meant."""
CROPS_AT_ONCE = 16
NO_ANSWER = -1.0
"""The score of an empty answer: the lowest that a cosine can be."""


class TextImageEncoder(Protocol):
    """A model that puts texts and pictures into one space, where what belongs together lies close."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, D) float32 of length 1 each. Raises ValueError for a text that is too long."""

    def embed_images(self, images: Sequence[Rgb]) -> Tensor:
        """(K, D) float32 of length 1 each, of pictures (H, W, 3) uint8 of any sizes."""


class TextSegmenter(Protocol):
    """A method that turns words into masks."""

    def embed(self, image: Rgb) -> Any:
        """Whatever the method needs of a picture (H, W, 3), made once and used for all its texts."""

    def segment_texts(self, embedding: Any, texts: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """For each text the one mask that it means, (T, H, W) at the size of the picture, and how sure that is, (T,).

        Args:
            embedding: what `embed` gave.
            texts: names of things; a method that wants whole sentences makes them itself.
        """


class CropConfig(Config):
    """What of a picture is shown to the text model for one mask.

    As where the paper trains with texts (paper, D.5): a square around a box that is enlarged 1 to 2 times, and half of
    the time nothing but the mask in it. Its attention masked in the last layer is left out here: it would need
    another forward pass than that of CLIP.

    Attributes:
        enlarge: the side of the square over the longer side of the mask's box.
        background: "zeroed": black outside the mask, which alone tells apart two masks of one box; "kept".
    """

    enlarge: float = pydantic.Field(default=1.5, ge=1, le=4)
    background: Literal["zeroed", "kept"] = "zeroed"


def crop_mask(image: Rgb, mask: Rle, config: CropConfig) -> Rgb:
    """The square around a mask, (side, side, 3), moved as little as needed to show as much as possible of the picture.

    What lies outside the picture is black.

    Raises:
        ValueError: the mask is empty, or of another picture.
    """
    height, width = image.shape[:2]
    if mask["size"] != [height, width]:
        raise ValueError(f"expected masks of the picture's size {[height, width]}, got {mask['size']}")
    x0, y0, x1, y1 = rle_to_box(mask).tolist()
    cut = crop_rle(mask, (x0, y0), (y1 - y0 + 1, x1 - x0 + 1))
    inside = decode_rle(cut)
    if not inside.any():
        raise ValueError("expected masks with at least one pixel inside, got an empty one; leave it out")
    side = round(config.enlarge * max(x1 - x0 + 1, y1 - y0 + 1))
    left, top = _start(x0, x1, side, width), _start(y0, y1, side, height)
    if config.background == "kept":
        return np.asarray(Image.fromarray(image).crop((left, top, left + side, top + side)))
    square = np.zeros((side, side, 3), dtype=np.uint8)
    box = image[y0 : y1 + 1, x0 : x1 + 1]
    square[y0 - top : y1 + 1 - top, x0 - left : x1 + 1 - left] = box * inside[..., None]
    return square


def _start(first: int, last: int, side: int, length: int) -> int:
    """Where a square of this side begins on an axis on which the mask covers pixels `first` to `last`."""
    low, high = sorted((0, length - side))
    return min(max((first + last + 1 - side) // 2, low), high)


def embed_masks(encoder: TextImageEncoder, image: Rgb, masks: Sequence[Rle], config: CropConfig) -> Tensor:
    """The embeddings (K, D) of the crops of at least one mask; a few crops are in memory at a time.

    Raises:
        ValueError: no mask, or as `crop_mask`.
    """
    if not masks:
        raise ValueError("embed_masks expects at least one mask, got none.")
    parts = [masks[start : start + CROPS_AT_ONCE] for start in range(0, len(masks), CROPS_AT_ONCE)]
    return torch.cat([encoder.embed_images([crop_mask(image, mask, config) for mask in part]) for part in parts])


def embed_names(encoder: TextImageEncoder, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """The embeddings (T, D), of length 1, of names: each the mean over sentences in which it stands.

    Args:
        encoder: of the sentences.
        names: at least one.
        templates: sentences with `{}` for the name.

    Raises:
        ValueError: no template, one without `{}`, or a sentence that is too long for the model.
    """
    if not templates or not all(PLACE in template for template in templates):
        raise ValueError(f'expected templates such as "a photo of a {PLACE}", got {list(templates)}; {PLACE} is needed')
    sentences = [template.replace(PLACE, name) for name in names for template in templates]
    embeddings = encoder.embed_texts(sentences)
    return functional.normalize(embeddings.unflatten(0, (len(names), len(templates))).mean(dim=1), dim=-1)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The masks that an answer is chosen from.

    Attributes:
        size: (H, W) of the picture.
        masks: K of them.
        embeddings: (K, D); None where K is 0.
    """

    size: tuple[int, int]
    masks: list[Rle]
    embeddings: Tensor | None


class RankedMasks:
    """Masks of everything in a picture, of which each text gets the one that is most like it.

    It works with every promptable model and learns nothing. It is no text prompt in the sense of the paper, whose
    decoder sees the text: what the automatic masks miss, no word finds.

    Args:
        generator: makes the masks.
        encoder: compares them with texts.
        crops: how it sees them.
        templates: sentences around a text; see `embed_names`.
        min_area: smaller masks, in pixels, are never an answer.
    """

    def __init__(
        self,
        generator: MaskGenerator,
        encoder: TextImageEncoder,
        crops: CropConfig | None = None,
        templates: Sequence[str] = (PLACE,),
        min_area: int = 0,
    ) -> None:
        self.generator, self.encoder = generator, encoder
        self.crops, self.templates, self.min_area = crops or CropConfig(), tuple(templates), min_area

    def embed(self, image: Rgb) -> Candidates:
        """The masks of everything, as the text model sees them."""
        records = self.generator.generate(image)
        masks = [record.segmentation for record in records if record.area >= max(self.min_area, 1)]
        embeddings = embed_masks(self.encoder, image, masks, self.crops) if masks else None
        return Candidates((image.shape[0], image.shape[1]), masks, embeddings)

    def segment_texts(
        self, embedding: Candidates, texts: Sequence[str]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The masks (T, H, W) most like the texts, and their cosines (T,); see `TextSegmenter`.

        Where there is no candidate, an empty mask and `NO_ANSWER`.
        """
        masks = np.zeros((len(texts), *embedding.size), dtype=np.bool_)
        if embedding.embeddings is None:
            return masks, np.full(len(texts), NO_ANSWER, dtype=np.float32)
        cosines = embed_names(self.encoder, texts, self.templates) @ embedding.embeddings.T
        scores, chosen = cosines.max(dim=1)
        for mask, number in zip(masks, chosen.tolist(), strict=True):
            mask[:] = decode_rle(embedding.masks[number])
        return masks, scores.float().cpu().numpy()
