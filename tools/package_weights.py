"""Make the weights of a run the embedded model: fp16 safetensors under the zoo's name and config.

Of several runs from the same start it takes the mean, which can be better than any of them (arXiv 2203.05482,
docs/experiments.md entry 22).

python tools/package_weights.py runs/tiny/stage-3/model.safetensors [OTHER ...]
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from opensam.models import checkpoints, zoo
from opensam.models.sam import Sam


def main(runs: list[Path]) -> None:
    """Write the embedded file from the mean of the weights of `runs`."""
    spec = zoo.find("opensam_tiny")
    sam = Sam(spec.config, spec.name)
    checkpoints.load_into(sam, mean([checkpoints.read_state_dict(weights) for weights in runs]), runs[0])
    target = Path(__file__).parents[1] / "src" / "opensam" / str(spec.file)
    target.parent.mkdir(exist_ok=True)
    checkpoints.save(sam, target, half=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of every entry that has a fraction; of counters those of the first."""
    return {
        key: torch.stack([state[key].float() for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in states[0].items()
    }


if __name__ == "__main__":
    main([Path(run) for run in sys.argv[1:]])
