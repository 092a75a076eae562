"""Methods side by side on the same masks: by data set, and by the size of the mask."""

from collections.abc import Sequence

from opensam.eval.metrics import MethodScores
from opensam.eval.report import Cell, Table, mean_row

# Score -> heading of its column, in the order of the table, and the decimals to show.
COLUMNS = {
    "iou@1": ("1 click", 3),
    "iou@2": ("2 clicks", 3),
    "iou@3": ("3 clicks", 3),
    "iou@5": ("5 clicks", 3),
    "iou@9": ("9 clicks", 3),
    "oracle@1": ("1 click, best of 3", 3),
    "box": ("box", 3),
    "noc@85": ("NoC@85", 2),
    "noc@90": ("NoC@90", 2),
}


def dataset_table(methods: Sequence[MethodScores]) -> Table:
    """A row per data set, and their mean as the last row; a score that several methods have carries their names.

    Raises:
        ValueError: there is no method or no data set, or the methods did not run on the same masks.
    """
    _check_comparable(methods)
    columns, rows = _columns(methods), list[tuple[Cell, ...]]()
    for name, one in methods[0].datasets.items():
        scores = [method.datasets[name].scores[score] for _, score, method in columns]
        rows.append((name, one.images, one.masks, *scores))
    heads = ("data set", "images", "masks", *(title for title, _, _ in columns))
    mean = mean_row(f"mean of {len(rows)} data sets", rows)
    return Table("By data set", heads, (*rows, mean), (0, 0, *(COLUMNS[score][1] for _, score, _ in columns)))


def size_table(methods: Sequence[MethodScores]) -> Table:
    """A row per size of mask, with means over its masks, all data sets together.

    Raises:
        ValueError: as `dataset_table`.
    """
    _check_comparable(methods)
    columns, rows = _columns(methods), list[tuple[Cell, ...]]()
    for number, size in enumerate(methods[0].sizes):
        scores = [method.sizes[number].scores[score] for _, score, method in columns]
        rows.append((f"up to {100 * size.up_to:g} % of the picture", size.masks, *scores))
    heads = ("size of the mask", "masks", *(title for title, _, _ in columns))
    return Table(
        "By size of the mask",
        heads,
        tuple(rows),
        (0, *(COLUMNS[score][1] for _, score, _ in columns)),
        "Means over the masks of a size, all data sets together.",
    )


def mean_table(methods: Sequence[MethodScores]) -> Table:
    """The means over data sets: a row per score, a column per method."""
    rows: list[tuple[Cell, ...]] = [
        (title, *(method.mean.get(score) for method in methods))
        for score, (title, _) in COLUMNS.items()
        if any(score in method.mean for method in methods)
    ]
    return Table("Mean over data sets", ("score", *(method.method for method in methods)), tuple(rows), 3)


def _check_comparable(methods: Sequence[MethodScores]) -> None:
    """Raises ValueError if there is no method or no data set, or the methods did not run on the same masks."""
    if not methods or not methods[0].datasets:
        raise ValueError("a report expects at least one method on one data set, got none.")
    asked = [{name: one.masks for name, one in method.datasets.items()} for method in methods]
    if any(other != asked[0] for other in asked):
        raise ValueError(f"a report expects methods that ran on the same masks, got {asked}; use one config for all.")


def _columns(methods: Sequence[MethodScores]) -> list[tuple[str, str, MethodScores]]:
    """The columns of scores: heading, score and the method that has it."""
    columns = []
    for score, (title, _) in COLUMNS.items():
        owners = [method for method in methods if score in method.mean]
        columns += [(f"{owner.method}: {title}" if len(owners) > 1 else title, score, owner) for owner in owners]
    return columns
