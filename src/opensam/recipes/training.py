"""Training recipes: functions that return configs, one per stage, with their cost and what came of them."""

from collections.abc import Callable

from opensam.data.samples import AugmentConfig
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig, TrainConfig


def sam_vit_h() -> list[TrainConfig]:
    """SAM with ViT-H as the paper trained it (A): 90,000 steps of 256 pictures, one per GPU.

    That is two passes over SA-1B. It starts from a masked autoencoder: `--init mae_pretrain_vit_huge.pth`, or a run of
    `opensam pretrain`. Cost: 256 A100 GPUs for 68 hours (paper, F); not run here. With fewer GPUs `--set accumulate=N`
    keeps the batch; `--set recompute=true` saves memory. The masks are those of the fully automatic stage,
    unaugmented; for data of the other stages add `--set augment.scale=[0.1,2.0] --set augment.scale_law=linear`.
    """
    return [
        TrainConfig(
            model="sam_vit_h", batch_size=1, steps=90_000, devices=8, nodes=32, loader_threads=4, optim=OptimConfig()
        )
    ]


def sam_vit_l() -> list[TrainConfig]:
    """SAM with ViT-L as the paper trained it (A): 180,000 steps of 128 pictures, otherwise as `sam_vit_h`."""
    return [
        config.with_overrides(["model=sam_vit_l", "steps=180000", "nodes=16", "optim.lr=4e-4"])
        for config in sam_vit_h()
    ]


def sam_vit_b() -> list[TrainConfig]:
    """SAM with ViT-B as the paper trained it (A): as `sam_vit_l`, with more regularisation."""
    changes = ["model=sam_vit_b", "optim.lr=8e-4", "optim.layer_decay=0.6", "drop_path=0.6"]
    return [config.with_overrides(changes) for config in sam_vit_l()]


def tiny_cpu() -> list[TrainConfig]:
    """The small model over squares of 256: shows in minutes on a laptop that it learns, and nothing more.

    Use it to try your data and your settings.
    """
    young, *_ = tiny()
    return [
        young.with_overrides(
            [
                *("image_size=256", "crop_size=256", "batch_size=4", "masks_per_image=4", "steps=400", "log_every=10"),
                *("augment.scale=[0.8,1.6]", "segment.clicks=1", "optim.warmup=40", "optim.ema=0.98", "save_every=60"),
            ]
        )
    ]


def tiny() -> list[TrainConfig]:
    """The embedded model, from random weights on a few thousand pictures: small crops of the square, then nearly all.

    Crops cost little, and lie anywhere in the square of 1024, so that things and positions are as they will be.
    Cross-entropy takes the place of focal loss: from random weights and with small batches, focal loss drives every
    mask to empty within a hundred steps and leaves it there. The model card beside the weights has
    the cost and the numbers of the released ones, and where their training differed.
    """
    young = TrainConfig(
        model="opensam_tiny",
        drop_path=0.0,
        decoder_dropout=0.0,
        crop_size=224,
        batch_size=4,
        masks_per_image=6,
        steps=8000,
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
        optim=OptimConfig(
            lr=8e-4,
            schedule="cosine",
            final_lr=1.5e-4,
            warmup=200,
            layer_decay=1.0,
            betas=(0.9, 0.98),
            weight_decay=0.05,
            ema=0.998,
        ),
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


def tiny_gpu() -> list[TrainConfig]:
    """The embedded model on a GPU: the stages of `tiny` with large batches, and the paper's interaction at the end.

    A GPU sees each picture hundreds of times, so things are pasted, composed and degraded that `tiny` leaves as they
    are. Not measured yet: no run of it has been made. tools/gpu_train.sh fits the steps to the time there is.
    """
    young, grown, final = tiny()
    shared = ["loader_threads=14", "save_every=60", "optim.ema=0.9995", "masks_per_image=8", "drop_path=0.05"]
    shared += ["augment.copy_paste=0.3", "augment.degrade=0.3", "augment.mask_size_power=0.5"]
    return [
        young.with_overrides([*shared, "batch_size=64", "steps=12000", "augment.synthetic=0.3"]),
        grown.with_overrides([*shared, "batch_size=48", "steps=8000", "segment.clicks=4", "augment.synthetic=0.15"]),
        final.with_overrides(
            [
                *(*shared, "batch_size=16", "steps=4000", "freeze_batch_norm=false", "augment.synthetic=0.05"),
                *("segment.clicks=8", "segment.mask_rounds=2"),
            ]
        ),
    ]


RECIPES: dict[str, Callable[[], list[TrainConfig]]] = {
    "tiny": tiny,
    "tiny_cpu": tiny_cpu,
    "tiny_gpu": tiny_gpu,
    "sam_vit_b": sam_vit_b,
    "sam_vit_l": sam_vit_l,
    "sam_vit_h": sam_vit_h,
}
