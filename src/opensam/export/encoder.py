"""The image encoder as an ONNX file: encoder.onnx."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.export.graph import Part, trace
from opensam.models.sam import Sam


class EncoderGraph(nn.Module):
    """From pictures in the input frame to image embeddings.

    The plain encoder: the fast ones cut their work into strips whose number would have to be fixed, and ONNX Runtime
    folds batch norms and fuses attention by itself.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.image_encoder, self.side = sam.image_encoder, sam.image_size
        self.mean, self.std = nn.Buffer(sam.get_buffer("pixel_mean")), nn.Buffer(sam.get_buffer("pixel_std"))

    def forward(self, image: Tensor) -> Tensor:
        """Encode.

        Args:
            image: (B, 3, h, w) RGB of 0-255, scaled so that its longest side is the model's square.

        Returns:
            image_embeddings (B, 256, S / 16, S / 16).
        """
        normalised = (image - self.mean) / self.std
        # A whole square too much and then cut: the exporter has no difference of a constant and a length.
        square = F.pad(normalised, (0, self.side, 0, self.side))[..., : self.side, : self.side]
        embeddings: Tensor = self.image_encoder(square)
        return embeddings


def encoder_part(sam: Sam) -> Part:
    """encoder.onnx, for any number of pictures of any shape."""
    height, width = sam.image_size - 1, sam.image_size - 2  # no length that the exporter could take for a constant
    example = {"image": torch.zeros(2, 3, height, width)}
    dynamic = {"image": {0: "B", 2: "h", 3: "w"}}
    return Part(
        lambda: trace(EncoderGraph(sam), example, ["image_embeddings"], dynamic), "image encoder, with normalisation"
    )
