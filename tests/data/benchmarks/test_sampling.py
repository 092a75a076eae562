"""Which pictures of a large data set are measured."""

import pytest
from tests.data.benchmarks.kinds import box

from opensam.data.benchmarks import sampled
from opensam.data.dataset import InMemory, Source
from opensam.masks import Rle, encode_rle

MASK = encode_rle(box(1, 1, 2, 2))


class Counted(InMemory):
    """Pictures with so many masks; a negative number cannot be read. Counts what is read."""

    def __init__(self, counts: list[int]) -> None:
        sources = [Source("farm", str(i), b"", (MASK,) * max(count, 0)) for i, count in enumerate(counts)]
        super().__init__("farm", sources)
        self.counts, self.reads = counts, 0

    def masks(self, i: int) -> tuple[Rle, ...]:
        self.reads += 1
        if self.counts[i] < 0:
            raise ValueError("damaged")
        return super().masks(i)


def total(data: Counted, rows: list[int]) -> int:
    return sum(max(data.counts[row], 0) for row in rows)


def test_a_small_data_set_stays_whole_but_for_pictures_without_masks() -> None:
    data = Counted([3, 0, 2, 10])
    assert list(sampled(data, masks=10, above=15).rows) == [0, 2, 3]


def test_a_large_one_is_cut_at_the_picture_that_reaches_the_number() -> None:
    data = Counted([3] * 100)
    part = sampled(data, masks=100, above=150)
    assert part.name == "farm"
    assert list(part.rows) == sorted(set(part.rows))
    assert total(data, list(part.rows)) == 102
    assert data.reads == 51, "no more is read than decides it"


def test_the_seed_decides_and_nothing_else() -> None:
    draws = [list(sampled(Counted([2] * 50), masks=20, seed=seed, above=30).rows) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert {len(rows) for rows in draws} == {10}


def test_pictures_that_cannot_be_read_stay_in_to_be_reported() -> None:
    assert list(sampled(Counted([1, -1, 0, 1]), masks=10, above=15).rows) == [0, 1, 3]


def test_a_picture_with_everything_is_enough() -> None:
    data = Counted([1000])
    assert list(sampled(data, masks=10, above=15).rows) == [0]


def test_the_papers_numbers_are_the_usual_ones() -> None:
    assert len(sampled(Counted([100] * 150))) == 150
    assert len(sampled(Counted([100] * 151))) == 100


def test_a_number_that_cannot_be_is_refused() -> None:
    for masks in (0, 16):
        with pytest.raises(ValueError, match=f"from 1 to 15 to sample, got {masks}"):
            sampled(Counted([1]), masks=masks, above=15)
