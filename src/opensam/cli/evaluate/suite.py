"""`opensam eval all`, and `opensam eval report` for evaluations that were run one by one."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam.cli.evaluate.shared import (
    BackendOption,
    DataOption,
    ImageSizeOption,
    MaxImagesOption,
    OutOption,
    SeedOption,
    SkipBadOption,
    WorkersOption,
    choose,
    setting,
    show_table,
)
from opensam.cli.shared import CheckpointOption, DeviceOption, ModelOption, PrecisionName, PrecisionOption

if TYPE_CHECKING:
    from opensam.eval.report import Report
    from opensam.recipes.evaluation.session import ModelChoice
    from opensam.recipes.evaluation.suite import Part

POINTS_HELP = "clicks along a side for proposals; the paper's 64 take minutes a picture without a GPU"


def suite(
    data: DataOption,
    out: OutOption,
    bsds: Annotated[Path | None, typer.Option("--bsds", help="BSDS500, for edges", show_default=False)] = None,
    boxes: Annotated[
        str | None,
        typer.Option("--boxes", metavar="FILE|ground-truth", help="a detector's, for instances", show_default=False),
    ] = None,
    clip: Annotated[
        Path | None, typer.Option("--clip", metavar="FOLDER", help="a CLIP model, for text", show_default=False)
    ] = None,
    groups: Annotated[
        Path | None, typer.Option("--groups", help="CSV of groups, for fairness", show_default=False)
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="CSV of countries, for geography", show_default=False)
    ] = None,
    ratings: Annotated[
        list[Path] | None, typer.Option("--ratings", help="CSV of ratings, for human", show_default=False)
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="of the kit that was rated", show_default=False)] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="of clicks and edges; unless given, all; none: no baseline")
    ] = None,
    points_per_side: Annotated[int, typer.Option("--points-per-side", min=1, help=POINTS_HELP)] = 64,
    max_images: MaxImagesOption = None,
    max_masks: Annotated[
        int | None, typer.Option("--max-masks", min=1, help="of clicks: at most so many of each image")
    ] = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    image_size: ImageSizeOption = None,
    precision: PrecisionOption = PrecisionName.float32,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    backend: BackendOption = "local",
    skip_bad: SkipBadOption = False,
) -> None:
    """Run every evaluation that the data allow, and write one report of all: report.html, report.md, report.json.

    The same command goes on where it was interrupted.
    """
    from opensam.recipes.evaluation.suite import run_suite

    _check_baselines(baseline or [])
    choice = choose(model, checkpoint, device, precision, image_size)
    limits = {"data": data, "max_images": max_images}
    parts = [
        _clicks(limits | {"max_masks_per_image": max_masks, "seed": seed}, baseline, choice),
        _edges(bsds, baseline, max_images, choice),
        _proposals(limits | {"seed": seed}, points_per_side, choice),
        _instances(limits, boxes, device, choice),
        _text(limits, clip, choice),
        _fairness({"data": data, "seed": seed}, groups, choice),
        _geography(metadata),
        _human(ratings, key, seed),
    ]
    with setting(out, workers, backend, device, skip_bad) as place:
        _show(*run_suite(parts, place), out)


def report(out: Annotated[Path, typer.Argument(help="folder with reports of single evaluations")]) -> None:
    """Write one report of the evaluations in a folder: report.html, report.md, report.json."""
    from opensam.recipes.evaluation.suite import read_reports, write_summary

    reports = read_reports(out)
    write_summary(out, reports, [])
    _show(reports, [], out)


def _show(reports: "list[Report]", left_out: list[str], out: Path) -> None:
    from opensam.eval.report import headline_table

    show_table(headline_table(reports))
    typer.echo("\n".join([*(f"left out {sentence}" for sentence in left_out), str(out / "report.html")]))


def _check_baselines(names: list[str]) -> None:
    from opensam.recipes.evaluation import clicks, edges

    known = [*clicks.BASELINES, *edges.BASELINES, "none"]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"expected a baseline, one of {', '.join(known)}, got {unknown[0]}")


def _clicks(settings: dict[str, Any], baselines: list[str] | None, choice: "ModelChoice") -> "Part":
    from opensam.eval.single_point import ClicksConfig
    from opensam.recipes.evaluation import clicks
    from opensam.recipes.evaluation.suite import Part

    chosen = list(clicks.BASELINES) if baselines is None else [one for one in baselines if one in clicks.BASELINES]
    return Part("clicks", partial(clicks.clicks, ClicksConfig.of(settings), choice, chosen))


def _edges(bsds: Path | None, baselines: list[str] | None, max_images: int | None, choice: "ModelChoice") -> "Part":
    from opensam.recipes.evaluation import edges
    from opensam.recipes.evaluation.suite import Part

    if bsds is None:
        return Part("edges", None, "no --bsds was given")
    chosen = list(edges.BASELINES) if baselines is None else [one for one in baselines if one in edges.BASELINES]
    config = edges.BenchmarkConfig.of({"data": bsds, "max_images": max_images})
    return Part("edges", partial(edges.edges, config, choice, chosen, True))


def _proposals(settings: dict[str, Any], points_per_side: int, choice: "ModelChoice") -> "Part":
    from opensam.eval.proposals import PAPER_AMG, ProposalsConfig
    from opensam.recipes.evaluation.proposals import proposals
    from opensam.recipes.evaluation.suite import Part

    config = ProposalsConfig.of(settings | {"amg": PAPER_AMG.changed(points_per_side=points_per_side)})
    return Part("proposals", partial(proposals, config, choice))


def _instances(settings: dict[str, Any], boxes: str | None, device: str, choice: "ModelChoice") -> "Part":
    from opensam.eval.instances import InstancesConfig
    from opensam.eval.segmenters import prompts_per_call
    from opensam.recipes.evaluation.instances import instances
    from opensam.recipes.evaluation.suite import Part

    if boxes is None:
        return Part("instances", None, "no --boxes of a detector were given")
    config = InstancesConfig.of(settings | {"boxes": boxes, "prompts_per_call": prompts_per_call(device)})
    return Part("instances", partial(instances, config, choice))


def _text(settings: dict[str, Any], clip: Path | None, choice: "ModelChoice") -> "Part":
    from opensam.recipes.evaluation.suite import Part
    from opensam.recipes.evaluation.text import TextRun, text

    if clip is None:
        return Part("text", None, "no --clip with a text model was given")
    return Part("text", partial(text, TextRun.of(settings | {"clip": clip.absolute()}), choice))


def _fairness(settings: dict[str, Any], groups: Path | None, choice: "ModelChoice") -> "Part":
    from opensam.eval.fairness import FairnessConfig
    from opensam.recipes.evaluation.fairness import fairness
    from opensam.recipes.evaluation.suite import Part

    if groups is None:
        return Part("fairness", None, "no --groups of masks were given")
    return Part("fairness", partial(fairness, FairnessConfig.of(settings | {"groups": groups}), choice))


def _geography(metadata: Path | None) -> "Part":
    from opensam.recipes.evaluation.geography import GeographyConfig, geography
    from opensam.recipes.evaluation.suite import Part

    if metadata is None:
        return Part("geography", None, "no --metadata with countries were given")
    return Part("geography", partial(geography, GeographyConfig(metadata=metadata)))


def _human(ratings: list[Path] | None, key: Path | None, seed: int) -> "Part":
    from opensam.recipes.evaluation.human import HumanConfig, human
    from opensam.recipes.evaluation.suite import Part

    if not ratings:
        return Part("human", None, "no --ratings were given")
    return Part("human", partial(human, HumanConfig(ratings=tuple(ratings), key=key, seed=seed)))
