import numpy as np
import pytest

from opensam.view import BACKGROUND_COLOR, BOX_COLOR, FOREGROUND_COLOR, PALETTE, overlay

IMAGE = np.random.default_rng(0).integers(60, 190, (300, 400, 3), np.uint8)


def disc(x: float, y: float, radius: float, size: tuple[int, int] = (300, 400)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def nearer(before: np.ndarray, after: np.ndarray, color: tuple[int, int, int]) -> bool:
    """Whether every pixel moved towards a colour."""
    return bool((np.abs(after - np.array(color, float)) <= np.abs(before - np.array(color, float))).all())


def test_nothing_to_draw_is_a_copy():
    drawn = overlay(IMAGE)
    assert (drawn == IMAGE).all()
    assert not np.shares_memory(drawn, IMAGE)


def test_a_mask_is_tinted_inside_and_leaves_the_rest_alone():
    mask = disc(200, 150, 60)
    before = IMAGE.copy()
    drawn = overlay(IMAGE, mask)
    assert (before == IMAGE).all()
    assert drawn.dtype == np.uint8
    inside, outside = disc(200, 150, 50), ~disc(200, 150, 70)
    assert nearer(IMAGE[inside], drawn[inside], PALETTE[0])
    assert (drawn[inside].std(axis=0) > 10).all(), "the picture shows through"
    assert (drawn[outside] == IMAGE[outside]).all()


def test_the_outline_is_the_colour_of_the_mask():
    drawn = overlay(IMAGE, disc(200, 150, 60))
    for x, y in ((260, 150), (140, 150), (200, 90), (200, 210)):
        patch = drawn[y - 2 : y + 3, x - 2 : x + 3].astype(float)
        assert np.abs(patch - PALETTE[0]).sum(axis=-1).min() < 40


def test_several_masks_have_several_colours():
    masks = np.stack([disc(80 + 120 * n, 150, 40) for n in range(3)])
    drawn = overlay(IMAGE, masks, colors=PALETTE[:2])
    for n, mask in enumerate(masks):
        centre = mask & disc(80 + 120 * n, 150, 30)
        assert nearer(IMAGE[centre], drawn[centre], PALETTE[n % 2])


def test_where_the_picture_cuts_a_mask_there_is_no_outline():
    drawn = overlay(np.full((50, 70, 3), 120, np.uint8), np.ones((50, 70)))
    assert (drawn == drawn[0, 0]).all()


def test_an_empty_mask_draws_nothing():
    assert (overlay(IMAGE, np.zeros((2, 300, 400))) == IMAGE).all()


def test_a_large_mask_is_drawn_as_a_small_one():
    # taller than the band of rows that is mixed at a time
    tall = np.full((900, 40, 3), 120, np.uint8)
    drawn = overlay(tall, np.ones((900, 40)))
    assert (drawn == drawn[0, 0]).all()
    assert (drawn != tall).any()


@pytest.mark.parametrize(("label", "color"), [(1, FOREGROUND_COLOR), (0, BACKGROUND_COLOR)])
def test_a_click_is_a_coloured_disc_with_a_white_sign(label, color):
    drawn = overlay(IMAGE, points=[(200, 150)], labels=[label])
    assert (drawn[150, 200] == 255).all()
    vertical = drawn[147, 200]
    assert (vertical == (255 if label else color)).all()
    assert (drawn[147, 203] == color).all()
    assert (drawn[disc(200, 150, 20)] != IMAGE[disc(200, 150, 20)]).any()
    assert (drawn[~disc(200, 150, 20)] == IMAGE[~disc(200, 150, 20)]).all()


def test_clicks_are_foreground_when_the_labels_are_left_out_and_padding_is_not_drawn():
    assert (overlay(IMAGE, points=[(20, 30)]) == overlay(IMAGE, points=[(20, 30)], labels=[1])).all()
    assert (overlay(IMAGE, points=[(20, 30)], labels=[-1]) == IMAGE).all()


def test_boxes_are_frames():
    drawn = overlay(IMAGE, boxes=(50, 60, 250, 200))
    for x, y in ((150, 60), (150, 200), (50, 130), (250, 130)):
        assert (drawn[y, x] == BOX_COLOR).all()
    assert (drawn[70:190, 60:240] == IMAGE[70:190, 60:240]).all()
    assert (overlay(IMAGE, boxes=[(50, 60, 250, 200)]) == drawn).all()
    assert (overlay(IMAGE, boxes=np.zeros((0, 4))) == IMAGE).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (8, 5)])
def test_pictures_of_any_size_can_be_drawn_on(size):
    height, width = size
    drawn = overlay(
        np.zeros((*size, 3), np.uint8),
        np.ones(size),
        points=[(0, 0), (width, height)],
        labels=[0, 1],
        boxes=(-5, -5, width + 5, height + 5),
    )
    assert drawn.shape == (*size, 3)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(300, 400\), got \(400, 300\)"):
        overlay(IMAGE, np.ones((400, 300)))
