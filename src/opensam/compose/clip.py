"""CLIP from a folder on disk, by way of transformers, as a `TextImageEncoder`.

Nothing is ever downloaded. The preparation of pictures is written here, because that of transformers asks for
torchvision. Letters: T texts, N pictures, D numbers of an embedding.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from opensam.image import Rgb

Value = TypeVar("Value")

# The colours that all CLIP models of OpenAI were trained with, RGB in [0, 1].
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
BATCH = 16
STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_OLD_END = 2  # what early configurations say that the last token is; transformers then takes the highest number


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes what CLIP looks at: scaled, cut to its middle, its colours normalised.

    Attributes:
        size: of the shorter side after scaling, or (H, W).
        crop_size: (H, W) of the middle.
        resample: Pillow's number of the filter; 3: bicubic.
        mean: of the colours, RGB in [0, 1].
        std: their standard deviation.
    """

    size: int | tuple[int, int]
    crop_size: tuple[int, int]
    resample: int = 3
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __call__(self, image: Rgb) -> NDArray[np.float32]:
        """(3, *crop_size) of a picture (H, W, 3)."""
        height, width = self._scaled(image.shape[0], image.shape[1])
        scaled = Image.fromarray(image).resize((width, height), Image.Resampling(self.resample))
        top, left = (height - self.crop_size[0]) // 2, (width - self.crop_size[1]) // 2
        middle = scaled.crop((left, top, left + self.crop_size[1], top + self.crop_size[0]))
        colours = np.asarray(middle, dtype=np.float32) / 255
        normalised = (colours - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.size, tuple):
            return self.size
        longer = int(self.size * max(height, width) / min(height, width))  # rounded down, as in transformers
        return (self.size, longer) if height <= width else (longer, self.size)


class ClipEncoder:
    """A `CLIPModel` of transformers and its tokenizer as a `TextImageEncoder`.

    Args:
        model: in eval mode, on the device that shall do the work.
        tokenizer: of the same model.
        prepare: of the same model.
    """

    def __init__(self, model: Any, tokenizer: Any, prepare: Preparation) -> None:
        self.model, self.tokenizer, self.prepare = model, tokenizer, prepare

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, D) of length 1 each; see `TextImageEncoder`."""
        return self._in_batches(texts, self._texts)

    @torch.no_grad()
    def embed_images(self, images: Sequence[Rgb]) -> Tensor:
        """(N, D) of length 1 each; see `TextImageEncoder`."""
        return self._in_batches(images, self._images)

    def _in_batches(self, values: Sequence[Value], embed: Callable[[Sequence[Value]], Tensor]) -> Tensor:
        parts = [embed(values[start : start + BATCH]) for start in range(0, len(values), BATCH)]
        return functional.normalize(torch.cat(parts), dim=-1) if parts else torch.zeros(0, self.model.projection_dim)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        # Tokens look back only, so padding behind the last one changes nothing and needs no mask.
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt")["input_ids"]
        longest = self.model.config.text_config.max_position_embeddings
        if tokens.shape[1] > longest:
            worst = max(texts, key=len)
            raise ValueError(f"expected texts of at most {longest} tokens, got {tokens.shape[1]} in {worst[:60]!r}...")
        pooled = self.model.text_model(input_ids=tokens.to(self.model.device)).pooler_output
        embeddings: Tensor = self.model.text_projection(pooled)
        return embeddings

    def _images(self, images: Sequence[Rgb]) -> Tensor:
        pixels = torch.from_numpy(np.stack([self.prepare(image) for image in images])).to(self.model.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        embeddings: Tensor = self.model.visual_projection(pooled)
        return embeddings


def load_clip(folder: Path, device: str = "cpu") -> ClipEncoder:
    """CLIP as `save_pretrained` of transformers wrote it: weights (safetensors), configuration, tokenizer.

    Raises:
        ValueError: no such folder (the name of a model on a hub is none), a file is missing or damaged, weights are
            missing, or the parts belong to different models.
    """
    check_folder(folder)
    config = _read(folder / "config.json")
    if config.get("model_type") != "clip":
        raise ValueError(f"expected a CLIP model in {folder}, got model_type {config.get('model_type')!r}")
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    try:
        model: Any = CLIPModel(CLIPConfig.from_dict(config))
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        found = {name: tensor for file in _weights(folder) for name, tensor in load_file(file).items()}
        missing = sorted(model.load_state_dict(found, strict=False).missing_keys)
    except (OSError, RuntimeError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"cannot load CLIP from {folder}: {' '.join(str(error).split())}") from error
    if missing:  # else they would stay random
        raise ValueError(f"expected all weights of CLIP in {folder}, got none for {', '.join(missing[:3])}")
    text = model.config.text_config
    if len(tokenizer) > text.vocab_size or text.eos_token_id not in (_OLD_END, tokenizer.eos_token_id):
        raise ValueError(
            f"expected the tokenizer of the model in {folder}, got one of {len(tokenizer)} tokens that ends texts with "
            f"token {tokenizer.eos_token_id}, for a model of {text.vocab_size} that looks for {text.eos_token_id}"
        )
    return ClipEncoder(model.eval().to(device), tokenizer, read_preparation(folder))


def check_folder(folder: Path) -> None:
    """Hear of a wrong path before anything is loaded. Raises ValueError."""
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"expected a folder with a CLIP model (config.json, model.safetensors, tokenizer.json), got {folder}; "
            "nothing is downloaded here: fetch one with `hf download openai/clip-vit-large-patch14 config.json "
            "model.safetensors preprocessor_config.json tokenizer.json tokenizer_config.json --local-dir FOLDER`"
        )
    _weights(folder)
    # Without them transformers makes an empty tokenizer.
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        raise ValueError(f"expected tokenizer.json, or vocab.json and merges.txt, in {folder}, got none")


def _weights(folder: Path) -> list[Path]:
    """One file, or all parts of it."""
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))
    if not files:
        raise ValueError(
            f"expected model.safetensors in {folder}, got none; other files of weights may run code, and "
            "docs/guides/evaluation-text.md shows how to convert them"
        )
    return files


def read_preparation(folder: Path) -> Preparation:
    """How a model wants its pictures: as its folder says, else in the way of OpenAI at the size of its encoder.

    Raises:
        ValueError: a file is damaged, or asks for something that CLIP does not do.
    """
    own, joint = folder / "preprocessor_config.json", folder / "processor_config.json"
    said = _read(own) if own.is_file() else _read(joint).get("image_processor", {}) if joint.is_file() else {}
    side = _read(folder / "config.json").get("vision_config", {}).get("image_size", 224)
    if left_out := [step for step in STEPS if not said.get(step, True)]:
        raise ValueError(f"expected the preparation of CLIP in {folder}, got one without {', '.join(left_out)}")
    try:
        size = said.get("size", side)
        crop_size = _pair(said.get("crop_size", side))
        return Preparation(
            size=int(size.get("shortest_edge", 0)) or _pair(size) if isinstance(size, dict) else int(size),
            crop_size=crop_size,
            resample=int(said.get("resample", 3)),
            mean=_three(said.get("image_mean", MEAN)),
            std=_three(said.get("image_std", STD)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected the preparation of CLIP's pictures in {folder}, got {said}") from error


def _pair(size: Any) -> tuple[int, int]:
    return (int(size["height"]), int(size["width"])) if isinstance(size, dict) else (int(size), int(size))


def _three(values: Any) -> tuple[float, ...]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object in {path}, got {type(content).__name__}")
    return content
