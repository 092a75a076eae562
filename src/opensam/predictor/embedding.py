"""An image embedding as a value: hold it, send it, save it, and predict from it whenever you like."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from opensam.files import replacing
from opensam.geometry import Resize
from opensam.models.sam import Sam

_FORMAT = "opensam.ImageEmbedding"


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What a model saw in one picture.

    Attributes:
        embeddings: (1, 256, h, w) float.
        resize: how the picture was brought into the model's square; holds its original size.
        model_name: of the model that made it, and the only one that understands it; see `model_name`.

    Raises:
        ValueError: the embeddings are not of one picture.
    """

    embeddings: Tensor
    resize: Resize
    model_name: str

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 4 or len(self.embeddings) != 1 or not self.embeddings.is_floating_point():
            raise ValueError(
                "expected the embeddings of one picture, float of shape (1, 256, h, w), "
                f"got {self.embeddings.dtype} of shape {tuple(self.embeddings.shape)}"
            )

    def to(self, device: torch.device | str) -> Self:
        """The same value on another device."""
        return replace(self, embeddings=self.embeddings.to(device))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file that appears complete or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        metadata = {
            "format": _FORMAT,
            "model_name": self.model_name,
            "original_size": json.dumps(self.resize.original_size),
            "image_size": json.dumps(self.resize.image_size),
        }
        try:
            with replacing(path) as temporary:
                save_file({"embeddings": self.embeddings.contiguous()}, temporary, metadata)
        except safetensors.SafetensorError as error:  # its way to say that a folder is missing or full
            raise OSError(f"cannot write the image embedding {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is damaged or was not written by `save`.
        """
        try:
            with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise ValueError("it is a safetensors file of something else")
                height, width = json.loads(metadata["original_size"])
                resize = Resize((height, width), json.loads(metadata["image_size"]))
                return cls(file.get_tensor("embeddings"), resize, metadata["model_name"])
        except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"expected an image embedding written by ImageEmbedding.save, got {path}: {error}; "
                "embed the picture again"
            ) from error


def model_name(sam: Sam) -> str:
    """A name for a model as embeddings see it, such as `tiny_vit-1024-3f2a91c07b`.

    It holds the kind of the image encoder, the side of the square, and a digest of a few weights of every
    layer: training on, or loading another file, gives another name. In half precision the name is the same.
    """
    # Rounded to half precision, in which models are stored.
    samples = [value.detach().flatten()[:4].half() for value in sam.image_encoder.state_dict().values()]
    digest = hashlib.sha256(torch.cat(samples).cpu().numpy().tobytes()).hexdigest()
    return f"{sam.config.image_encoder.kind}-{sam.image_size}-{digest[:10]}"
