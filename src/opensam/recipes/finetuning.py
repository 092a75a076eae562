"""Fine-tuning: a trained model, some pictures with masks, and a better model for pictures like these.

What is trained (`FinetuneConfig.trainable`):

- "decoder": the mask decoder. The image encoder sees each picture once, so this is quick even on a CPU.
- "lora": thin matrices beside the attention weights of the image encoder, and the mask decoder. For pictures that the
  encoder has never seen the like of. Of 18 ways to fine-tune, compared over 17 sets of medical pictures, adapters in
  encoder and decoder came out best (arXiv 2404.09957).
- "all": everything; for thousands of pictures and a GPU with much memory.

The prompt encoder stays as it is in the first two, as in MedSAM (arXiv 2304.12306): a click means the same in every
picture, and what it has learned about places and earlier masks a few pictures can only spoil.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from opensam.config import check_same_config, write_run_json
from opensam.data.dataset import Source
from opensam.data.mixture import Mixture, checked
from opensam.data.samples import AugmentConfig
from opensam.data.selection import Subset, evenly, hold_out, keep_categories, usable, write_split
from opensam.data.specs import open_datasets, parse
from opensam.eval.facts import run_facts
from opensam.files import replacing
from opensam.models import checkpoints, zoo
from opensam.models.lora import add_lora, merge_lora
from opensam.models.sam import Sam
from opensam.recipes import before_after
from opensam.recipes.before_after import (
    HeldOut,
    Shown,
    answers,
    choose,
    measure,
    read_before,
    write_before,
    write_report,
)
from opensam.recipes.promptable import promptable, report_skipped
from opensam.train.frozen import EmbeddingMemory, FrozenEncoderStep
from opensam.train.log import Validation
from opensam.train.loop import Progress, Task, Trainer
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig, TrainConfig

Trainable = Literal["decoder", "lora", "all"]

GIGABYTE = 1e9
STEPS = 40  # times the root of the number of pictures
MOST_STEPS = 4000
TRAINING = "training"  # the folder of the trainer in that of the run


class FinetuneConfig(TrainConfig):
    """One run of fine-tuning.

    Attributes:
        init: the weights that it starts from, as the user named them.
        trainable: see the module.
        rank: inner width of the adapters of "lora".
        alpha: their weight times the rank.
        val_share: of the pictures, held out if no others are given for that.
        scored: most held-out pictures in the table.
        validated: most of them in the validations while the run goes on.
        scored_masks: most masks of each.
        embedding_memory: gigabytes of embeddings that "decoder" keeps.
    """

    init: str = ""
    trainable: Trainable = "decoder"
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=8.0, gt=0)
    val_share: float = Field(default=0.1, gt=0, lt=1)
    scored: int = Field(default=60, ge=1)
    validated: int = Field(default=12, ge=1)
    scored_masks: int = Field(default=4, ge=1)
    embedding_memory: float = Field(default=4.0, ge=0)


def finetuning(sam: Sam, pictures: int, trainable: Trainable) -> FinetuneConfig:
    """The settings for a model and a number of pictures, from 30 to some thousands.

    Steps grow with the root of the number of pictures: 30 are seen 30 times each, 5000 twice. The loss is that of
    MedSAM, cross-entropy and dice in equal parts, and so is the learning rate of 1e-4; where all weights move, a lower
    one that falls towards the first layers keeps what they know. Prompts are those that the result is measured with
    and that people use: a box with one answer, or a click and up to four corrections.
    """
    steps = min(MOST_STEPS, max(100, round(STEPS * math.sqrt(pictures))))
    frozen = trainable == "decoder"
    return FinetuneConfig(
        trainable=trainable,
        model=sam.name,
        image_size=sam.image_size,
        # One by one, because the rounds of 4 prompts take 2 GB of memory over a square of 1024.
        batch_size=1,
        accumulate=4,
        masks_per_image=4,
        steps=steps,
        log_every=max(1, steps // 50),
        save_every=60,
        validate_every=max(1, steps // 8),
        patience=3,
        drop_path=0.0,
        decoder_dropout=0.0,
        freeze_batch_norm=True,
        segment=SegmentConfig(
            single_mask_boxes=1.0,
            box_noise=0.05,
            clicks=4,
            random_clicks=True,
            mask_rounds=0,
            mask_loss="cross_entropy",
            mask_weight=1.0,
        ),
        # A mirror image doubles the embeddings to keep; random scales would make each one new.
        augment=AugmentConfig(flip=0.5, max_area=1.0)
        if frozen
        else AugmentConfig(scale=(0.75, 1.33), flip=0.5, color=0.2, max_area=1.0),
        optim=OptimConfig(
            lr=2e-5 if trainable == "all" else 1e-4,
            schedule="cosine",
            warmup=min(50, steps // 10),
            layer_decay=0.8 if trainable == "all" else 1.0,
            weight_decay=0.01,
            ema=0.98,
        ),
    )


@dataclass(frozen=True)
class Plan:
    """A run that can begin.

    Attributes:
        sam: the model, on the device that does the work; training changes it.
        config: the settings.
        folder: of the run.
        train: the pictures to learn from.
        held_out: those to measure on.
        factors: of the data sets, see `Mixture`.
        skipped: why pictures are not used, by (data set, name).
    """

    sam: Sam
    config: FinetuneConfig
    folder: Path
    train: list[Subset]
    held_out: list[Subset]
    factors: dict[str, float]
    skipped: dict[tuple[str, str], str]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: files, mean IoU by prompt (`before_after.SCORES`), and pictures to look at."""

    weights: Path
    official: Path
    report: Path
    before: dict[str, float]
    after: dict[str, float]
    shown: list[Shown]

    @property
    def is_better(self) -> bool:
        """Whether the mean over all kinds of prompts rose."""
        return sum(self.after.values()) > sum(self.before.values())


def plan(
    sam: Sam,
    data: Sequence[str],
    folder: Path,
    *,
    val: Sequence[str] = (),
    categories: Sequence[str] = (),
    trainable: Trainable = "decoder",
    overrides: Sequence[str] = (),
) -> Plan:
    """Find the pictures, split them, and settle the configuration; the model is not changed yet.

    Args:
        sam: see `opensam.load`.
        data: see `opensam.data.specs`.
        folder: of the run.
        val: held-out data; none: `val_share` of `data`.
        categories: names of COCO categories; others are left out.
        trainable: see the module.
        overrides: changes of the config, such as "steps=100".

    Raises:
        ValueError: no data, no masks, a single picture, no such category or setting.
    """
    config = finetuning(sam, 1, trainable).with_overrides(list(overrides))
    learned, outside = (
        open_datasets([_only(categories, text, folder / "categories" / f"{part}-{n}") for n, text in enumerate(texts)])
        for part, texts in (("train", data), ("val", val))
    )
    skipped: dict[tuple[str, str], str] = {}
    train, held_out = (
        [usable(dataset, sam.image_size, config.augment.min_cells, skipped) for dataset, _ in opened]
        for opened in (learned, outside)
    )
    if not val:
        train, held_out = hold_out(train, config.val_share)
    for subsets, what in ((train, "pictures"), (held_out, "held-out pictures")):
        if not any(map(len, subsets)):
            raise ValueError(f"expected {what} with masks, got none; {next(iter(skipped.values()), '')}")
    config = finetuning(sam, sum(map(len, train)), trainable).with_overrides(list(overrides))
    factors = {dataset.name: factor for dataset, factor in learned}
    train, held_out = ([subset for subset in subsets if len(subset)] for subsets in (train, held_out))
    return Plan(sam, config, folder, train, held_out, factors, skipped)


def run(task: Plan, on_progress: Callable[[Progress], None], tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Measure, train, measure again; the same call goes on with a run that was interrupted.

    Args:
        task: see `plan`.
        on_progress: called every `log_every` steps.
        tell: gets a sentence where something begins that takes a while.

    Raises:
        ValueError: the folder holds another run, or no held-out picture can be read.
        TrainingError: see `Trainer`.
    """
    config, folder = task.config, task.folder
    earlier = folder / "run.json"
    if earlier.exists():
        check_same_config(folder, json.loads(earlier.read_text())["config"], config)
    folder.mkdir(parents=True, exist_ok=True)
    write_split(folder / "split.csv", task.train, task.held_out)
    facts: dict[str, Any] = run_facts(str(task.sam.device), config.seed)
    write_run_json(folder, config, **facts)
    pictures = choose(read_held_out(task), config.scored_masks)
    shown = [pictures[i] for i in evenly(len(pictures), before_after.SHOWN)]
    cache = EmbeddingMemory(config.embedding_memory * GIGABYTE / 2)
    if not (folder / "before.json").exists():
        tell(f"measuring it on {len(pictures)} held-out pictures")
        scores = measure(task.sam.eval(), pictures, cache)
        write_before(folder / "before.json", scores, answers(task.sam, shown, cache))
    before, answers_before = read_before(folder / "before.json")
    tell(f"training for up to {config.steps} steps")
    tuned = _train(task, pictures, cache, on_progress)
    tell("measuring it again")
    cache = cache if config.trainable == "decoder" else EmbeddingMemory(cache.limit)
    after, answers_after = measure(tuned, pictures, cache), answers(tuned, shown, cache)
    weights, official = folder / "finetuned.safetensors", folder / "finetuned.pth"
    checkpoints.save(tuned, weights)
    save_official(tuned, official)
    facts |= {"init": config.init, "trainable": config.trainable, "pictures": sum(map(len, task.train))}
    facts |= {"held_out": len(pictures), "held_out_masks": sum(len(picture.masks) for picture in pictures)}
    report, _ = write_report(folder, before, after, facts)
    write_run_json(folder, config, **facts, before=before, after=after)
    looks = [Shown.of(*each) for each in zip(shown, answers_before, answers_after, strict=True)]
    return Outcome(weights, official, report, before, after, looks)


def _train(task: Plan, pictures: list[HeldOut], cache: EmbeddingMemory, on_progress: Callable[[Progress], None]) -> Sam:
    """The model that was best on some of the held-out pictures, named after the run."""
    config, device = task.config, task.sam.device
    set_trainable(task.sam, config)
    mixture = Mixture(task.train, config.mixture_power, task.factors)
    mixture.skipped = task.skipped
    validated = [pictures[i] for i in evenly(len(pictures), config.validated)]
    prepared = make_task(task.sam, mixture, config, validated, cache)
    try:
        Trainer(prepared, config, task.folder / TRAINING).fit(on_progress)
    finally:
        report_skipped(mixture.skipped, task.folder / "skipped.csv")
    tuned = zoo.load(checkpoint=task.folder / TRAINING / "best.safetensors", device=device)
    tuned.name = task.folder.resolve().name  # embeddings of the old encoder are not those of the new one
    return tuned


def read_held_out(task: Plan) -> list[Source]:
    """Up to `scored` held-out pictures, evenly spaced, all of which can be decoded.

    Raises:
        ValueError: none can.
    """
    everything = [(subset, i) for subset in task.held_out for i in range(len(subset))]
    sources = []
    for place in evenly(len(everything), task.config.scored):
        subset, i = everything[place]
        try:
            source = checked(subset.read(i))
        except (ValueError, OSError) as error:
            task.skipped[subset.name, subset.key(i)] = reason = str(error)
            continue
        # Without the decoded picture: a hundred of them need not stay in memory.
        sources.append(replace(source))
    if not sources:
        raise ValueError(f"expected held-out pictures that can be read, got none; {reason}")
    return sources


def set_trainable(sam: Sam, config: FinetuneConfig) -> None:
    """Choose what gradients change, and add adapters where the config asks for them."""
    sam.requires_grad_(config.trainable == "all")
    if config.trainable == "lora":
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            add_lora(sam.image_encoder, config.rank, config.alpha)
    sam.mask_decoder.requires_grad_()


def make_task(
    sam: Sam, mixture: Mixture, config: FinetuneConfig, validated: Sequence[HeldOut], cache: EmbeddingMemory
) -> Task:
    """The task for the trainer.

    Args:
        sam: after `set_trainable`.
        mixture: to learn from.
        config: see there.
        validated: pictures that decide which weights are best.
        cache: of their embeddings, used while the encoder does not change.
    """
    frozen = config.trainable == "decoder"

    def validate(model: nn.Module) -> Validation:
        if not isinstance(model, Sam):
            raise TypeError(f"expected a Sam, got {type(model).__name__}")
        scores = measure(model, validated, cache if frozen else EmbeddingMemory(0))
        return Validation(scores, sum(scores.values()) / len(scores))

    def save(weights: dict[str, Tensor], path: Path) -> None:
        merged = Sam(sam.config, sam.name)
        if config.trainable == "lora":
            add_lora(merged.image_encoder, config.rank, config.alpha)
        merged.load_state_dict(weights)
        merge_lora(merged)
        checkpoints.save(merged, path)

    prepared = replace(promptable(sam, mixture, config), save=save, validate=validate)
    if not frozen:
        return prepared
    room = EmbeddingMemory(config.embedding_memory * GIGABYTE / 2)
    return replace(prepared, step=FrozenEncoderStep(sam, config.segment, room))


def save_official(sam: Sam, path: Path) -> None:
    """Write the plain state dict with official keys, as `torch.load` and the official code read it.

    MobileSAM's code wants the classifier of its encoder too: a TinyViT gets one of zeros.
    """
    weights = {key: value.detach().cpu().contiguous() for key, value in sam.state_dict().items()}
    if sam.config.image_encoder.kind == "tiny_vit":
        weights = checkpoints.with_imagenet_head(weights)
    with replacing(path) as temporary:
        torch.save(weights, temporary)


def _only(categories: Sequence[str], text: str, folder: Path) -> str:
    """The spec of a data set with some categories of another one, which is written into a folder."""
    if not categories:
        return text
    spec = parse(text)
    if spec.images is None:
        raise ValueError(f"expected COCO annotations with --category, got {text}; give ANNOTATIONS.json IMAGES/")
    path = folder / spec.path.name
    keep_categories(spec.path, categories, path)
    weight = "" if spec.weight is None else f"@{spec.weight}"
    return f"{path}:{spec.images}{weight}"
