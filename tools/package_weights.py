"""Make the weights of a run the embedded model: fp16 safetensors under the zoo's name and config.

python tools/package_weights.py runs/tiny/stage-3/model.safetensors
"""

import sys
from pathlib import Path

from opensam.models import checkpoints, zoo
from opensam.models.sam import Sam


def main(weights: Path) -> None:
    """Write the embedded file from `weights`."""
    spec = zoo.find("opensam_tiny")
    sam = Sam(spec.config, spec.name)
    checkpoints.load_into(sam, checkpoints.read_state_dict(weights), weights)
    target = Path(__file__).parents[1] / "src" / "opensam" / str(spec.file)
    target.parent.mkdir(exist_ok=True)
    checkpoints.save(sam, target, half=True)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
