"""Distillation as a whole: recipes, a student made from its teacher, and the stages one after the other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from opensam.config import write_run_json
from opensam.data.mixture import Mixture, open_mixture
from opensam.data.pictures import PictureSource
from opensam.data.specs import open_pictures
from opensam.eval.facts import run_facts
from opensam.models import checkpoints, zoo
from opensam.models.recomputation import set_recomputation
from opensam.models.regularisation import set_regularisation
from opensam.models.sam import Sam
from opensam.recipes.promptable import draw_batch, report_skipped, sam_task
from opensam.recipes.validation import validator
from opensam.train.distill import (
    DistillConfig,
    EmbeddingCache,
    EmbeddingStep,
    MaskStep,
    make_lesson,
    point_batch,
)
from opensam.train.log import Validation
from opensam.train.loop import Progress, Task, Trainer, TrainingError
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig

MEASURED = 48  # held-out pictures


def mobile() -> list[DistillConfig]:
    """TinyViT from a teacher's embeddings, as MobileSAM learnt from ViT-H (arXiv 2306.14289).

    That is 8 passes over 110,000 pictures, 1 % of SA-1B, here in steps of 8; the mask decoder is the teacher's and
    stays as it is. Cost: less than a day on one GPU (paper), for ViT-H with 215 GiB of embeddings on disk. Learning
    rate and schedule are ours. Not run here.
    """
    return [
        DistillConfig(
            batch_size=8,
            steps=110_000,
            loader_threads=8,
            validate_every=5_000,
            optim=OptimConfig(lr=1e-3, schedule="cosine", warmup=1000, layer_decay=1.0, weight_decay=0.05, ema=0.9995),
        )
    ]


def edge() -> list[DistillConfig]:
    """`mobile`, then all of the student from the teacher's masks, with EdgeSAM's settings (arXiv 2312.06660).

    Those are 5 passes in steps of 16 pictures with up to 16 boxes or points each, and one click where the student
    differs. Unlike there, the click is not put to the teacher: its first answer counts in both rounds. The encoder is
    TinyViT, not RepViT. Data without masks: `--set prompts=points`. Not run here.
    """
    (embeddings,) = mobile()
    masks = DistillConfig(
        target="masks",
        batch_size=16,
        steps=35_000,
        masks_per_image=16,
        loader_threads=8,
        validate_every=2_000,
        segment=SegmentConfig(clicks=1, mask_rounds=0, mask_loss="cross_entropy", mask_weight=5.0, dice_weight=5.0),
        optim=OptimConfig(
            lr=1e-4, schedule="cosine", final_lr=1e-5, warmup=500, layer_decay=1.0, weight_decay=0.05, ema=0.9995
        ),
    )
    return [embeddings, masks]


def tiny_cpu() -> list[DistillConfig]:
    """`edge` over squares of 256 in minutes on a laptop: shows that it learns, and nothing more."""
    embeddings, masks = edge()
    shared = ["image_size=256", "loader_threads=1", "log_every=10", "save_every=60", "optim.ema=0.98"]
    return [
        embeddings.with_overrides([*shared, "steps=300", "optim.warmup=20", "validate_every=100"]),
        masks.with_overrides(
            [*shared, "steps=60", "batch_size=4", "masks_per_image=4", "optim.warmup=10", "validate_every=0"]
        ),
    ]


RECIPES: dict[str, Callable[[], list[DistillConfig]]] = {"mobile": mobile, "edge": edge, "tiny_cpu": tiny_cpu}


def new_student(teacher: Sam, config: DistillConfig) -> Sam:
    """A model with a new image encoder, random from the seed, and the teacher's prompt encoder and mask decoder.

    Raises:
        ValueError: the encoder's embeddings are not as wide as the teacher's.
    """
    encoder = zoo.find(config.model).config.image_encoder.model_copy(update={"image_size": config.image_size})
    wide = teacher.config.prompt_embed_dim
    if encoder.out_chans != wide:
        raise ValueError(
            f"expected a student with image embeddings of {wide} channels, which the teacher's mask decoder reads, got "
            f"{config.model} with {encoder.out_chans}; choose another model"
        )
    torch.manual_seed(config.seed)
    student = Sam(teacher.config.model_copy(update={"image_encoder": encoder}))
    student.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    student.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    return student


@dataclass(frozen=True)
class Lessons:
    """What a student learns from, or is measured on: pictures, and the same with masks where a stage needs them."""

    pictures: PictureSource
    masks: Mixture | None

    @property
    def skipped(self) -> dict[tuple[str, str], str]:
        """Why samples were passed over, by (data set, name)."""
        return self.pictures.skipped | (self.masks.skipped if self.masks else {})


def open_lessons(specs: Sequence[str], stages: Sequence[DistillConfig]) -> Lessons:
    """Open what all stages need, so that a later one does not fail after days.

    Raises:
        ValueError: no pictures, or none with masks where a stage needs them.
    """
    pictures = PictureSource(open_pictures(specs))
    if not any(_needs_masks(config) for config in stages):
        return Lessons(pictures, None)
    try:
        return Lessons(pictures, open_mixture(specs, stages[0].mixture_power))
    except ValueError as error:
        raise ValueError(f"{error}; or learn from pictures without masks: --set prompts=points") from error


def distillation(student: Sam, teacher: Sam, lessons: Lessons, config: DistillConfig, cache: EmbeddingCache) -> Task:
    """The task of a stage; what it releases is the student alone."""
    set_regularisation(student, drop_path=config.drop_path, decoder_dropout=config.decoder_dropout)
    set_recomputation(student, config.recompute)
    size, count = config.image_size, config.batch_size
    step: nn.Module
    if config.target == "embeddings":
        step = EmbeddingStep(student, teacher, cache, config.freeze_batch_norm)
    else:
        step = MaskStep(student, teacher, config)

    def draw(rng: np.random.Generator) -> Any:
        if config.target == "embeddings":
            return make_lesson(lessons.pictures, count, size, teacher.image_size, cache, rng)
        if lessons.masks is None or not _needs_masks(config):
            return point_batch(lessons.pictures, count, size, config.masks_per_image, rng)
        return draw_batch(lessons.masks, config, rng)

    return sam_task(step, student, draw, config.optim.layer_decay)


def embedding_validator(
    teacher: Sam, pictures: PictureSource, config: DistillConfig, cache: EmbeddingCache
) -> Callable[[nn.Module], Validation]:
    """A function that compares a student's embeddings of some pictures with the teacher's: `loss` and `cosine`."""

    def validate(model: nn.Module) -> Validation:
        if not isinstance(model, Sam):
            raise TypeError(f"expected a Sam, got {type(model).__name__}")
        step, rng, rows = EmbeddingStep(model, teacher, cache).eval(), np.random.default_rng(0), []
        for _ in range(MEASURED):
            # Drawn each time, because the first time puts the embedding into the cache.
            lesson = make_lesson(pictures, 1, config.image_size, teacher.image_size, cache, rng)
            loss, facts = step(lesson, torch.Generator(), torch.Generator())
            rows.append((float(loss), float(facts["cosine"])))
        loss, cosine = np.mean(rows, axis=0).tolist()
        return Validation({"loss": loss, "cosine": cosine}, cosine)

    return validate


def distill(
    stages: list[DistillConfig],
    teacher: Sam,
    data: Sequence[str],
    folder: Path,
    on_progress: Callable[[Progress], None],
    init: Path | None = None,
    val: Sequence[str] = (),
    cache_folder: Path | None = None,
    on_start: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the stages one after the other; each starts from the averaged weights of the one before.

    The same call resumes a run, see `promptable.train`.

    Args:
        stages: configs; stage n writes to `folder/stage-n`.
        teacher: on the CPU; moved to the device of the run, never changed and never saved.
        data: see `opensam.data.specs.open_pictures`; of a stage that needs masks, `opensam.data.mixture.open_mixture`.
        folder: of the run.
        on_progress: called every `log_every` steps by the first process.
        init: checkpoint whose image encoder the first stage starts from; None: random weights.
        val: held-out data in the same notation; none: no validation.
        cache_folder: of the teacher's embeddings; None: `folder/embeddings`.
        on_start: gets a sentence about them.

    Returns:
        The averaged weights of the last stage.

    Raises:
        ValueError: no data, no stage, weights that do not fit, or the folder holds a run with another teacher.
    """
    if not stages:
        raise ValueError("expected at least one stage, got none")
    lessons, held_out = open_lessons(data, stages), open_lessons(val, stages) if val else None
    cache = EmbeddingCache(cache_folder or folder / "embeddings", teacher)
    if any(config.target == "embeddings" for config in stages):
        on_start(_about(cache, len(lessons.pictures.pictures)))
    for number in range(1, len(stages) + 1):
        _check_same_teacher(folder / f"stage-{number}", cache.teacher)
    weights: Path | None = None
    for number, config in enumerate(stages, start=1):
        student = new_student(teacher, config)
        if weights is not None:
            checkpoints.load_into(student, checkpoints.read_state_dict(weights), weights)
        elif init is not None:
            checkpoints.load_encoder(student, init)
        stage_folder = folder / f"stage-{number}"
        facts: dict[str, Any] = {"data": list(data), "val": list(val), "init": str(init) if init else None}
        facts |= {"teacher": {"name": teacher.name, "fingerprint": cache.teacher}}
        write_run_json(stage_folder, config, **facts, **run_facts(str(student.device), config.seed))
        task = distillation(student, teacher, lessons, config, cache)
        if held_out is not None:
            task = replace(task, validate=_validator(held_out, teacher, config, cache))
        try:
            Trainer(task, config, stage_folder).fit(on_progress)
        finally:
            report_skipped(lessons.skipped, stage_folder / "skipped.csv")
        weights = stage_folder / "model.safetensors"
    return folder / f"stage-{len(stages)}" / "model.safetensors"


def _validator(
    held_out: Lessons, teacher: Sam, config: DistillConfig, cache: EmbeddingCache
) -> Callable[[nn.Module], Validation]:
    if held_out.masks is not None and _needs_masks(config):
        return validator(held_out.masks, config)
    return embedding_validator(teacher, held_out.pictures, config, cache)


def _check_same_teacher(folder: Path, fingerprint: str) -> None:
    """A stage goes on with the teacher that it began with. Raises TrainingError."""
    path = folder / "run.json"
    began = json.loads(path.read_text())["teacher"] if path.is_file() else {"fingerprint": fingerprint}
    if began["fingerprint"] != fingerprint:
        raise TrainingError(
            f"expected {folder} to hold a run with the same teacher, got one with {began['name']} of other weights; "
            "give that teacher to resume it, or choose another --out"
        )


def _about(cache: EmbeddingCache, pictures: int) -> str:
    each = 2 * int(np.prod(cache.shape)) / 2**20
    size = f"{each:.3g} MiB for each of {pictures} pictures, {each * pictures / 1024:.3g} GiB in all"
    return f"the teacher's embeddings are kept in {cache.folder}: {size}"


def _needs_masks(config: DistillConfig) -> bool:
    return config.target == "masks" and config.prompts == "masks"
