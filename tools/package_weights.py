"""Make the weights of a run the embedded model: fp16 safetensors under the zoo's name and config.

Of several runs from the same start it takes the mean, which can be better than any of them (arXiv 2203.05482,
docs/experiments.md entry 22).

python tools/package_weights.py runs/tiny/stage-3/model.safetensors [OTHER ...]
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from opensam.models import checkpoints, zoo
from opensam.models.sam import Sam


def main() -> None:
    """Write the embedded file from the mean of the weights of the runs given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="WEIGHTS", help="safetensors of a run")
    runs = parser.parse_args().runs
    spec = zoo.find("opensam_tiny")
    sam = Sam(spec.config, spec.name)
    checkpoints.load_into(sam, mean([checkpoints.read_state_dict(weights) for weights in runs]), runs[0])
    target = Path(__file__).parents[1] / "src" / "opensam" / str(spec.file)
    target.parent.mkdir(exist_ok=True)
    checkpoints.save(sam, target, half=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of every entry that has a fraction; of counters those of the first."""
    first = states[0]
    if any(state.keys() != first.keys() for state in states):
        sys.exit("expected weights of one architecture, got files with other entries; give runs of one recipe")
    return {
        key: torch.stack([state[key].float() for state in states]).mean(0) if value.is_floating_point() else value
        for key, value in first.items()
    }


if __name__ == "__main__":
    main()
