"""One short run, to be started as a program: `python -m tests.train.parallel_run BACKEND FOLDER KEY=VALUE...`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tests.data.test_samples import rectangle, source
from tests.train.test_loop import CONFIG

from opensam import launch
from opensam.data.mixture import Mixture
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig
from opensam.recipes.promptable import promptable
from opensam.recipes.validation import validator
from opensam.train.loop import Trainer
from opensam.train.segment import TrainConfig


def learn(config: TrainConfig, folder: Path, report: launch.Report) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    masks = [rectangle((64, 64), slice(8, 24 + 4 * n), slice(8, 40 + 2 * n)) for n in range(8)]
    encoder = ViTConfig(embed_dim=32, depth=2, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=2)
    sam = Sam(SamConfig(image_encoder=encoder))
    mixture = Mixture([source(mask) for mask in masks], power=0.5)
    task = promptable(sam, mixture, config)
    if config.validate_every:
        task = replace(task, validate=validator(mixture, config))
    Trainer(task, config, folder).fit(report)


def main() -> None:
    backend, folder, *overrides = sys.argv[1:]
    config = CONFIG.with_overrides(["steps=4", "save_every=0", *overrides])
    launch.run(
        backend,
        config.devices,
        config.nodes,
        lambda report: learn(config, Path(folder), report),
        lambda progress: print(progress.step, flush=True),
        Path(folder),
    )


if __name__ == "__main__":
    main()
