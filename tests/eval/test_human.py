"""Ratings: exact numbers, who wins, who agrees; and masks that people corrected."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from opensam.eval.human import (
    PAPER_DIFFERENCES,
    Rating,
    agreement,
    audit,
    compare_methods,
    krippendorff_alpha,
    rate_methods,
    rate_raters,
    read_ratings,
)
from opensam.masks import encode_rle

HEAD = "dataset,image,mask,method,rater,rating"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ratings(method, values, rater="r", dataset="d"):
    return [Rating(dataset, f"i{n}", "0", method, rater, value) for n, value in enumerate(values)]


def test_ratings_are_read_from_several_files(tmp_path):
    files = [write(tmp_path / "a.csv", HEAD, "d,i,0,sam,ann,7"), write(tmp_path / "b.csv", HEAD, "d,i,0,sam,bob,10")]
    assert read_ratings(files) == [Rating("d", "i", "0", "sam", "ann", 7), Rating("d", "i", "0", "sam", "bob", 10)]


def test_jobs_of_the_kit_are_told_by_its_key(tmp_path):
    key = write(tmp_path / "key.csv", "job,dataset,image,mask,method", "x1,d,i,0,sam", "x2,d,i,0,truth")
    file = write(tmp_path / "a.csv", "job,rater,rating", "x2,ann,9", "x1,ann,4")
    assert [(one.method, one.rating) for one in read_ratings([file], key)] == [("truth", 9), ("sam", 4)]
    with pytest.raises(ValueError, match=r"a job of .*key.csv in .*b.csv line 2, got 'x3'"):
        read_ratings([write(tmp_path / "b.csv", "job,rater,rating", "x3,ann,9")], key)
    with pytest.raises(ValueError, match=r"a column job in .*c.csv"):
        read_ratings([write(tmp_path / "c.csv", HEAD, "d,i,0,sam,ann,7")], key)
    with pytest.raises(ValueError, match=r"a column dataset in the header of .*a.csv, got job, rater, rating"):
        read_ratings([file])
    twice = write(tmp_path / "twice.csv", "job,dataset,image,mask,method", "x1,d,i,0,sam", "x1,d,i,0,truth")
    with pytest.raises(ValueError, match=r"each job once, got x1 again in .*twice.csv line 3"):
        read_ratings([file], twice)


@pytest.mark.parametrize("value", ["0", "11", "7.5", "good", "٧", "+7"])
def test_a_rating_is_a_whole_number_from_1_to_10(value, tmp_path):
    with pytest.raises(ValueError, match=r"from 1 to 10 as rating in .*a.csv line 3"):
        read_ratings([write(tmp_path / "a.csv", HEAD, "d,i,0,sam,ann,7", f"d,i,1,sam,ann,{value}")])


def test_a_rater_rates_a_mask_once(tmp_path):
    first, second = (write(tmp_path / name, HEAD, "d,i,0,sam,ann,7") for name in ("a.csv", "b.csv"))
    with pytest.raises(ValueError, match=r"once, got .*a.csv line 2 and .*b.csv line 2"):
        read_ratings([first, second])
    with pytest.raises(ValueError, match=r"a value for rater in .*c.csv line 2"):
        read_ratings([write(tmp_path / "c.csv", HEAD, "d,i,0,sam,,7")])


def test_means_and_intervals_are_those_of_scipy():
    values = [7, 9, 10, 4]
    (found,) = rate_methods(ratings("sam", values))
    assert (found.ratings, found.masks, found.mean) == (4, 4, 7.5)
    assert found.interval == pytest.approx(stats.t.interval(0.95, 3, 7.5, stats.sem(values)), abs=1e-12)
    assert found.histogram == [0, 0, 0, 1, 0, 0, 1, 0, 1, 1]


def test_a_mask_that_many_rated_counts_once():
    many = [Rating("d", "i0", "0", "sam", str(n), 10) for n in range(9)]
    (found,) = rate_methods([*many, Rating("d", "i1", "0", "sam", "ann", 2)])
    assert (found.ratings, found.masks, found.mean) == (10, 2, 6.0)
    assert sum(found.histogram) == 10


def test_perfect_masks_leave_no_doubt():
    (found,) = rate_methods(ratings("truth", [10] * 5))
    assert (found.mean, found.interval) == (10, (10, 10))


def test_two_methods_are_compared_on_the_masks_that_both_have():
    rng = np.random.default_rng(0)
    good = rng.integers(6, 11, 40)
    bad = np.clip(good - rng.integers(0, 4, 40), 1, 10)
    rows = [*ratings("bad", bad), *ratings("good", [*good, 1, 1]), *ratings("good", [3], dataset="e")]
    (found,) = compare_methods(rows, np.random.default_rng(1))
    assert (found.dataset, found.methods, found.masks) == ("d", ("good", "bad"), 40)
    assert found.difference == pytest.approx((good - bad).mean())
    assert found.p_value == pytest.approx(stats.ttest_rel(good, bad).pvalue)
    expected = stats.bootstrap((good - bad,), np.mean, confidence_level=0.99, method="percentile", rng=2)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval), abs=0.06)
    assert found.interval[0] > 0


def test_methods_alike_are_not_told_apart():
    rng = np.random.default_rng(0)
    rows = [*ratings("a", rng.integers(4, 9, 60)), *ratings("b", rng.integers(4, 9, 60))]
    (found,) = compare_methods(rows, np.random.default_rng(1))
    assert found.p_value > 0.05
    assert found.interval[0] < 0 < found.interval[1]


def test_a_difference_that_never_varies_has_no_p_value():
    (found,) = compare_methods([*ratings("a", [3, 4]), *ratings("b", [5, 6])], np.random.default_rng(0))
    assert (found.methods, found.difference, found.interval, found.p_value) == (("b", "a"), 2, (2, 2), None)


def test_raters_are_compared_on_what_others_saw_too():
    rows = [*ratings("sam", [5, 7, 9], "ann"), *ratings("sam", [6, 9], "bob"), *ratings("sam", [7], "cy")]
    found = {one.rater: one for one in rate_raters(rows)}
    assert found["ann"].above_others == pytest.approx(((5 - 6.5) + (7 - 9)) / 2)
    assert (found["ann"].ratings, found["ann"].mean) == (3, 7)
    assert rate_raters(ratings("sam", [5], "ann"))[0].above_others is None


def test_agreement_is_perfect_or_by_hand():
    assert agreement(ratings("sam", [5, 7])) is None
    same = agreement([*ratings("sam", [5, 7], "ann"), *ratings("sam", [5, 7], "bob")])
    assert (same.masks, same.difference, same.spread, same.alpha) == (2, 0, 0, 1)
    apart = agreement([*ratings("sam", [5, 7], "ann"), *ratings("sam", [6, 10], "bob")])
    assert apart.difference == pytest.approx(2)
    assert apart.spread == pytest.approx((0.5**0.5 + 4.5**0.5) / 2)
    assert agreement([*ratings("sam", [5], "ann"), *ratings("sam", [5], "bob")]).alpha is None


def test_alpha_is_what_its_definition_says():
    units = [[1, 2, 4], [7, 7], [3, 9], [5, 5, 6, 5]]
    values = [value for unit in units for value in unit]
    observed = sum((a - b) ** 2 / (len(u) - 1) for u in units for a, b in product(u, u)) / len(values)
    expected = sum((a - b) ** 2 for a, b in product(values, values)) / (len(values) * (len(values) - 1))
    assert krippendorff_alpha(units) == pytest.approx(1 - observed / expected)


def test_alpha_of_chance_is_near_nothing():
    rng = np.random.default_rng(0)
    assert abs(krippendorff_alpha(rng.integers(1, 11, (3000, 2)).tolist())) < 0.05


def test_an_audit_counts_pairs_above_each_bound():
    def bar(length):
        mask = np.zeros((4, 200), dtype=bool)
        mask[1, :length] = True
        return encode_rle(mask)

    found = audit([(bar(100), bar(other)) for other in (100, 95, 90, 76, 75, 10)])
    assert found.pairs == 6
    assert found.mean == pytest.approx((1 + 0.95 + 0.9 + 0.76 + 0.75 + 0.1) / 6)
    assert found.shares == pytest.approx((2 / 6, 4 / 6))  # 0.9 and 0.75 themselves are not above
    empty = encode_rle(np.zeros((4, 200), dtype=bool))
    assert audit([(empty, empty)]).mean == 1
    with pytest.raises(ValueError, match="got none"):
        audit([])
    with pytest.raises(ValueError, match="masks of one picture"):
        audit([(bar(3), encode_rle(np.ones((4, 4), dtype=bool)))])


def test_the_papers_differences_exclude_zero():
    assert all(low > 0 for pair in PAPER_DIFFERENCES.values() for low, _ in filter(None, pair))


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"cannot read no\.csv"):
        read_ratings([Path("no.csv")])
