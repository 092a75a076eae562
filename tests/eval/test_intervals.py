"""Intervals of means, against scipy and against what is known."""

import numpy as np
import pytest
from scipy import stats

from opensam.eval.intervals import bootstrap_interval, disjoint, t_interval

VALUES = [0.2, 0.9, 0.55, 0.71, 0.34, 0.88]


@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_interval_over_masks_is_that_of_scipy(confidence):
    expected = stats.t.interval(confidence, len(VALUES) - 1, np.mean(VALUES), stats.sem(VALUES))
    assert t_interval(VALUES, confidence) == pytest.approx(expected, abs=1e-12)


def test_where_each_value_stands_alone_the_bootstrap_is_that_of_scipy():
    rng = np.random.default_rng(3)
    values = rng.uniform(size=60).tolist()
    found = bootstrap_interval(values, range(60), np.random.default_rng(0))
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx(tuple(expected), abs=0.004)


def test_copies_of_a_value_in_one_picture_tell_nothing_new():
    values = np.random.default_rng(3).uniform(size=40)
    alone = bootstrap_interval(values.tolist(), range(40), np.random.default_rng(0))
    copied = bootstrap_interval(
        np.repeat(values, 9).tolist(), np.repeat(range(40), 9).tolist(), np.random.default_rng(0)
    )
    assert copied == pytest.approx(alone, abs=1e-12)
    narrow = t_interval(np.repeat(values, 9).tolist())
    assert narrow[1] - narrow[0] < 0.4 * (copied[1] - copied[0])


def test_a_picture_counts_with_all_its_masks():
    low, high = bootstrap_interval([1, 1, 1, 0], ["a", "a", "a", "b"], np.random.default_rng(0))
    assert (low, high) == (0, 1)  # a a, a b, b b are means of 1, 3/4, 0


def test_few_samples_at_a_time_are_as_many_samples(monkeypatch):
    monkeypatch.setattr("opensam.eval.intervals._AT_ONCE", 50)
    found = bootstrap_interval(VALUES, range(6), np.random.default_rng(0), resamples=4000)
    monkeypatch.undo()
    expected = bootstrap_interval(VALUES, range(6), np.random.default_rng(1), resamples=4000)
    assert found == pytest.approx(expected, abs=0.03)


def test_nothing_is_said_about_one_value_or_one_picture():
    assert t_interval([0.5]) is None
    assert bootstrap_interval([0.5, 0.7], ["a", "a"], np.random.default_rng(0)) is None


def test_equal_values_leave_no_doubt():
    assert t_interval([1.0] * 5) == (1, 1)
    assert bootstrap_interval([1.0] * 5, range(5), np.random.default_rng(0)) == (1, 1)


def test_intervals_that_touch_are_not_disjoint():
    assert disjoint((0, 1), (1.1, 2))
    assert disjoint((1.1, 2), (0, 1))
    assert not disjoint((0, 1), (1, 2))
    assert not disjoint(None, (1, 2))
