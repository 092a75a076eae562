"""The whole model: an image encoder, a prompt encoder and a mask decoder.

Letters: B images, P prompts, C masks per prompt, S side of the model's square, (h, w) = (S / 16, S / 16).
"""

from typing import Annotated

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.config import Config
from opensam.models.mask_decoder import Attended, MaskDecoder
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.tiny_vit import TinyViT, TinyViTConfig
from opensam.models.two_way_transformer import TwoWayTransformer
from opensam.models.vit import ImageEncoderViT, ViTConfig
from opensam.prompts import Prompts

# ImageNet statistics of 0-255 RGB, as in the official code.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class SamConfig(Config):
    """Sizes of a Segment Anything model; the defaults are those of every official model."""

    image_encoder: Annotated[ViTConfig | TinyViTConfig, pydantic.Field(discriminator="kind")]
    prompt_embed_dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    mask_threshold: float = 0.0

    @property
    def image_size(self) -> int:
        """Side of the model's square in pixels."""
        return self.image_encoder.image_size


class Sam(nn.Module):
    """Segment Anything: `encode` once per image, `decode` for any number of prompts over a batch of images.

    Args:
        config: sizes.
        name: what the weights are called, "" for weights without a name.
    """

    def __init__(self, config: SamConfig, name: str = "") -> None:
        super().__init__()
        encoder = config.image_encoder
        self.config = config
        self.name = name
        self.image_encoder: nn.Module = ImageEncoderViT(encoder) if isinstance(encoder, ViTConfig) else TinyViT(encoder)
        self.prompt_encoder = PromptEncoder(config.prompt_embed_dim, config.image_size)
        self.mask_decoder = MaskDecoder(
            transformer_dim=config.prompt_embed_dim,
            transformer=TwoWayTransformer(
                config.decoder_depth, config.prompt_embed_dim, config.decoder_heads, config.decoder_mlp_dim
            ),
            iou_head_depth=config.iou_head_depth,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        )
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    @property
    def image_size(self) -> int:
        """Side of the model's square in pixels."""
        return self.config.image_size

    @property
    def mask_threshold(self) -> float:
        """Logits above it belong to the mask."""
        return self.config.mask_threshold

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.get_buffer("pixel_mean").device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the model's inputs."""
        return self.get_buffer("pixel_mean").dtype

    def preprocess(self, images: Tensor, side: int | None = None) -> Tensor:
        """Normalise and pad (right and bottom) images already resized to the model's square.

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB of 0-255, uint8 or float, H and W at most S.
            side: S; None: the model's square. Training looks at crops of it.

        Returns:
            pixels (B, 3, S, S).

        Raises:
            ValueError: an image is larger than the square or has not 3 channels.
        """
        images = images if images.ndim == 4 else images[None]
        (channels, h, w), side = images.shape[1:], side or self.image_size
        if channels != 3 or h > side or w > side:
            shape = tuple(images.shape)
            raise ValueError(f"expected images (B, 3, H, W) with H, W <= {side}, got {shape}; resize first")
        normalised = (images.to(self.dtype) - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")
        return F.pad(normalised, (0, side - w, 0, side - h))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) -> image_embeddings (B, 256, h, w)."""
        embeddings: Tensor = self.image_encoder(pixels)
        return embeddings

    def decode(
        self,
        image_embeddings: Tensor,
        prompts: Prompts,
        multimask_output: bool,
        origin: tuple[int, int] = (0, 0),
    ) -> tuple[Tensor, Tensor]:
        """Masks of P prompts over B images.

        Args:
            image_embeddings: (B, 256, h, w), of whole squares or of crops of them.
            prompts: P prompts in the input frame; `prompts.image_index` says which image each belongs to.
            multimask_output: True: 3 masks per prompt, for ambiguity; False: 1.
            origin: (row, column) of the first cell of the embeddings in the square; crops of training have others.

        Returns:
            low_res_masks (P, C, 4h, 4w) logits and iou_predictions (P, C), not bounded to [0, 1].
        """
        grid = (image_embeddings.shape[-2], image_embeddings.shape[-1])
        sparse, dense = self.prompt_encoder(prompts, grid)
        low_res_masks, iou_predictions = self.mask_decoder(
            image_embeddings=image_embeddings,
            image_pe=self.prompt_encoder.dense_pe(grid, origin),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            image_index=prompts.image_index,
            multimask_output=multimask_output,
        )
        return low_res_masks, iou_predictions

    def attend(self, image_embeddings: Tensor, prompts: Prompts, multimask_output: bool) -> Attended:
        """The first half of `decode`, with its arguments: predicted IoU, and what `masks` makes masks of."""
        grid = (image_embeddings.shape[-2], image_embeddings.shape[-1])
        sparse, dense = self.prompt_encoder(prompts, grid)
        return self.mask_decoder.attend(
            image_embeddings, self.prompt_encoder.dense_pe(grid), sparse, dense, prompts.image_index, multimask_output
        )

    def masks(self, attended: Attended, chosen: Tensor | None = None) -> Tensor:
        """The second half of `decode`: low_res_masks (K, C, 4h, 4w) logits of the (K,) chosen prompts, or of all."""
        return self.mask_decoder.masks(attended, chosen)

    def forward(self, pixels: Tensor, prompts: Prompts, multimask_output: bool) -> tuple[Tensor, Tensor]:
        """`decode(encode(pixels), prompts, multimask_output)`."""
        return self.decode(self.encode(pixels), prompts, multimask_output)
