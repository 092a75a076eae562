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
