"""Objects cut by tiles come back whole; the generator draws the connected regions of what it sees."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from opensam import image
from opensam.amg.tiles import TilesConfig, cut_tiles, generate_tiled
from opensam.records import MaskRecord

CONFIG = TilesConfig(tile_size=64, overlap=16, overview=False)


def mask_records(masks, scores=None):
    return [
        MaskRecord.from_mask(
            mask, number, predicted_iou=scores[number] if scores else 0.9, stability_score=0.95, point_coords=[(1, 2)]
        )
        for number, mask in enumerate(masks)
    ]


class Regions:
    """One mask for each connected region brighter than black, from the top down; remembers what it saw."""

    def __init__(self):
        self.seen = []

    def generate(self, picture):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        self.seen.append(picture.shape[:2])
        count, labels = cv2.connectedComponents((picture[..., 0] > 127).astype(np.uint8), connectivity=8)
        return mask_records([labels == label for label in range(1, count)])


class Answers:
    """Given masks, one list for each tile in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def generate(self, picture):
        return self.answers.pop(0)


def canvas(height=160, width=208):
    return np.zeros((height, width), np.uint8)


def expected(picture):
    """The masks that the generator draws when it sees everything, in any order."""
    return {record.segmentation["counts"]: record for record in Regions().generate(np.dstack([picture] * 3))}


def assert_found(picture, config=CONFIG):
    records = generate_tiled(Regions(), picture, config)
    whole = expected(picture)
    assert sorted(record.segmentation["counts"] for record in records) == sorted(whole)
    for record in records:
        same = whole[record.segmentation["counts"]]
        assert (record.bbox, record.area, record.segmentation) == (same.bbox, same.area, same.segmentation)
        assert record.predicted_iou == pytest.approx(0.9)
        assert record.stability_score == pytest.approx(0.95)
    assert [record.id for record in records] == list(range(len(records)))
    return records


@pytest.mark.parametrize(
    ("center", "axes", "tiles"),
    [((30, 30), (12, 9), 1), ((56, 30), (25, 9), 2), ((56, 56), (25, 22), 4), ((80, 80), (60, 55), 9)],
)
def test_an_object_over_several_tiles_is_one_mask(center, axes, tiles):
    picture = cv2.ellipse(canvas(), center, axes, 20, 0, 360, 255, -1)
    (record,) = assert_found(picture)
    assert len(record.point_coords) == tiles
    x, y, width, height = record.crop_box
    assert (width > 64) + (height > 64) == {1: 0, 2: 1, 4: 2, 9: 2}[tiles]
    assert x <= center[0] < x + width
    assert y <= center[1] < y + height


@pytest.mark.parametrize("row", [0, 47, 48, 52, 55, 63, 64, 95, 159])
@pytest.mark.parametrize("thick", [1, 3])
def test_a_thin_object_along_a_border_is_one_mask(row, thick):
    picture = canvas()
    picture[row : row + thick, 3:200] = 255
    assert_found(picture)
    assert_found(np.ascontiguousarray(picture.T))


@pytest.mark.parametrize("size", [(64, 65), (65, 64), (100, 97), (112, 112), (113, 300), (20, 200), (200, 7)])
def test_the_picture_need_not_be_a_multiple_of_the_tile(size):
    picture = canvas(*size)
    rng = np.random.default_rng(sum(size))
    for _ in range(9):
        center, radius = rng.integers(0, size[::-1]).tolist(), int(rng.integers(2, 30))
        picture = cv2.circle(picture, center, radius, 255, -1)
        picture = cv2.circle(picture, center, radius + 3, 0, 3)  # apart from what was there
    picture[picture.nonzero()] = 255
    records = generate_tiled(Regions(), picture, CONFIG)
    drawn = np.zeros_like(picture, bool)
    for record in records:
        drawn |= record.mask
    np.testing.assert_array_equal(drawn, picture > 0)


def test_what_two_tiles_show_comes_once():
    picture = canvas()
    picture[50:60, 50:60] = 255  # in the overlap of four tiles
    picture[100:104, 50:60] = 255
    assert len(assert_found(picture)) == 2


def test_objects_that_touch_do_not_join_where_the_tiles_disagree():
    left, right = np.zeros((2, 64, 64), bool)
    left[20:40, 10:54] = True  # in the picture up to column 54
    right[20:40, 6:50] = True  # from there on
    records = generate_tiled(Answers(mask_records([left]), mask_records([right])), canvas(64, 112), CONFIG)
    assert sorted(record.bbox for record in records) == [[10, 20, 44, 20], [54, 20, 44, 20]]


def test_a_part_does_not_join_the_whole_that_the_overlap_cannot_tell_from_it():
    whole, part, other_whole, other_part = np.zeros((4, 64, 64), bool)
    whole[20:40, 4:] = part[20:40, 34:] = other_whole[20:40, :60] = other_part[20:40, :30] = True
    answers = Answers(mask_records([part, whole], [0.8, 0.9]), mask_records([other_whole, other_part], [0.9, 0.8]))
    records = generate_tiled(answers, canvas(64, 112), CONFIG)
    assert [record.bbox for record in records] == [[4, 20, 104, 20], [34, 20, 44, 20]]


def test_what_a_tile_cuts_is_left_to_the_tile_that_shows_it_whole():
    piece, whole = np.zeros((2, 64, 64), bool)
    piece[20:40, 50:] = True
    whole[28:34, 3:30] = True  # disagrees, but only this tile can know
    records = generate_tiled(Answers(mask_records([piece]), mask_records([whole])), canvas(64, 112), CONFIG)
    assert [record.bbox for record in records] == [[51, 28, 27, 6]]
    assert records[0].crop_box == [48, 0, 64, 64]
    assert records[0].point_coords == [[49, 2]]


def test_scores_of_joined_masks_are_means_by_area():
    left, right = np.zeros((2, 64, 64), bool)
    left[20:40, 4:] = right[20:40, :20] = True
    answers = Answers(mask_records([left], [0.9]), mask_records([right], [0.7]))
    (record,) = generate_tiled(answers, canvas(64, 112), CONFIG)
    assert record.bbox == [4, 20, 64, 20]
    assert record.predicted_iou == pytest.approx((60 * 0.9 + 20 * 0.7) / 80)
    assert record.point_coords == [[1, 2], [49, 2]]


@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_of_two_whole_masks_the_better_one_stays_and_masks_come_by_score(turn):
    one, same, other = np.zeros((3, 64, 64), bool)
    one[0:40, 50:60] = same[0:39, 2:12] = other[50:, 40:] = True  # the border of the picture cuts nothing
    answers = Answers(mask_records([turn(one)], [0.8]), mask_records([turn(same), turn(other)], [0.85, 0.95]))
    records = generate_tiled(answers, turn(canvas(64, 112)), CONFIG)
    assert [record.predicted_iou for record in records] == [0.95, 0.85]
    boxes = [[88, 50, 24, 14], [50, 0, 10, 39]]
    if turn is np.transpose:
        boxes = [[y, x, height, width] for x, y, width, height in boxes]
    assert [record.bbox for record in records] == boxes


def test_a_picture_that_fits_a_tile_gives_what_the_generator_gives():
    picture = cv2.circle(np.zeros((64, 50, 3), np.uint8), (20, 20), 9, (255, 255, 255), -1)
    generator = Regions()
    assert generate_tiled(generator, picture, TilesConfig(tile_size=64, overlap=16)) == Regions().generate(picture)
    assert generator.seen == [(64, 50)]


def test_the_overview_finds_what_no_tile_shows_and_nothing_else():
    class Blind(Regions):
        """Sees an object only as a whole, never a part that reaches the border."""

        def generate(self, picture):
            inside = [one for one in super().generate(picture) if not one.mask[[0, -1]].any()]
            return [one for one in inside if not one.mask[:, [0, -1]].any()]

    picture = cv2.circle(canvas(256, 320), (150, 128), 90, 255, -1)
    picture = cv2.circle(picture, (290, 40), 8, 255, -1)
    assert len(generate_tiled(Blind(), picture, CONFIG)) == 1
    small, large = generate_tiled(Blind(), picture, CONFIG.model_copy(update={"overview": True}))
    assert small.bbox == [282, 32, 17, 17]
    assert large.crop_box == [0, 0, 320, 256]
    np.testing.assert_allclose(large.point_coords, [[5, 10]], rtol=0.01)  # where in the small picture it is (1, 2)
    truth = picture.copy()
    truth[:, 260:] = 0
    overlap = np.count_nonzero(large.mask & (truth > 0)) / np.count_nonzero(large.mask | (truth > 0))
    assert overlap > 0.95


def test_the_overview_adds_nothing_to_what_the_tiles_show():
    picture = cv2.circle(canvas(256, 320), (150, 128), 90, 255, -1)
    assert_found(picture, CONFIG.model_copy(update={"overview": True}))


def test_nothing_in_the_picture_gives_no_masks():
    assert generate_tiled(Regions(), canvas(), TilesConfig(tile_size=64, overlap=16)) == []


def test_files_and_arrays_on_disk_give_the_same_masks(tmp_path):
    picture = cv2.ellipse(canvas(), (80, 80), (60, 55), 20, 0, 360, 255, -1)
    image.write_png(tmp_path / "picture.png", picture)
    stored = np.memmap(tmp_path / "picture.raw", np.uint8, "w+", shape=picture.shape)
    stored[:] = picture
    given = [picture, np.dstack([picture] * 3), picture > 0, stored, tmp_path / "picture.png"]
    first, *others = [generate_tiled(Regions(), source, CONFIG) for source in given]
    assert all(records == first for records in others)


def test_a_file_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path):
    image.write_png(tmp_path / "picture.png", canvas())
    with pytest.raises(ValueError, match="at most 1000 pixels, got 208 x 160"):
        generate_tiled(Regions(), tmp_path / "picture.png", TilesConfig(max_pixels=1000))


@pytest.mark.parametrize("bad", [np.zeros((3, 4, 5, 6), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(9, np.uint8)])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match="expected a picture as array of shape"):
        generate_tiled(Regions(), bad)


def test_an_overlap_of_more_than_half_a_tile_is_refused():
    with pytest.raises(ValueError, match="overlap of at most half a tile"):
        TilesConfig(tile_size=64, overlap=33)


@pytest.mark.parametrize("length", range(64, 300, 7))
def test_tiles_cover_the_picture_and_overlap_enough(length):
    tiles = cut_tiles((40, length), CONFIG)
    assert tiles[0][0] == 0
    assert tiles[-1][2] == length
    assert all(box[1] == 0 and box[3] == 40 and box[2] - box[0] == 64 for box in tiles)
    assert all(left[2] - right[0] >= 16 for left, right in pairwise(tiles))
