"""Training recipes: functions that return configs, one per stage, with their cost and what came of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opensam.config import write_run_json
from opensam.data.mixture import Mixture
from opensam.data.samples import AugmentConfig, Batch, make_batch
from opensam.models import checkpoints
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.train.loop import Progress, Task, Trainer
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig, SegmentStep, TrainConfig
from opensam.train.start import order_positions


def tiny(devices: int = 1) -> list[TrainConfig]:
    """The embedded model, from random weights on a few thousand pictures: small crops of the square, then nearly all.

    Crops cost little, and lie anywhere in the square of 1024, so that things and positions are as they will be.
    Cross-entropy takes the place of focal loss: from random weights and with small batches, focal loss drives every
    mask to empty within a hundred steps and leaves it there. The model card beside the weights has
    the cost and the numbers of the released ones, and where their training differed.
    """
    young = TrainConfig(
        crop_size=224,
        batch_size=4,
        masks_per_image=6,
        steps=8000,
        devices=devices,
        ordered_positions=True,
        segment=SegmentConfig(
            single_mask_boxes=0.5,
            box_noise=0.05,
            clicks=2,
            random_clicks=True,
            mask_rounds=0,
            mask_loss="cross_entropy",
            mask_weight=2.0,
            dice_weight=2.0,
            iou_weight=2.0,
            grouping_weight=0.5,
        ),
        augment=AugmentConfig(scale=(0.25, 1.3), flip=0.5, color=0.3, grey=0.1),
        optim=OptimConfig(lr=8e-4, final_lr=1.5e-4, warmup=200, betas=(0.9, 0.98), weight_decay=0.05, ema=0.998),
    )
    grown = young.with_overrides(
        [
            *("crop_size=448", "batch_size=2", "masks_per_image=8", "steps=2500", "seed=1"),
            *("augment.scale=[0.2,1.25]", "segment.clicks=5", "segment.mask_rounds=1"),
            *("segment.grouping_weight=0.1", "optim.lr=4e-4", "optim.final_lr=1e-4", "optim.warmup=50"),
            "optim.ema=0.99",
        ]
    )
    final = grown.with_overrides(
        [
            # Windows of 7 and 14 divide the grids of 896, not those of 1024: a third less work, and little is cut off.
            *("crop_size=896", "batch_size=1", "steps=1700", "seed=2", "augment.scale=[0.5,1.1]"),
            *("segment.clicks=4", "segment.mask_rounds=0", "segment.grouping_weight=0", "freeze_batch_norm=true"),
            *("optim.lr=2e-4", "optim.final_lr=0"),
        ]
    )
    return [young, grown, final]


def tiny_gpu(devices: int = 1) -> list[TrainConfig]:
    """The embedded model on a GPU: the stages of `tiny` with large batches, and the paper's interaction at the end.

    Not measured yet: no run of it has been made.
    """
    young, grown, final = tiny(devices)
    shared = ["loader_threads=14", "save_every=60", "optim.ema=0.9995", "masks_per_image=8"]
    return [
        young.with_overrides([*shared, "batch_size=64", "steps=12000", "segment.clicks=2"]),
        grown.with_overrides([*shared, "batch_size=48", "steps=8000", "segment.clicks=4"]),
        final.with_overrides(
            [
                *(*shared, "batch_size=16", "steps=4000", "freeze_batch_norm=false"),
                *("segment.clicks=8", "segment.mask_rounds=2"),
            ]
        ),
    ]


RECIPES: dict[str, Callable[[int], list[TrainConfig]]] = {"tiny": tiny, "tiny_gpu": tiny_gpu}


def promptable(sam: Sam, mixture: Mixture, config: TrainConfig) -> Task:
    """The task of promptable segmentation on a mixture of data sets."""

    def draw(rng: np.random.Generator) -> Batch:
        crop_size = config.crop_size or config.image_size
        sizes = (config.batch_size, config.image_size, crop_size, config.masks_per_image)
        return make_batch(mixture, *sizes, config.augment, rng)

    def save(weights: dict[str, Tensor], path: Path) -> None:
        averaged = Sam(sam.config, sam.name)
        averaged.load_state_dict(weights)
        checkpoints.save(averaged, path)

    return Task(SegmentStep(sam, config.segment, config.freeze_batch_norm), sam, draw, save)


def train(
    stages: list[TrainConfig],
    data: Path,
    folder: Path,
    on_progress: Callable[[Progress], None],
    init: Path | None = None,
) -> Path:
    """Run the stages one after the other; each starts from the averaged weights of the one before.

    A stage that has finished is not repeated and one that was interrupted goes on where its last checkpoint stands, so
    the same call resumes a run.

    Args:
        stages: configs; stage n writes to `folder/stage-n`.
        data: folder of shards in the SA-1B layout.
        folder: of the run.
        on_progress: called every `log_every` steps by the first process.
        init: checkpoint that the first stage starts from; None: random weights.

    Returns:
        The averaged weights of the last stage.

    Raises:
        ValueError: no data, or weights that do not fit.
    """
    mixture = Mixture.from_shards(data, stages[0].mixture_power)
    weights = init
    for number, config in enumerate(stages, start=1):
        torch.manual_seed(config.seed)
        sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=config.image_size)))
        if weights is None and config.ordered_positions:
            order_positions(sam)
        if weights is not None:
            checkpoints.load_into(sam, checkpoints.read_state_dict(weights), str(weights))
        stage_folder = folder / f"stage-{number}"
        write_run_json(stage_folder, config, data=str(data), init=str(weights) if weights else None)
        Trainer(promptable(sam, mixture, config), config, stage_folder).fit(on_progress)
        weights = stage_folder / "model.safetensors"
    if weights is None:
        raise ValueError("expected at least one stage, got none")
    return weights
