"""What people say about masks: ratings from 1 to 10 (paper, section 7.1 and appendix E), and masks that they corrected.

Each rating is about one mask that one method made of one object, seen by one rater who did not know the method. In the
paper one rater saw each mask; where several did, a mask counts once, with their mean.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from opensam.eval.intervals import Interval, bootstrap_interval, t_interval
from opensam.eval.report import Cell, Table
from opensam.eval.rows import Rows, read_rows
from opensam.rle import Rle, rle_iou

COLUMNS = ("dataset", "image", "mask", "method", "rater", "rating")
RATINGS = range(1, 11)
MIN_AREA = 24**2
"""Pixels; raters see no smaller mask (paper, E)."""

CONFIDENCE_OF_DIFFERENCE = 0.99
"""Of the interval of the difference of two methods (paper, E)."""

# Means of SAM lie between 7 and 9 on all seven data sets (paper, section 7.1; its figure 9b gives no numbers).
PAPER_MEANS = (7.0, 9.0)
# The standard deviation of five ratings of the same mask, on average (paper, E).
PAPER_SPREAD = 0.83
# By how much SAM is rated higher, 99 % intervals (paper, table 8): than RITM (LVIS v1: than ViTDet-H, from boxes), and
# than a SAM with one output.
PAPER_DIFFERENCES: dict[str, tuple[Interval, Interval | None]] = {
    "LVIS v0.5": ((1.40, 1.84), (0.29, 0.64)),
    "VISOR": ((1.81, 2.24), (0.58, 0.94)),
    "DRAM": ((1.54, 2.00), (0.62, 1.03)),
    "IBD": ((1.03, 1.39), (0.32, 0.62)),
    "NDD20": ((1.88, 2.37), (0.19, 0.55)),
    "OVIS": ((1.38, 1.84), (0.27, 0.63)),
    "iShape": ((1.97, 2.47), (0.65, 1.10)),
    "LVIS v1": ((0.11, 0.42), None),
}

AUDIT_IOUS = (0.9, 0.75)
# Share of automatic masks with an IoU above 0.9 and above 0.75 to what annotators made of them (paper, section 5).
PAPER_AUDIT = (0.94, 0.97)
# The IoU of two people who draw the same object (paper, section 5, from LVIS and Open Images).
PAPER_HUMANS = (0.85, 0.91)


@dataclass(frozen=True)
class Rating:
    """One opinion."""

    dataset: str
    image: str
    mask: str
    method: str
    rater: str
    rating: int

    @property
    def thing(self) -> tuple[str, str, str]:
        """The object, whatever the method."""
        return self.dataset, self.image, self.mask


@dataclass(frozen=True)
class MethodRatings:
    """One method on one data set.

    Attributes:
        dataset: its name.
        method: its name.
        ratings: how many.
        masks: that they are about.
        mean: over masks.
        interval: of the mean, 95 %, Student's t over masks.
        histogram: ratings of 1, 2, ... 10.
    """

    dataset: str
    method: str
    ratings: int
    masks: int
    mean: float
    interval: Interval | None
    histogram: list[int]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same masks of a data set.

    Attributes:
        dataset: its name.
        methods: the higher mean first.
        masks: that both were rated on.
        difference: of the means, never negative.
        interval: of the difference, 99 %, bootstrap over masks (paper, E).
        p_value: two-sided, of the paired t-test (paper, E); None if the difference is the same on every mask.
    """

    dataset: str
    methods: tuple[str, str]
    masks: int
    difference: float
    interval: Interval | None
    p_value: float | None


@dataclass(frozen=True)
class RaterScores:
    """One rater: how many ratings, their mean, and how far above the others' mean on the same masks; None: on none."""

    rater: str
    ratings: int
    mean: float
    above_others: float | None


@dataclass(frozen=True)
class Agreement:
    """How far raters agree, on the masks that several of them saw.

    Attributes:
        masks: that several raters saw.
        difference: mean distance between two ratings of the same mask.
        spread: mean over masks of the standard deviation of its ratings (0.83 in the paper).
        alpha: Krippendorff's, for interval data: 1 is perfect, 0 chance; None if all ratings are the same.
    """

    masks: int
    difference: float
    spread: float
    alpha: float | None


@dataclass(frozen=True)
class Audit:
    """How near masks were to what people made of them: mean IoU, and the shares above each of `AUDIT_IOUS`."""

    pairs: int
    mean: float
    shares: tuple[float, ...]


def read_ratings(paths: Sequence[Path], key: Path | None = None) -> list[Rating]:
    """Read CSV files of ratings with the columns `COLUMNS`, or `job, rater, rating` as the page of the kit gives them.

    Args:
        paths: the files.
        key: the CSV that says what each job was (`job, dataset, image, mask, method`); it comes with the kit.

    Raises:
        ValueError: a column is missing, a job is unknown, a rating is no whole number from 1 to 10, or a rater rates
            the same mask twice; the message names the file and the line.
    """
    jobs = None if key is None else _read_key(key)
    ratings, seen = [], dict[tuple[str, ...], str]()
    for path in paths:
        table = read_rows(path, ("rater", "rating") if jobs is not None else COLUMNS)
        for row in table.rows:
            cells = dict(row.cells)
            where = table.at(row)
            if jobs is not None:
                cells |= _job(jobs, table, cells.get("job"), where, key)
            if empty := [name for name in COLUMNS if not cells[name]]:
                raise ValueError(f"expected a value for {empty[0]} in {where}, got an empty cell")
            if cells["rating"] not in map(str, RATINGS):
                raise ValueError(f"expected a whole number from 1 to 10 as rating in {where}, got {cells['rating']!r}")
            identity = (cells["dataset"], cells["image"], cells["mask"], cells["method"], cells["rater"])
            if identity in seen:
                raise ValueError(f"expected each rater to rate a mask once, got {seen[identity]} and {where}")
            seen[identity] = where
            ratings.append(Rating(*identity, int(cells["rating"])))
    return ratings


def rate_methods(ratings: Sequence[Rating]) -> list[MethodRatings]:
    """Every method on every data set, in alphabetical order."""
    found = []
    for (dataset, method), masks in sorted(_by_method(ratings).items()):
        means = [float(np.mean(values)) for values in masks.values()]
        counts = Counter(value for values in masks.values() for value in values)
        histogram = [counts[value] for value in RATINGS]
        mean, interval = float(np.mean(means)), t_interval(means)
        found.append(MethodRatings(dataset, method, sum(histogram), len(masks), mean, interval, histogram))
    return found


def compare_methods(ratings: Sequence[Rating], rng: np.random.Generator) -> list[Comparison]:
    """Every two methods of each data set that were rated on the same masks, as in the paper (E, table 8).

    Args:
        ratings: all of them.
        rng: draws the samples of the bootstrap.
    """
    from scipy import stats

    by_method, found = _by_method(ratings), []
    for (dataset, first), (other, second) in combinations(sorted(by_method), 2):
        means, others = by_method[dataset, first], by_method[other, second]
        shared = sorted(means.keys() & others.keys())
        if not shared:  # masks of two data sets are never the same
            continue
        differences = np.array([np.mean(means[thing]) - np.mean(others[thing]) for thing in shared])
        methods = (first, second)
        if differences.mean() < 0:
            methods, differences = (second, first), -differences
        interval = bootstrap_interval(differences.tolist(), shared, rng, CONFIDENCE_OF_DIFFERENCE)
        varies = len(shared) > 1 and np.ptp(differences) > 1e-9  # means of thirds are not exact
        p_value = float(stats.ttest_1samp(differences, 0).pvalue) if varies else None  # of differences: the paired test
        found.append(Comparison(dataset, methods, len(shared), float(differences.mean()), interval, p_value))
    return found


def rate_raters(ratings: Sequence[Rating]) -> list[RaterScores]:
    """Every rater, in alphabetical order."""
    jobs = _by_job(ratings)
    own: dict[str, list[int]] = {}
    above: dict[str, list[float]] = {}
    for raters in jobs.values():
        for rater, rating in raters.items():
            own.setdefault(rater, []).append(rating)
            others = [value for other, value in raters.items() if other != rater]
            if others:
                above.setdefault(rater, []).append(rating - float(np.mean(others)))
    return [
        RaterScores(
            rater, len(values), float(np.mean(values)), float(np.mean(above[rater])) if rater in above else None
        )
        for rater, values in sorted(own.items())
    ]


def agreement(ratings: Sequence[Rating]) -> Agreement | None:
    """How far raters agree; None if no mask was seen by two of them."""
    units = [list(raters.values()) for raters in _by_job(ratings).values() if len(raters) > 1]
    if not units:
        return None
    pairs = [abs(first - second) for values in units for first, second in combinations(values, 2)]
    spread = float(np.mean([np.std(values, ddof=1) for values in units]))
    return Agreement(len(units), float(np.mean(pairs)), spread, krippendorff_alpha(units))


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data; None if all values are the same.

    Args:
        units: the values that each thing was given, two or more.
    """
    values = np.array([value for unit in units for value in unit], dtype=np.float64)
    observed = sum(_square_distances(np.asarray(unit, dtype=np.float64)) / (len(unit) - 1) for unit in units)
    expected = _square_distances(values) / (values.size - 1)
    return 1 - float(observed / expected) if expected > 0 else None


def audit(pairs: Iterable[tuple[Rle, Rle]]) -> Audit:
    """Compare masks with what people made of them (paper, section 5: 500 images, about 50k masks).

    Raises:
        ValueError: there is no pair, or the two masks of one are of pictures of different sizes.
    """
    ious = np.array([1.0 if mask == corrected else rle_iou([mask], [corrected])[0, 0] for mask, corrected in pairs])
    if not ious.size:
        raise ValueError("expected pairs of a mask and its corrected form, got none")
    return Audit(ious.size, float(ious.mean()), tuple(float((ious > bound).mean()) for bound in AUDIT_IOUS))


def rating_tables(ratings: Sequence[Rating], comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """What was rated how, who wins, and how far raters agree, beside the paper's numbers where it gives some."""
    methods = rate_methods(ratings)
    low, high = PAPER_MEANS
    means = Table(
        "Ratings",
        ("data set: method", "masks", "ratings", "mean", "±", *map(str, RATINGS)),
        tuple(
            (f"{one.dataset}: {one.method}", one.masks, one.ratings, one.mean, _half(one.interval), *one.histogram)
            for one in methods
        ),
        2,
        "±: 95 % interval of the mean over masks (Student's t). 1 to 10: how many ratings of each. In the paper the "
        f"means of SAM lie between {low:g} and {high:g} on each of seven data sets (section 7.1).",
    )
    return means, _comparison_table(comparisons), _rater_table(ratings)


def _comparison_table(comparisons: Sequence[Comparison]) -> Table:
    paper = {_plain(name): intervals for name, intervals in PAPER_DIFFERENCES.items()}
    rows = []
    for one in comparisons:
        intervals = paper.get(_plain(one.dataset), (None, None))
        p_value = None if one.p_value is None else f"{one.p_value:.1g}"
        name = f"{one.dataset}: {one.methods[0]} over {one.methods[1]}"
        rows.append((name, one.masks, one.difference, _range(one.interval), p_value, *map(_range, intervals)))
    note = (
        "Means on the masks that both methods have. The interval is 99 %, of a bootstrap over masks; p is two-sided, "
        "of a paired t-test. The paper's columns are intervals of SAM over RITM (LVIS v1: over ViTDet-H) and over a "
        "SAM with one output (table 8), for data sets of the same name."
    )
    heads = ("data set: methods", "masks", "difference", "interval", "p", "paper, baseline", "paper, single output")
    return Table("Differences", heads, tuple(rows), 2, note)


def _rater_table(ratings: Sequence[Rating]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (one.rater, one.ratings, one.mean, one.above_others) for one in rate_raters(ratings)
    ]
    found = agreement(ratings)
    note = "Above others: than the mean of the other raters of the same masks. "
    if found is None:
        note += "No mask was rated by two raters, so nothing is known about how far they agree."
    else:
        alpha = "not defined" if found.alpha is None else f"{found.alpha:.2f}"
        note += (
            f"On {found.masks} masks that several rated: mean distance of two ratings {found.difference:.2f}, standard "
            f"deviation {found.spread:.2f} ({PAPER_SPREAD} in the paper), Krippendorff's alpha {alpha}."
        )
    return Table("Raters", ("rater", "ratings", "mean", "above others"), tuple(rows), 2, note)


def _half(interval: Interval | None) -> float | None:
    return None if interval is None else (interval[1] - interval[0]) / 2


def _range(interval: Interval | None) -> str | None:
    return None if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _square_distances(values: np.ndarray) -> float:
    """The sum of (a - b) ** 2 over ordered pairs of values."""
    return 2 * float(values.size * np.square(values).sum() - values.sum() ** 2)


def _by_method(ratings: Sequence[Rating]) -> dict[tuple[str, str], dict[tuple[str, str, str], list[int]]]:
    found: dict[tuple[str, str], dict[tuple[str, str, str], list[int]]] = {}
    for rating in ratings:
        found.setdefault((rating.dataset, rating.method), {}).setdefault(rating.thing, []).append(rating.rating)
    return found


def _by_job(ratings: Sequence[Rating]) -> dict[tuple[str, ...], dict[str, int]]:
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for rating in ratings:
        found.setdefault((*rating.thing, rating.method), {})[rating.rater] = rating.rating
    return found


def _read_key(path: Path) -> dict[str, Mapping[str, str]]:
    table = read_rows(path, ("job", *COLUMNS[:4]))
    jobs: dict[str, Mapping[str, str]] = {}
    for row in table.rows:
        if jobs.setdefault(row.cells["job"], row.cells) is not row.cells:
            raise ValueError(f"expected each job once, got {row.cells['job']} again in {table.at(row)}")
    return jobs


def _job(
    jobs: Mapping[str, Mapping[str, str]], table: Rows, job: str | None, where: str, key: Path | None
) -> dict[str, str]:
    if job is None:
        raise ValueError(f"expected a column job in {table.path}, because {key} tells jobs; leave the key out")
    if job not in jobs:
        raise ValueError(f"expected a job of {key} in {where}, got {job!r}; do the ratings belong to another kit?")
    return {name: jobs[job][name] for name in COLUMNS[:4]}
