"""`opensam eval human`."""

from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.evaluate.shared import EvaluationBar, ImageSizeOption, SeedOption, choose, setting, show
from opensam.cli.shared import CheckpointOption, DeviceOption, ModelOption, PrecisionName, PrecisionOption


def human(
    ratings: Annotated[
        list[Path] | None, typer.Option("--ratings", help="CSV of ratings; repeat for more", show_default=False)
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="key.csv of the kit that the ratings are of", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the report", show_default=False)] = None,
    kit: Annotated[
        Path | None, typer.Option("--make-kit", help="write a kit for raters to this folder", show_default=False)
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH|JSON:IMAGES", help="of the kit; repeat for more", show_default=False),
    ] = None,
    per_dataset: Annotated[int, typer.Option("--per-dataset", min=1, help="objects of each data set in the kit")] = 100,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="another model in the kit, by name or checkpoint; repeat", show_default=False),
    ] = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    seed: SeedOption = 0,
) -> None:
    """Let people rate masks from 1 to 10: make a kit for them, or report what they said.

    opensam eval human --make-kit KIT --data D, then KIT/page/ goes to the raters and KIT/key.csv stays here;
    opensam eval human --ratings R.csv --key KIT/key.csv --out OUT makes the report.
    """
    if (kit is None) == (not ratings):
        raise ValueError("expected either --make-kit with --data, or --ratings with --out, got both or neither")
    if kit is not None:
        if not data:
            raise ValueError("expected --data with --make-kit, got none")
        from opensam.recipes.evaluation.rating_kit import KitConfig, make_kit

        config = KitConfig.of({"data": data, "per_dataset": per_dataset, "seed": seed})
        asked = [(model, checkpoint), *(_named(name) for name in against or ())]
        choices = [choose(*one, device, precision, image_size) for one in asked]
        with EvaluationBar() as bar:
            made = make_kit(config, choices, kit, bar)
        typer.echo(f"{made.jobs} masks to rate\nfor raters: {made.page.parent}\nkeep here: {made.key}")
        return
    if out is None:
        raise ValueError("expected --out with --ratings, got none")
    from opensam.recipes.evaluation.human import HumanConfig
    from opensam.recipes.evaluation.human import human as evaluate

    with setting(out, 1, "local", "cpu", skip_bad=False) as place:
        report = evaluate(HumanConfig(ratings=tuple(ratings or ()), key=key, seed=seed), place)
    show(report, report.tables[0], out)


def _named(name: str) -> tuple[str | None, Path | None]:
    """A model of the zoo, or a checkpoint if there is a file or folder of that name."""
    return (None, Path(name)) if Path(name).exists() else (name, None)
