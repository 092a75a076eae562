"""Pre-training an image encoder on pictures without labels: recipes, and the way from one to a file for `--init`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opensam.config import write_run_json
from opensam.data.pictures import PictureSource
from opensam.data.specs import open_pictures
from opensam.eval.facts import run_facts
from opensam.models import checkpoints
from opensam.models.mae import MaeConfig, MaskedAutoencoder
from opensam.models.recomputation import set_recomputation
from opensam.models.sam import Sam
from opensam.recipes.promptable import random_model, report_skipped
from opensam.train.log import Picture, Validation
from opensam.train.loop import Progress, Task, Trainer
from opensam.train.optim import OptimConfig
from opensam.train.pretrain import CropConfig, PretrainConfig, PretrainStep, draw_crops

MEASURED = 64  # crops
AT_ONCE = 8
NO_CLIPPING = 1e9
ENCODER = "image_encoder."


def vit_b() -> PretrainConfig:
    """ViT-B as MAE pre-trained it (arXiv 2111.06377, A.1): 4096 crops per step, 64 on each of 64 GPUs.

    250,000 steps are its 800 epochs of ImageNet, or 93 passes over SA-1B; its public files had twice as many
    (`--set steps=500000`). With fewer GPUs `--set accumulate=N` keeps the batch; with another batch,
    `optim.lr` is 1.5e-4 for every 256 crops. Not run here. Cost elsewhere: 18 hours on 8 A100 (DailyMAE, a fast
    implementation).
    """
    return PretrainConfig(
        model="sam_vit_b",
        batch_size=64,
        steps=250_000,
        devices=8,
        nodes=8,
        loader_threads=8,
        validate_every=5_000,
        optim=OptimConfig(
            lr=1.5e-4 * 4096 / 256,
            schedule="cosine",
            warmup=12_500,  # 40 epochs
            layer_decay=1.0,
            betas=(0.9, 0.95),
            weight_decay=0.05,
            clip=NO_CLIPPING,
        ),
    )


def vit_l() -> PretrainConfig:
    """ViT-L as MAE pre-trained it, otherwise as `vit_b`. Cost elsewhere: 42 hours on 64 V100 (facebookresearch/mae)."""
    return vit_b().with_overrides(["model=sam_vit_l"])


def vit_h() -> PretrainConfig:
    """ViT-H, otherwise as `vit_b`. Not run here; about twice `vit_l`.

    Patches are those of SAM, 16 pixels; MAE's own ViT-H has 14.
    """
    return vit_b().with_overrides(["model=sam_vit_h"])


def tiny() -> PretrainConfig:
    """The encoder of the embedded model by SparK: for a few thousand pictures, a small batch and a light decoder.

    Crops go down to a twentieth of a picture, because the model will meet pictures enlarged to 1024 pixels.
    """
    return PretrainConfig(
        model="opensam_tiny",
        batch_size=32,
        steps=10_000,
        crop=CropConfig(area=(0.05, 1.0), color=0.2),
        mae=MaeConfig(method="spark", mask_ratio=0.6, decoder_width=256, decoder_depth=2, decoder_heads=8),
        loader_threads=2,
        validate_every=500,
        optim=OptimConfig(
            lr=8e-4,
            schedule="cosine",
            warmup=300,
            layer_decay=1.0,
            betas=(0.9, 0.95),
            weight_decay=0.05,
            clip=5.0,
            ema=0.998,
        ),
    )


def tiny_simmim() -> PretrainConfig:
    """The same by SimMIM, which also trains the neck and needs no decoder."""
    return tiny().with_overrides(["mae.method=simmim"])


RECIPES: dict[str, Callable[[], PretrainConfig]] = {
    "tiny": tiny,
    "tiny_simmim": tiny_simmim,
    "vit_b": vit_b,
    "vit_l": vit_l,
    "vit_h": vit_h,
}


def masked_autoencoding(sam: Sam, source: PictureSource, config: PretrainConfig) -> Task:
    """The task of guessing hidden parts of pictures; what it releases is the image encoder of `sam` alone.

    Raises:
        ValueError: the method is not for this encoder, or the crops do not fit it.
    """
    step = PretrainStep(sam, config.mae)
    patch = step.autoencoder.patch_size
    if config.crop_size % patch or not 2 * patch <= config.crop_size <= config.image_size:
        raise ValueError(
            f"expected crop_size as a multiple of {patch} from {2 * patch} to image_size {config.image_size}, got "
            f"{config.crop_size}; set another"
        )
    set_recomputation(sam, config.recompute)

    def save(weights: dict[str, Tensor], path: Path) -> None:
        with torch.device("meta"):  # names and config only: the weights are those of the run
            model = Sam(sam.config, sam.name)
        encoder = {key.removeprefix(ENCODER): value for key, value in weights.items() if key.startswith(ENCODER)}
        model.image_encoder.load_state_dict(encoder, assign=True)
        checkpoints.save_encoder(model, path)

    return Task(
        step,
        step.autoencoder,
        lambda rng: draw_crops(source, config.batch_size, config.crop_size, config.crop, rng),
        save,
        validate=validator(step, source, config),
    )


def pretrain(
    config: PretrainConfig, data: Sequence[str], folder: Path, on_progress: Callable[[Progress], None]
) -> Path:
    """Run a recipe; where it was interrupted, the same call goes on.

    Args:
        config: of the run.
        data: pictures, see `opensam.data.specs.open_pictures`.
        folder: of the run; `skipped.csv` in it lists the pictures that could not be read, if there were any.
        on_progress: called every `log_every` steps by the first process.

    Returns:
        The averaged weights of the image encoder, for `--init` of `opensam train`.

    Raises:
        ValueError: no pictures, or settings that do not fit each other.
    """
    source = PictureSource(open_pictures(data))
    sam = random_model(config.model, config.image_size, config.seed)
    trainer = Trainer(masked_autoencoding(sam, source, config), config, folder)
    write_run_json(folder, config, data=list(data), **run_facts(str(trainer.fabric.device), config.seed))
    try:
        trainer.fit(on_progress)
    finally:
        report_skipped(source.skipped, folder / "skipped.csv")
    return folder / "model.safetensors"


def validator(step: PretrainStep, source: PictureSource, config: PretrainConfig) -> Callable[[nn.Module], Validation]:
    """A function that measures the autoencoder of `step` on the same crops each time, and shows what it guesses.

    The crops are of the pictures that it learns from, so a `loss` that falls is no proof of more than learning.
    """
    crops = draw_crops(source, MEASURED, config.crop_size, config.crop, np.random.default_rng(config.seed)).images

    def validate(model: nn.Module) -> Validation:
        if not isinstance(model, MaskedAutoencoder):
            raise TypeError(f"expected a MaskedAutoencoder, got {type(model).__name__}")
        losses, pictures = [], {}
        for number, images in enumerate(crops.split(AT_ONCE)):
            pixels = step.preprocess(images)
            loss, guess, hidden = model(pixels, torch.Generator(pixels.device).manual_seed(number))
            losses.append(float(loss))
            if number == 0:
                shown = side_by_side(step, pixels, guess.float(), hidden)
                pictures = {f"guesses/{i}": picture for i, picture in enumerate(shown)}
        loss = float(np.mean(losses))
        return Validation({"loss": loss}, -loss, pictures)

    return validate


def side_by_side(step: PretrainStep, pixels: Tensor, guess: Tensor, hidden: Tensor) -> list[Picture]:
    """Of every picture (S, 3 * S, 3): itself, what was visible of it, and the guess in the place of the rest.

    A method that guesses contrasts only gets mean and deviation of each square from the picture.

    Args:
        step: with the autoencoder, and the colours that were normalised.
        pixels: (B, 3, S, S), what it got.
        guess: (B, 3, S, S), what it said.
        hidden: (B, h, w) bool, what it did not see.
    """
    patch = step.autoencoder.patch_size
    if step.autoencoder.config.method != "simmim":
        variance, mean = torch.var_mean(F.pixel_unshuffle(pixels, patch), dim=1, keepdim=True)
        guess = F.pixel_shuffle(F.pixel_unshuffle(guess, patch) * variance.sqrt() + mean, patch)
    covered = hidden.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None]
    row = torch.cat([pixels, pixels.masked_fill(covered, 0), torch.where(covered, guess, pixels)], dim=3)
    levels = (row * step.get_buffer("pixel_std") + step.get_buffer("pixel_mean")).round().clamp(0, 255)
    return list(levels.byte().permute(0, 2, 3, 1).cpu().numpy())
