"""What the browser's twins of geometry and masks are held to is still what Python gives."""

import json
import runpy
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "web" / "test" / "golden.py"


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip("web/ is not part of this installation")
    return runpy.run_path(str(GOLDEN))


@pytest.mark.parametrize("name", ["resize.json", "rle.json", "clean.json", "upscale.json"])
def test_python_still_gives_the_vectors_that_typescript_is_held_to(golden, name):
    kept = json.loads((GOLDEN.parent / "golden" / name).read_text())
    assert json.loads(json.dumps(golden["FILES"][name]())) == kept


def test_the_vectors_round_halves_and_meet_sides_of_one_pixel(golden):
    ratios = [side * size / max(shape) for shape, size in golden["SIZES"] for side in shape]
    assert any(ratio % 1 == 0.5 for ratio in ratios)
    assert any(ratio < 0.5 for ratio in ratios)
    assert any(1 in shape for shape, _ in golden["SIZES"])
