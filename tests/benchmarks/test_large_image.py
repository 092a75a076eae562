"""The benchmark of large pictures, in small: every mask comes back, in memory that does not grow with the picture."""

from pathlib import Path

import pytest

from benchmarks import large_image


def test_every_disc_of_a_picture_comes_back_in_little_memory(tmp_path: Path) -> None:
    options = large_image.parse(["--pixels=3500", f"--out={tmp_path}"])
    alone, tiles = (large_image.in_own_process(side, 3500, options) for side in large_image.SIDES)
    assert tiles["drawn"] == tiles["found"] == tiles["exact"] > 30
    # One mask unpacked in the frame of the picture is 12 MiB, all of them 400.
    assert tiles["peak_mib"] - alone["peak_mib"] < 100
    _, text = large_image.summary({3500: {"picture alone": [alone], "tiles": [tiles]}}, options)
    assert "| 3500 x 3500 | 25 |" in text
    with pytest.raises(ValueError, match="masks as drawn"):
        large_image.summary({3500: {"picture alone": [alone], "tiles": [tiles | {"exact": 3}]}}, options)
