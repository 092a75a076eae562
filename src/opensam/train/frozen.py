"""Training behind an image encoder that does not change: what it makes of a picture is computed once and kept.

A step then costs the prompts and the mask decoder alone. On a CPU that is the difference between hours and minutes: the
encoder of a `sam_vit_b` takes longer for one picture than the decoder for all its prompts.
"""

import hashlib
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from opensam.models.sam import Sam
from opensam.train.segment import SegmentConfig, SegmentStep


class EmbeddingMemory:
    """Embeddings by the pixels that they were made of, in the memory of the machine, up to a number of bytes.

    What does not fit is not kept, and nothing is thrown out for it: pictures are drawn at random, so none is worth more
    than another. For one encoder that does not change, and one thread.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.size = 0
        self.kept: dict[bytes, Tensor] = {}

    def embed(self, pictures: list[Tensor], encode: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """The embeddings (B, 256, h, w) of B pictures of any shape, on the device where `encode` has them.

        Args:
            pictures: (3, H, W) or (H, W, 3) uint8, on the CPU.
            encode: from some of them to their embeddings.
        """
        keys = [_key(picture) for picture in pictures]
        missing = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self.kept}
        made: dict[bytes, Tensor] = {}
        if missing:
            embeddings = encode(list(missing.values())).detach()
            made = {key: embeddings[i : i + 1] for i, key in enumerate(missing)}
        device = next(iter(made.values())).device if made else None
        found = torch.cat([made[key] if key in made else self.kept[key].to(device) for key in keys])
        for key, embedding in made.items():
            self._keep(key, embedding)
        return found

    def _keep(self, key: bytes, embedding: Tensor) -> None:
        size = embedding.numel() * embedding.element_size()
        if self.size + size <= self.limit:
            self.kept[key] = embedding.cpu().clone()
            self.size += size


class FrozenEncoderStep(SegmentStep):
    """A `SegmentStep` whose image encoder stays as it is, in eval mode, and sees each picture once."""

    def __init__(self, sam: Sam, config: SegmentConfig, cache: EmbeddingMemory) -> None:
        """Wrap a model. Its image encoder must not change as long as the cache lives."""
        super().__init__(sam, config, freeze_batch_norm=True)
        self.cache = cache

    def train(self, mode: bool = True) -> Self:
        """As usual, but for the image encoder."""
        super().train(mode)
        self.sam.image_encoder.eval()
        return self

    @torch.no_grad()
    def embed(self, pictures: list[Tensor], crop_size: int) -> Tensor:
        """See `SegmentStep.embed`; no graph is built."""

        def encode(missing: list[Tensor]) -> Tensor:
            return SegmentStep.embed(self, missing, crop_size)

        return self.cache.embed(pictures, encode).to(self.sam.device)


def _key(picture: Tensor) -> bytes:
    """Of the pixels: 3 ms for a picture of 1024 x 1024, where an encoder takes a hundred times as long."""
    shape = str(tuple(picture.shape)).encode()
    return hashlib.blake2b(picture.contiguous().numpy().tobytes(), digest_size=16, key=shape[:64]).digest()
