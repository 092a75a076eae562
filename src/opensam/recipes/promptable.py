"""Promptable training as a whole: data and a model to a task, and the stages of a recipe one after the other."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opensam import distributed
from opensam.config import write_run_json
from opensam.data.mixture import Mixture, open_mixture
from opensam.data.samples import Batch, make_batch
from opensam.eval.facts import run_facts
from opensam.files import replacing
from opensam.models import checkpoints, zoo
from opensam.models.depth import encoder_layers, layer_of
from opensam.models.recomputation import set_recomputation
from opensam.models.regularisation import set_regularisation
from opensam.models.sam import Sam
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.recipes.validation import validator
from opensam.train.loop import Progress, Task, Trainer
from opensam.train.segment import SegmentStep, TrainConfig
from opensam.train.start import order_positions


def new_model(config: TrainConfig) -> Sam:
    """The model of a config with random weights, drawn from its seed."""
    sam = random_model(config.model, config.image_size, config.seed, config.encoder)
    if config.ordered_positions:
        order_positions(sam)
    return sam


def random_model(name: str, image_size: int, seed: int, sizes: ViTConfig | TinyViTConfig | None = None) -> Sam:
    """A model of the zoo's architecture `name` over squares of `image_size`, with random weights.

    `sizes` of the image encoder take the place of the zoo's.
    """
    architecture = zoo.find(name).config
    encoder = (sizes or architecture.image_encoder).model_copy(update={"image_size": image_size})
    torch.manual_seed(seed)
    return Sam(architecture.model_copy(update={"image_encoder": encoder}))


def start_from(sam: Sam, path: Path) -> str:
    """Load the weights that a run begins with, and say what they are.

    Args:
        sam: changed in place.
        path: of a whole model, which must fit exactly; or of an image encoder alone, as `opensam pretrain` and public
            masked autoencoders leave it (see `checkpoints.load_encoder`); or the folder of a run of `opensam pretrain`.

    Returns:
        A sentence: what was loaded, and what keeps its random weights.

    Raises:
        ValueError: the file cannot be read, or has other weights.
    """
    if (path / "run.json").is_file():
        path = path / "model.safetensors"
    weights = checkpoints.read_state_dict(path)
    if any(key.startswith("mask_decoder.") for key in weights):
        checkpoints.load_into(sam, weights, path)
        return f"starts from the whole model in {path}"
    kept = checkpoints.load_encoder(sam, path).kept
    # A new model's relative positions are zero and its neck is random, as a masked autoencoder has neither.
    neck = "its neck, " if any(".neck." in key for key in kept) else ""
    return f"starts from the image encoder in {path}; {neck}prompt encoder and mask decoder start from random weights"


def promptable(sam: Sam, mixture: Mixture, config: TrainConfig) -> Task:
    """The task of promptable segmentation on a mixture of data sets."""
    set_regularisation(sam, drop_path=config.drop_path, decoder_dropout=config.decoder_dropout)
    set_recomputation(sam, config.recompute)
    step = SegmentStep(sam, config.segment, config.freeze_batch_norm)
    return sam_task(step, sam, lambda rng: draw_batch(mixture, config, rng), config.optim.layer_decay)


def draw_batch(mixture: Mixture, config: TrainConfig, rng: np.random.Generator) -> Batch:
    """A batch of the sizes of a config."""
    crop_size = config.crop_size or config.image_size
    sizes = (config.batch_size, config.image_size, crop_size, config.masks_per_image)
    return make_batch(mixture, *sizes, config.augment, rng)


def sam_task(step: nn.Module, sam: Sam, draw: Callable[[np.random.Generator], Any], layer_decay: float) -> Task:
    """A task whose model is a whole SAM: `layer_decay` lowers the rate of the early layers of its image encoder."""
    encoder = sam.config.image_encoder

    def save(weights: dict[str, Tensor], path: Path) -> None:
        averaged = Sam(sam.config, sam.name)
        averaged.load_state_dict(weights)
        checkpoints.save(averaged, path)

    def rate_factor(name: str) -> float:
        return layer_decay ** (encoder_layers(encoder) - 1 - layer_of(name, encoder))

    return Task(step, sam, draw, save, rate_factor=rate_factor)


def train(
    stages: list[TrainConfig],
    data: Sequence[str],
    folder: Path,
    on_progress: Callable[[Progress], None],
    init: Path | None = None,
    val: Sequence[str] = (),
    on_start: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the stages one after the other; each starts from the averaged weights of the one before.

    A stage that has finished is not repeated and one that was interrupted goes on where its last checkpoint stands, so
    the same call resumes a run.

    Args:
        stages: configs; stage n writes to `folder/stage-n`.
        data: what to train on, see `opensam.data.mixture.open_mixture`.
        folder: of the run.
        on_progress: called every `log_every` steps by the first process.
        init: what the first stage starts from, see `start_from`; None: random weights.
        val: held-out data in the same notation; none: no validation.
        on_start: gets the sentence of `start_from` about `init`, unless the run goes on from a checkpoint.

    Returns:
        The averaged weights of the last stage.

    Raises:
        ValueError: no data, or weights that do not fit.
    """
    mixture = open_mixture(data, stages[0].mixture_power, stages[0].data_share)
    held_out = open_mixture(val, stages[0].mixture_power) if val else None
    weights = init
    for number, config in enumerate(stages, start=1):
        sam = new_model(config)
        stage_folder = folder / f"stage-{number}"
        if weights is not None:
            sentence = start_from(sam, weights)
            if weights == init and not (stage_folder / "last.pt").exists():
                on_start(sentence)
        facts = {"data": list(data), "val": list(val), "init": str(weights) if weights else None}
        write_run_json(stage_folder, config, **facts, **run_facts(str(sam.device), config.seed))
        task = promptable(sam, mixture, config)
        if held_out is not None:
            task = replace(task, validate=validator(held_out, config))
        try:
            Trainer(task, config, stage_folder).fit(on_progress)
        finally:
            report_skipped(mixture.skipped, stage_folder / "skipped.csv")
        weights = stage_folder / "model.safetensors"
    if weights is None:
        raise ValueError("expected at least one stage, got none")
    return weights


def report_skipped(skipped: Mapping[tuple[str, str], str], path: Path) -> None:
    """List the samples (data set, name) that could not be used and why, if there were any.

    Each of several processes has a list of its own: all but the first add their number to the name of the file.
    """
    if not skipped:
        return
    if rank := distributed.rank():
        path = path.with_stem(f"{path.stem}-{rank}")
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        rows = ((dataset, name, reason) for (dataset, name), reason in sorted(skipped.items()))
        csv.writer(file).writerows([("dataset", "name", "reason"), *rows])
