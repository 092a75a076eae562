"""The annotator's other tools as a person uses them: a glance, a lasso, a finger, a file, everything."""

import numpy as np
import pytest
from browser import missing_browser, saved
from pictures import Drawing, draw, iou, pixels

pytestmark = [
    pytest.mark.skipif(missing_browser() is not None, reason=str(missing_browser())),
    pytest.mark.xdist_group("browser"),
    pytest.mark.slow,
]

SCENARIOS = "tools"


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    return {name: draw(480, 330, seed) for seed, name in enumerate(("hover", "lasso", "touch", "import", "everything"))}


def test_a_mask_shows_under_the_pointer_and_a_click_takes_it_without_asking_again(play, annotator, drawings):
    drawing = drawings["hover"]
    x, y = drawing.centre("disc")
    seen = play("hover", "hover", place=(x, y), inside=(x - 40, y - 20), outside=(460, 20), other=drawing.centre("box"))
    tinted, plain = np.abs(np.subtract(seen["shown"], seen["before"])).max(axis=1)
    assert tinted > 12
    assert plain == 0
    assert seen["draftsBeforeClick"] == 0
    assert seen["left"] == seen["before"]
    assert seen["asked"] == {"hover": 1, "click": 1, "elsewhere": 1}
    (annotation,) = saved(annotator, "hover")
    assert annotation["prompt"]["point_labels"] == [1]
    assert iou(pixels(annotation), drawing.disc) > 0.9


def test_a_lasso_takes_what_it_surrounds_and_with_alt_gives_it_back(play, annotator):
    """Exactly as drawn: the model has no part in it."""
    ring = [(100, 100), (300, 100), (300, 250), (100, 250), (100, 104)]
    hole = [(160, 140), (240, 140), (240, 210), (160, 210), (160, 144)]
    play("lasso", "lasso", ring=ring, hole=hole)
    (annotation,) = saved(annotator, "lasso")
    wanted = np.zeros((330, 480), bool)
    wanted[100:251, 100:301] = True
    wanted[140:211, 160:241] = False
    assert iou(pixels(annotation), wanted) > 0.97
    assert annotation["source"] == "manual"
    assert annotation["prompt"] == {}


def test_a_tap_adds_and_a_finger_that_rests_takes_away(play, annotator, drawings):
    drawing = drawings["touch"]
    seen = play("touch", "touch", place=drawing.centre("disc"), rest=(460, 310))
    assert seen["candidates"] == 3
    (annotation,) = saved(annotator, "touch")
    assert annotation["prompt"]["point_labels"] == [1, 0]
    places = [drawing.centre("disc"), (460, 310)]
    assert np.abs(np.subtract(annotation["prompt"]["point_coords"], places)).max() < 3
    assert iou(pixels(annotation), drawing.disc) > 0.9
