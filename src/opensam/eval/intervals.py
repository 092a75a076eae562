"""How sure a mean is: intervals by Student's t and by the bootstrap.

An interval is (low, high), or None where there is too little to tell: of one value nobody knows how it varies.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

RESAMPLES = 10_000
"""So many samples the paper draws (E)."""

_AT_ONCE = 2**22  # numbers drawn at a time: 32 MB


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """The interval of a mean of independent values, by Student's t."""
    from scipy import stats

    if len(values) < 2:
        return None
    array = np.asarray(values, dtype=np.float64)
    reach = stats.t.ppf((1 + confidence) / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size)
    return float(array.mean() - reach), float(array.mean() + reach)


def bootstrap_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The interval of a mean of values that hang together in clusters, such as the masks of one picture.

    Whole clusters are drawn with replacement, as many as there are; of the means of such samples, the middle share
    is the interval (percentiles).

    Args:
        values: what the mean is of.
        clusters: of each value, what it belongs to; all different, it is the usual bootstrap.
        rng: draws the samples.
        confidence: the share in the middle.
        resamples: how many samples.
    """
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=np.int64)
    if len(numbers) < 2:
        return None
    sums = np.bincount(index, np.asarray(values, dtype=np.float64)).astype(np.float64)
    means = _resampled_means(sums, np.bincount(index), rng, resamples)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def disjoint(first: Interval | None, second: Interval | None) -> bool:
    """Whether two intervals have nothing in common; the paper's sign of a difference (C)."""
    return first is not None and second is not None and (first[1] < second[0] or second[1] < first[0])


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.int64], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    means = []
    for start in range(0, resamples, step := max(1, _AT_ONCE // sums.size)):
        drawn = rng.integers(sums.size, size=(min(step, resamples - start), sums.size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)
