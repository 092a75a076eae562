"""Ablations: what data volume, encoder size, prompts, rounds and pre-training are worth, one table each.

    python -m benchmarks.ablations rounds --data shards/ --val held-out/ --out runs/ablations

The same command goes on where it was interrupted. `--set` changes all arms, such as `--set steps=500`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from opensam.recipes import ablations
from opensam.train.loop import Progress


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ablations.ABLATIONS)
    parser.add_argument("--data", action="append", required=True, help="as in opensam train; repeat to mix")
    parser.add_argument("--val", action="append", required=True, help="held-out data, in the same notation")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="weights for the ablation init")
    parser.add_argument("--arm", action="append", help="only this arm; repeat for more")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in opensam train")
    options = parser.parse_args(arguments)
    base = ablations.base().with_overrides(options.set)
    arms = ablations.ABLATIONS[options.name](base)
    if unknown := set(options.arm or []) - {arm.name for arm in arms}:
        parser.error(f"expected arms of {', '.join(arm.name for arm in arms)}, got {', '.join(sorted(unknown))}")
    arms = [arm for arm in arms if not options.arm or arm.name in options.arm]
    inputs = ablations.Inputs(options.data, options.val, options.init)
    facts = {"base": base.model_dump(mode="json"), "data": options.data, "val": options.val, "init": str(options.init)}
    facts |= report.conditions("cuda" if _on_gpu() else "cpu", base.seed)

    def write(rows: list[dict[str, Any]]) -> None:
        cells = [[row["arm"], *(f"{value:.3f}" for name, value in row.items() if name != "arm")] for row in rows]
        report.write(options.out / options.name, "table", facts | {"arms": rows}, report.table(list(rows[0]), cells))

    try:
        ablations.run(arms, inputs, options.out / options.name, show, write)
    except ValueError as error:
        sys.exit(str(error))
    print((options.out / options.name / "table.md").read_text())


def show(arm: str, progress: Progress) -> None:
    losses = "  ".join(f"{name} {progress.facts[name]:.3f}" for name in ("loss", "last_iou"))
    print(
        f"{arm} {progress.step}/{progress.steps}  {losses}  {progress.images_per_second:.1f} images/s", file=sys.stderr
    )


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
