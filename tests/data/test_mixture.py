"""Drawing from several data sets, and what happens with samples that cannot be used."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.data.layouts import MASK, picture, record, write_shard

from opensam.data.mixture import Mixture, Source, open_mixture
from opensam.data.sa1b import list_shards, read_shard
from opensam.masks import encode_rle


def source(name: str = "a", **changes: object) -> Source:
    whole = {"dataset": "one", "name": name, "picture": picture(), "masks": (encode_rle(MASK),)}
    return Source(**(whole | changes))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two data sets, one of them in two tars."""
    for shard, names in (("farm-000", "abc"), ("farm-001", "de"), ("city", "abcd")):
        members = {}
        for name in names:
            members |= {f"{name}.png": picture(), f"{name}.json": record(name)}
        write_shard(tmp_path / f"{shard}.tar", members)
    return tmp_path


def drawn(mixture: Mixture, draws: int = 40) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    return [(got.dataset, got.name) for got in (mixture.draw(rng) for _ in range(draws))]


def test_tars_are_drawn_as_if_they_were_in_memory(shards: Path) -> None:
    pairs = [pair for shard in list_shards(shards) for pair in read_shard(shard)]
    masks = {(p.dataset, p.name): tuple(a.segmentation for a in p.record.annotations) for p in pairs}
    in_memory = Mixture([Source(p.dataset, p.name, p.picture, masks[p.dataset, p.name]) for p in pairs], 0.5)
    on_disk = open_mixture([str(shards)], 0.5)
    assert len(on_disk) == len(in_memory) == 9
    rngs = np.random.default_rng(1), np.random.default_rng(1)
    assert [on_disk.draw(rngs[0]) for _ in range(30)] == [in_memory.draw(rngs[1]) for _ in range(30)]


def test_threads_draw_what_one_alone_draws(shards: Path) -> None:
    mixture = open_mixture([str(shards)], 0.5)
    alone = [mixture.draw(np.random.default_rng(seed)) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: mixture.draw(np.random.default_rng(seed)), range(64)))
    assert together == alone


def test_the_order_of_specs_changes_nothing(shards: Path) -> None:
    both = [str(shards / "city.tar"), str(shards / "farm-000.tar")]
    assert drawn(open_mixture(both, 0.5)) == drawn(open_mixture(both[::-1], 0.5))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_weight_is_a_factor_on_what_a_data_set_weighs_without(shards: Path, power: float) -> None:
    plain = open_mixture([str(shards / "city.tar"), str(shards / "farm-000.tar")], power).weights
    city, farm = open_mixture([f"{shards}/city.tar@2.5", str(shards / "farm-000.tar")], power).weights
    assert city / farm == pytest.approx(2.5 * plain[0] / plain[1])


BROKEN = {
    "no picture": ({"picture": b"hello"}, "cannot read"),
    "cut short": ({"picture": picture()[:-40]}, "cannot read"),
    "another size": ({"masks": (encode_rle(MASK[:-1]),)}, "picture's size"),
    "damaged runs": ({"masks": ({"size": list(MASK.shape), "counts": "1"},)}, "fill its size"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_bad_sample_is_passed_over_and_listed_once(broken: str) -> None:
    changes, reason = BROKEN[broken]
    mixture = Mixture([source("good"), source("bad", **changes)], 0.5)
    assert drawn(mixture) == [("one", "good")] * 40
    assert list(mixture.skipped) == [("one", "bad")]
    assert reason in mixture.skipped["one", "bad"]


def test_what_is_drawn_in_place_of_a_bad_sample_depends_on_the_seed_alone() -> None:
    sources = [source(name, **({"picture": b""} if name in "bd" else {})) for name in "abcde"]
    assert drawn(Mixture(sources, 0.5)) == drawn(Mixture(sources, 0.5))
    used = Mixture(sources, 0.5)
    drawn(used, 100)
    assert drawn(used) == drawn(Mixture(sources, 0.5)), "what is known to be bad is passed over in the same way"


def test_when_nothing_can_be_read_there_is_one_error() -> None:
    mixture = Mixture([source("bad", picture=b"")], 0.5)
    with pytest.raises(ValueError, match=r"100 in a row.*bad of one: cannot read"):
        mixture.draw(np.random.default_rng(0))


def test_a_file_that_goes_away_during_a_run_is_a_bad_sample(shards: Path) -> None:
    mixture = open_mixture([str(shards)], 0.5)
    (shards / "city.tar").unlink()
    assert {dataset for dataset, _ in drawn(mixture)} == {"farm"}
    assert {dataset for dataset, _ in mixture.skipped} == {"city"}


def test_a_drawn_picture_is_decoded_once_and_not_kept() -> None:
    kept = source()
    got = Mixture([kept], 0.5).draw(np.random.default_rng(0))
    assert got.rgb is got.rgb
    assert got.rgb.shape == (*MASK.shape, 3)
    assert "rgb" in vars(got), "the draw has decoded it"
    assert "rgb" not in vars(kept)
