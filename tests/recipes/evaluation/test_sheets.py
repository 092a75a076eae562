import numpy as np
import pytest
from PIL import Image, ImageFont
from tests.eval.synthetic_eval import disk, picture

from opensam.recipes.evaluation.sheets import (
    ANSWER_COLOR,
    SIDE,
    TRUTH_COLOR,
    Row,
    Tile,
    case,
    fitting,
    sheet,
    write_sheet,
)

SIZE = (60, 80)
MASK = disk(SIZE, (40, 30), 12)


def has(pixels, color):
    return (pixels == color).all(axis=2).any()


def test_a_case_shows_outline_answer_and_clicks_around_the_mask():
    image = picture([MASK])
    drawn = case(image, MASK, disk(SIZE, (44, 30), 12), points=[(40, 30), (44, 32)], labels=[1, 0])
    assert max(drawn.shape[:2]) == SIDE
    assert has(drawn, TRUTH_COLOR)
    assert has(drawn, ANSWER_COLOR) or (drawn[..., 2].astype(int) - drawn[..., 0] > 60).any()
    whole = case(image, MASK, zoom=False)
    assert whole.shape[:2] == (SIDE * 3 // 4, SIDE)


def test_without_the_photograph_no_pixel_of_it_is_left():
    dark, bright = (np.full((*SIZE, 3), value, dtype=np.uint8) for value in (0, 255))
    plain = case(SIZE, MASK, MASK, box=(28, 18, 52, 42))
    assert not np.array_equal(case(dark, MASK, MASK), case(bright, MASK, MASK))
    assert has(plain, (214, 216, 219))
    assert has(plain, TRUTH_COLOR)


@pytest.mark.parametrize("mask", [disk(SIZE, (0, 0), 0), np.zeros(SIZE, bool), np.ones(SIZE, bool)])
def test_tiny_empty_and_whole_masks_can_be_shown(mask):
    assert max(case(picture([MASK]), mask, mask).shape[:2]) == SIDE


def test_a_sheet_has_a_column_per_tile_and_a_row_per_row(tmp_path):
    tile = Tile(np.full((50, 100, 3), 7, dtype=np.uint8), "a\nb")
    page = sheet([Row([tile, tile, tile], "first"), Row([tile])])
    assert page.shape[1] == 10 + 3 * (SIDE + 10)
    assert page.shape[0] > 2 * SIDE
    assert page[:, -20:].std() > 0
    write_sheet(tmp_path / "new" / "sheet.jpg", [Row([tile])])
    with Image.open(tmp_path / "new" / "sheet.jpg") as image:
        assert image.width == 20 + SIDE


def test_words_that_are_too_long_end_in_dots():
    font = ImageFont.load_default(13)
    text = fitting("a very long name of a data set" * 3, font, 100)
    assert text.endswith("...")
    assert font.getlength(text) <= 100
    assert fitting("short", font, 100) == "short"


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match="got none"):
        sheet([Row([])])
