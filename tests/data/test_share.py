"""A share of a data set."""

import pytest

from opensam.data.dataset import Share
from opensam.data.mixture import open_mixture
from opensam.data.synthetic import Synthetic


def names(share: float, count: int = 200) -> set[str]:
    part = Share(Synthetic(count), share)
    return {part.key(i) for i in range(len(part))}


def test_a_larger_share_has_all_of_a_smaller_one() -> None:
    assert [len(names(share)) for share in (0.01, 0.1, 1.0)] == [2, 20, 200]
    assert names(0.01) < names(0.1) < names(1.0)
    assert names(0.1) == names(0.1)
    assert len(names(0.001)) == 1, "never nothing"


def test_a_share_reads_what_the_whole_has_under_that_name() -> None:
    whole = Synthetic(9)
    part = Share(whole, 0.2)
    source = part.read(1)
    assert source == whole.read(int(source.name))
    assert (part.key(1), part.picture(1), part.masks(1)) == (source.name, source.picture, source.masks)


def test_a_mixture_takes_the_share_of_each_data_set() -> None:
    mixture = open_mixture(["synthetic:40", "synthetic:10:1"], 1.0, share=0.1)
    assert [len(dataset) for dataset in mixture.datasets] == [4, 1]
    assert mixture.weights == pytest.approx([0.8, 0.2])
