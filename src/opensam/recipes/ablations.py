"""What matters: families of short runs that each differ in one thing from the same base, with the same seed."""

import csv
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opensam.config import check_same_config
from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes import promptable
from opensam.recipes.training import tiny_cpu
from opensam.train.loop import Progress, TrainingError
from opensam.train.segment import TrainConfig

SCORES = {"box": "box_iou", "point": "point_iou", "oracle": "point_oracle_iou", "last": "last_iou"}


@dataclass(frozen=True)
class Arm:
    """One run.

    Attributes:
        name: of its folder.
        config: what it trains.
        pretrained: whether it starts from the weights of `--init`.
    """

    name: str
    config: TrainConfig
    pretrained: bool = False


@dataclass(frozen=True)
class Inputs:
    """What all arms share: training and held-out data (`opensam.data.specs`), and pre-trained weights if there are."""

    data: Sequence[str]
    val: Sequence[str]
    init: Path | None = None


def base() -> TrainConfig:
    """`tiny_cpu` for 2000 steps with two clicks. docs/benchmarks.md has tables of shorter arms, and what those cost."""
    config, *_ = tiny_cpu()
    return config.with_overrides(["steps=2000", "segment.clicks=2", "segment.random_clicks=false", "log_every=50"])


def data(config: TrainConfig) -> list[Arm]:
    """1 %, 10 % and all of the pictures of each data set, for the same number of steps."""
    return [_arm(config, f"{100 * share:g}%", f"data_share={share}") for share in (0.01, 0.1, 1.0)]


def encoder(config: TrainConfig) -> list[Arm]:
    """TinyViT at half the width, as it is (5M), and in the sizes of TinyViT-11M (arXiv 2207.10666)."""
    sizes = {
        "half": TinyViTConfig(embed_dims=(32, 64, 96, 160), num_heads=(1, 2, 3, 5)),
        "5M": TinyViTConfig(),
        "11M": TinyViTConfig(embed_dims=(64, 128, 256, 448), num_heads=(2, 4, 8, 14)),
    }
    return [_arm(config, name, f"encoder={each.model_dump_json()}") for name, each in sizes.items()]


def prompts(config: TrainConfig) -> list[Arm]:
    """First prompts of training: points, boxes, or half of each."""
    shares = {"points": 0.0, "boxes": 1.0, "both": 0.5}
    return [_arm(config, name, f"segment.box_probability={share}") for name, share in shares.items()]


def rounds(config: TrainConfig) -> list[Arm]:
    """1, 3, 6 and 11 rounds of interaction; those without a new click come with the long ones, as in the paper (A)."""
    plans = {1: (0, 0), 3: (2, 0), 6: (4, 1), 11: (8, 2)}
    return [
        _arm(
            config, str(count), f"segment.clicks={clicks}", f"segment.mask_rounds={more}", "segment.random_clicks=false"
        )
        for count, (clicks, more) in plans.items()
    ]


def init(config: TrainConfig) -> list[Arm]:
    """From random weights, and from those of a pre-trained model or encoder."""
    # Positions are put in order in both, so that only the weights that were read make the difference.
    return [Arm("random", config), Arm("pretrained", config, pretrained=True)]


ABLATIONS: dict[str, Callable[[TrainConfig], list[Arm]]] = {
    "data": data,
    "encoder": encoder,
    "prompts": prompts,
    "rounds": rounds,
    "init": init,
}


def run(
    arms: Sequence[Arm],
    inputs: Inputs,
    folder: Path,
    on_progress: Callable[[str, Progress], None],
    on_row: Callable[[list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """Run the arms one after the other, each in a folder of its name; those that have finished are not repeated.

    Args:
        arms: see `ABLATIONS`.
        inputs: of all of them.
        folder: of the ablation.
        on_progress: called with the name of the arm that runs.
        on_row: called with the table so far, after each arm.

    Returns:
        A row per arm: its name, IoU on the held-out pictures at the end, images/s and minutes of training.

    Raises:
        ValueError: no held-out data, no weights for an arm that wants them, or an arm was run otherwise before.
    """
    if not inputs.val:
        raise ValueError("expected held-out data to compare the arms on, got none; give --val")
    if inputs.init is None and any(arm.pretrained for arm in arms):
        raise ValueError("expected pre-trained weights, got none; give --init")
    given = {arm.name: replace(inputs, init=inputs.init if arm.pretrained else None) for arm in arms}
    for arm in arms:
        _check_same(folder / arm.name, arm, given[arm.name])
    rows: list[dict[str, Any]] = []
    for arm in arms:
        mine, name = given[arm.name], arm.name
        if not _has_finished(folder / name, arm.config):
            promptable.train(
                [arm.config],
                mine.data,
                folder / name,
                lambda progress, name=name: on_progress(name, progress),  # type: ignore[misc]
                mine.init,
                mine.val,
            )
        rows.append({"arm": name, **result(folder / name / "stage-1", arm.config)})
        on_row(rows)
    return rows


def result(stage: Path, config: TrainConfig) -> dict[str, float]:
    """The scores at the end of a run, its median speed, and its length at that speed.

    Not the time it took: a run may have been interrupted, or held up by other programs.
    """
    last = _rows(stage / "validation.csv")[-1]
    images = config.batch_size * config.accumulate * config.devices * config.nodes
    speed = statistics.median(float(row["images_per_second"]) for row in _rows(stage / "log.csv"))
    scores = {title: float(last[name]) for title, name in SCORES.items()}
    return scores | {"images/s": speed, "minutes": config.steps * images / speed / 60}


def _arm(config: TrainConfig, name: str, *overrides: str) -> Arm:
    return Arm(name, config.with_overrides(list(overrides)))


def _has_finished(folder: Path, config: TrainConfig) -> bool:
    stage = folder / "stage-1"
    if not (stage / "validation.csv").exists() or not (stage / "model.safetensors").exists():
        return False
    return int(_rows(stage / "validation.csv")[-1]["step"]) == config.steps


def _check_same(folder: Path, arm: Arm, inputs: Inputs) -> None:
    path = folder / "stage-1" / "run.json"
    if not path.exists():
        return
    before = json.loads(path.read_text())
    check_same_config(path.parent, before["config"], arm.config)
    init = str(inputs.init) if inputs.init else None
    for name, now in {"data": list(inputs.data), "val": list(inputs.val), "init": init}.items():
        if before[name] != now:
            raise TrainingError(
                f"expected {folder} to hold a run with {name} {now}, got {before[name]}; choose another --out"
            )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
