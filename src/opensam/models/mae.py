"""Masked autoencoding: pre-train an image encoder on pictures alone, by guessing what was hidden from it.

Three methods behind one interface:

- "mae" (arXiv 2111.06377), for ViT: the blocks see the visible patches only, all at once, without windows and relative
  positions; a light decoder fills the holes.
- "spark" (arXiv 2301.03580), the same for TinyViT: hidden squares stay empty through all convolutions and windows. The
  decoder is that of "mae" on the last grid, where the paper has a convolutional one on several.
- "simmim" (arXiv 2111.09886), for TinyViT: hidden squares are painted over and the whole picture is encoded, neck
  included; one linear layer guesses pixels.

"mae" and "spark" guess the pixels of a patch less their mean and over their deviation, with a squared error; "simmim"
guesses the pixels with an absolute error.

Letters: B images, S side of the pictures, (h, w) grid of patches that are hidden or visible, p side of a patch, (H, W)
grid of features, D their width.
"""

import math
import sys
from typing import Annotated, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.config import Config
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.tiny_vit import TinyViT, on_grid
from opensam.models.vit import ImageEncoderViT

HIDDEN_SQUARE = 32  # pixels: what TinyViT's pictures are hidden in, as in SimMIM and SparK


class MaeConfig(Config):
    """One masked autoencoder.

    Attributes:
        method: see the module.
        mask_ratio: share of the patches that is hidden (0.75 in MAE; 0.6 in SimMIM and SparK).
        decoder_width, decoder_depth, decoder_heads: of the decoder; the defaults are MAE's. "simmim" has none.
    """

    method: Literal["mae", "simmim", "spark"] = "mae"
    mask_ratio: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.75
    decoder_width: Annotated[int, pydantic.Field(gt=0, multiple_of=4)] = 512
    decoder_depth: int = 8
    decoder_heads: int = 16


class MaskedAutoencoder(nn.Module):
    """An image encoder, what guesses pixels from its features, and the loss.

    The encoder is the caller's own, trained in place: `image_encoder.*` are its keys in a `Sam`. A ViT's position
    embedding that is still zero becomes a sine-cosine code, because without positions the visible patches would be a
    heap; it is trained on like everything else, as in SAM.

    Args:
        encoder: a ViT for "mae", a TinyViT for "simmim" and "spark".
        config: method and sizes.

    Raises:
        ValueError: the method is not for this encoder.
    """

    def __init__(self, encoder: nn.Module, config: MaeConfig) -> None:
        super().__init__()
        wanted = ImageEncoderViT if config.method == "mae" else TinyViT
        if not isinstance(encoder, wanted):
            raise ValueError(
                f"expected a {wanted.__name__} for masked autoencoding by {config.method}, got a "
                f"{type(encoder).__name__}; use mae for a ViT, spark or simmim for a TinyViT"
            )
        self.config = config
        self.image_encoder = encoder
        self.patch_size, cell = HIDDEN_SQUARE, EMBEDDING_STRIDE
        if isinstance(encoder, ImageEncoderViT):
            self.patch_size = cell = encoder.patch_embed.proj.kernel_size[0]
            if not encoder.pos_embed.any():
                encoder.pos_embed.data.copy_(sine_cosine(encoder.pos_embed[0]))
        out_chans, dim = encoder.get_parameter("neck.0.weight").shape[:2]
        if config.method == "simmim":
            self.paint = nn.Parameter(torch.zeros(3, 1, 1))  # the mean colour, to begin with
            self.decoder: nn.Module = PixelHead(out_chans, cell)
        else:
            self.decoder = Decoder(dim, cell, config)

    def forward(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Hide patches of every picture and guess them.

        Args:
            pixels: (B, 3, S, S) normalised, without padding. S is a multiple of the patch side (16 for the official
                ViTs, 32 for TinyViT), two patches or more, and for a ViT at most the side of the model's square.
            generator: decides what is hidden, and where in the square a ViT believes to see the picture: at the scale
                of positions that it will meet later, and everywhere.

        Returns:
            The loss, over hidden patches only; the guess (B, 3, S, S), in units of the loss; and what was hidden,
            (B, h, w) bool.

        Raises:
            ValueError: the pictures have another shape.
        """
        hidden = self._hide(pixels, generator)
        encoder, method = self.image_encoder, self.config.method
        if isinstance(encoder, ImageEncoderViT):
            features = visible_features(encoder, pixels, hidden, self._draw_origin(hidden, generator))
            guess: Tensor = self.decoder(features, hidden)
        elif method == "spark":
            guess = self.decoder(encoder.features(pixels, hidden).permute(0, 2, 3, 1), hidden)
        else:
            painted = torch.where(on_grid(hidden, pixels.permute(0, 2, 3, 1))[:, None], self.paint, pixels)
            guess = self.decoder(encoder(painted).permute(0, 2, 3, 1))
        return self._loss(guess.float(), pixels.float(), hidden), guess, hidden

    def _hide(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """(B, h, w): the same number of patches of every picture, at random places."""
        b, channels, height, width = pixels.shape
        side, most = self.patch_size, self._positions() * self.patch_size
        if channels != 3 or height != width or height % side or not 2 * side <= height <= most:
            upwards = f" up to {most}" if isinstance(self.image_encoder, ImageEncoderViT) else ""
            raise ValueError(
                f"expected pixels (B, 3, S, S) with S a multiple of {side} from {2 * side}{upwards}, got "
                f"{tuple(pixels.shape)}; crop the pictures"
            )
        cells = (height // side) ** 2
        count = min(max(1, round(self.config.mask_ratio * cells)), cells - 1)
        ranks = torch.rand(b, cells, generator=generator, device=generator.device).argsort(dim=1).argsort(dim=1)
        return (ranks < count).view(b, height // side, width // side).to(pixels.device)

    def _positions(self) -> int:
        """Side of the grid of positions that the encoder knows; a TinyViT needs none."""
        encoder = self.image_encoder
        return encoder.pos_embed.shape[1] if isinstance(encoder, ImageEncoderViT) else sys.maxsize

    def _draw_origin(self, hidden: Tensor, generator: torch.Generator) -> tuple[int, int]:
        """The (row, column) of the first patch in the grid of positions."""
        places = self._positions() - hidden.shape[1] + 1
        row, column = torch.randint(places, (2,), generator=generator, device=generator.device).tolist()
        return row, column

    def _loss(self, guess: Tensor, pixels: Tensor, hidden: Tensor) -> Tensor:
        guess = F.pixel_unshuffle(guess, self.patch_size)  # (B, 3 * p * p, h, w)
        target = F.pixel_unshuffle(pixels, self.patch_size)
        if self.config.method == "simmim":
            errors = (guess - target).abs()
        else:
            variance, mean = torch.var_mean(target, dim=1, keepdim=True)
            errors = (guess - (target - mean) / (variance + 1e-6).sqrt()).square()
        return errors.mean(dim=1)[hidden].mean()


def visible_features(
    encoder: ImageEncoderViT, pixels: Tensor, hidden: Tensor, origin: tuple[int, int] = (0, 0)
) -> Tensor:
    """The visible patches through the blocks of a ViT, each attending to all others, without relative positions.

    Args:
        encoder: its blocks; the neck has no part in it.
        pixels: (B, 3, S, S).
        hidden: (B, h, w) bool, as many True in every picture.
        origin: (row, column) of the first patch in the encoder's grid of positions.

    Returns:
        (B, h, w, D), zero where hidden.
    """
    (row, column), (h, w) = origin, hidden.shape[1:]
    x = encoder.patch_embed(pixels) + encoder.pos_embed[:, row : row + h, column : column + w]
    tokens = x[~hidden].view(len(x), -1, x.shape[-1])
    for block in encoder.blocks:
        tokens = encoder.run(block, tokens)
    return torch.zeros_like(x, dtype=tokens.dtype).masked_scatter(~hidden[..., None], tokens)


def sine_cosine(like: Tensor) -> Tensor:
    """A position code of the shape (H, W, D) and kind of a tensor: sines and cosines of the row, then of the column.

    Wave lengths go from 2 pi to 10000 times that, as in MAE. D is a multiple of 4.
    """
    h, w, dim = like.shape
    waves = torch.exp(torch.arange(dim // 4, device=like.device) * (-math.log(10_000) / (dim // 4)))
    rows, columns = (torch.arange(side, device=like.device)[:, None] * waves for side in (h, w))
    row_code, column_code = (torch.cat([angle.sin(), angle.cos()], dim=1) for angle in (rows, columns))
    code = [row_code[:, None].expand(h, w, -1), column_code[None].expand(h, w, -1)]
    return torch.cat(code, dim=2).to(like.dtype)


class PixelHead(nn.Module):
    """One linear layer from the features of a cell to its pixels."""

    def __init__(self, dim: int, cell: int) -> None:
        super().__init__()
        self.cell = cell
        self.linear = nn.Linear(dim, 3 * cell * cell)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, 3, H * cell, W * cell)."""
        return F.pixel_shuffle(self.linear(features).permute(0, 3, 1, 2), self.cell)


class Decoder(nn.Module):
    """A light transformer: a learned token in every hidden place, sine-cosine positions, blocks, pixels."""

    def __init__(self, dim: int, cell: int, config: MaeConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.norm_features = nn.LayerNorm(dim, eps=1e-6)  # the encoders themselves end without one
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.decoder_heads,
                4 * width,
                dropout=0.0,
                activation=F.gelu,
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = PixelHead(width, cell)

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Features (B, H, W, dim), of any value where `hidden` (B, h, w) -> pixels (B, 3, S, S)."""
        x = self.embed(self.norm_features(features))
        x = torch.where(on_grid(hidden, features)[..., None], self.mask_token.to(x.dtype), x)
        tokens = (x + sine_cosine(x[0])).flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).view_as(x))
