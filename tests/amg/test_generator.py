import numpy as np
import pytest
import torch
from oracle import Blobs, Oracle, assert_records, draw, plainly

from opensam.amg import PRESETS, AmgConfig, MaskGenerator
from opensam.amg import candidates as candidates_module
from opensam.image import ImageError
from opensam.masks import encode_rle
from opensam.predictor import Predictor

BOXES = [(16, 16, 96, 64), (120, 40, 200, 160), (40, 100, 100, 180)]
SIZE = (208, 256)


@pytest.fixture
def oracle():
    return Oracle()


def generate(sam, picture, **settings):
    return MaskGenerator(Predictor(sam), **settings).generate(picture)


def test_a_picture_that_was_embedded_is_not_embedded_again(oracle, monkeypatch):
    predictor, picture = Predictor(oracle), draw(SIZE, BOXES)
    generator = MaskGenerator(predictor, points_per_side=8)
    expected, embedding = generator.generate(picture), predictor.embed(picture)
    monkeypatch.setattr(Predictor, "embed", None)
    assert generator.generate(picture, embedding=embedding) == expected
    with pytest.raises(ValueError, match=r"expected the picture that was embedded, \(208, 256\), got \(256, 208\)"):
        generator.generate(np.ascontiguousarray(picture.transpose(1, 0, 2)), embedding=embedding)


# ---- the truth is found ------------------------------------------------------------------------------------


def test_every_shape_and_the_ground_are_found_once(oracle):
    records = generate(oracle, draw(SIZE, BOXES), points_per_side=8)
    found = {tuple(record.bbox) for record in records}
    assert found == {(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in BOXES} | {(0, 0, 256, 208)}
    assert len(records) == 4
    assert [record.id for record in records] == [0, 1, 2, 3]
    for record in records:
        x, y = record.point_coords[0]
        assert record.mask[int(y), int(x)]
        assert record.area == record.mask.sum()
        assert record.predicted_iou == pytest.approx(0.95)
        assert record.crop_box == [0, 0, 256, 208]


def test_only_prompts_with_a_hope_are_drawn(oracle):
    generate(oracle, draw(SIZE, BOXES), points_per_side=4, pred_iou_thresh=0.96)
    assert oracle.counts == {"asked": 16}


def test_a_picture_without_masks_gives_no_records(oracle):
    assert generate(oracle, draw(SIZE, BOXES), pred_iou_thresh=0.99, points_per_side=2) == []


def test_the_predicted_iou_must_be_higher_than_the_threshold(oracle):
    exactly = float(torch.tensor(0.95))
    assert generate(oracle, draw(SIZE, BOXES), points_per_side=2, pred_iou_thresh=exactly) == []
    assert generate(oracle, draw(SIZE, BOXES), points_per_side=2, pred_iou_thresh=0.949)


def test_masks_over_almost_the_whole_picture_go_where_that_is_asked(oracle):
    empty = draw(SIZE, [])
    assert len(generate(oracle, empty, points_per_side=2)) == 1
    assert generate(oracle, empty, points_per_side=2, max_area_fraction=0.95) == []
    assert len(generate(oracle, draw(SIZE, BOXES), points_per_side=8, max_area_fraction=0.95)) == 4


def test_small_islands_go_and_a_mask_of_them_alone_goes_only_where_that_is_asked(oracle):
    picture = draw(SIZE, [(16, 16, 96, 64), (204, 20, 212, 28)])
    picture[100:104, 200:204] = picture[20, 20]  # an island of the first shape: 16 pixels, fewer by interpolation
    settings = {"point_grids": [[(0.1, 0.12), (0.81, 0.115)]], "stability_score_thresh": 0.1, "box_nms_thresh": 1.0}

    def boxes(**more):
        return [record.bbox for record in generate(oracle, picture, **settings, **more)]

    assert boxes() == [[16, 16, 188, 88], [204, 20, 8, 8]]
    assert boxes(min_mask_region_area=100) == [[16, 16, 80, 48], [204, 20, 8, 8]]
    assert boxes(min_mask_region_area=100, drop_small_masks=True) == [[16, 16, 80, 48]]


def test_a_shape_that_a_crop_cuts_is_found_in_the_whole_picture_only(oracle):
    picture = draw((256, 256), [(96, 96, 160, 160), (16, 16, 56, 56)])
    records = generate(oracle, picture, points_per_side=8, crop_n_layers=1, crop_overlap_ratio=0.0)
    of_box = {tuple(record.bbox): record for record in records}
    assert of_box[96, 96, 64, 64].crop_box == [0, 0, 256, 256]  # every crop ends in its middle
    assert of_box[16, 16, 40, 40].crop_box == [0, 0, 128, 128]  # the most enlarged one stays
    assert len(records) == 3


# ---- exactly the official masks ----------------------------------------------------------------------------

CASES = {
    "whole picture": {},
    "hardly a filter": {"pred_iou_thresh": 0.01, "stability_score_thresh": 0.01, "box_nms_thresh": 0.95},
    "crops": {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "points_per_side": 4},
    "small regions": {"min_mask_region_area": 60, "stability_score_thresh": 0.3},
    "crops and small regions": {"crop_n_layers": 1, "min_mask_region_area": 150, "stability_score_thresh": 0.3},
    "another offset": {"stability_score_offset": 0.3, "stability_score_thresh": 0.8},
}
SETTINGS = {"points_per_side": 5, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.6, "box_nms_thresh": 0.6}


@pytest.mark.parametrize("size", [(150, 200), (40, 60), (330, 290)])
@pytest.mark.parametrize("case", CASES)
def test_records_are_those_of_the_official_steps_bit_for_bit(size, case):
    sam, picture, config = Blobs(), draw(size, []), AmgConfig(**SETTINGS | CASES[case])
    expected = plainly(sam, picture, config)
    assert_records(generate(sam, picture, config=config), expected)
    assert len(expected) > 3


def test_strips_of_a_mask_are_put_together(monkeypatch):
    whole = generate(Blobs(), draw((150, 200), []), **SETTINGS)
    monkeypatch.setattr("opensam.geometry.STRIP_PIXELS", 150 * 7)
    assert generate(Blobs(), draw((150, 200), []), **SETTINGS) == whole
    assert len(whole) > 3


def test_batches_do_not_change_the_masks():
    one, many = (generate(Blobs(), draw((150, 200), []), points_per_batch=number, **SETTINGS) for number in (1, 64))
    assert one == many
    assert len(one) > 3


def test_a_trained_kind_of_model_gives_its_own_masks(make_sam):
    sam, picture = make_sam(0).float(), draw(SIZE, BOXES)
    config = AmgConfig(points_per_side=3, pred_iou_thresh=-9, stability_score_thresh=0.3, box_nms_thresh=0.95)
    expected = plainly(sam, picture, config)
    records = generate(sam, picture, config=config)
    assert [record.bbox[:2] for record in records] == [list(one.box[:2]) for one in expected]
    assert records


def test_the_same_picture_gives_the_same_records():
    first, second = (generate(Blobs(), draw(SIZE, []), object_aware=True, **SETTINGS) for _ in range(2))
    assert first == second
    assert len(first) > 3


# ---- object-aware ------------------------------------------------------------------------------------------


def test_object_aware_finds_the_same_with_a_part_of_the_clicks(oracle):
    picture = draw(SIZE, BOXES)
    everything = generate(oracle, picture, points_per_side=16)
    asked = oracle.counts.pop("asked")
    records = generate(oracle, picture, points_per_side=16, object_aware=True)
    assert {str(record.segmentation) for record in records} == {str(record.segmentation) for record in everything}
    assert 0 < oracle.counts["asked"] <= asked / 4


def test_points_are_ordered_from_coarse_to_fine():
    grid = AmgConfig(points_per_side=8).grid(0)
    order = candidates_module.coarse_to_fine(grid)
    assert sorted(order) == list(range(64))
    for number in (4, 16):  # the first 1 + 4 + ... points have one in each cell of 2 x 2, 4 x 4
        side = round(number**0.5)
        cells = {tuple(cell) for cell in np.floor(grid[order[:number]] * side).astype(int).tolist()}
        assert len(cells) == number
    assert candidates_module.coarse_to_fine(np.zeros((3, 2))).tolist() == [0, 1, 2]
    assert candidates_module.coarse_to_fine(np.zeros((0, 2))).tolist() == []


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points_per_sides": 3}, "points_per_sides"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": None}, "expected points_per_side or point_grids"),
        ({"point_grids": [[(0.5, 0.5)]], "crop_n_layers": 1}, "expected 2 point_grids"),
        ({"point_grids": [[(50, 0.5)]]}, "divide by the width"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(oracle, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        MaskGenerator(Predictor(oracle), **settings)
    assert "\n" not in str(caught.value)


def test_what_is_no_picture_is_refused(oracle):
    with pytest.raises(ImageError, match="cannot read"):
        MaskGenerator(Predictor(oracle)).generate(b"nothing")


def test_settings_by_name_go_before_those_of_a_config(oracle):
    generator = MaskGenerator(Predictor(oracle), PRESETS["sa1b"], points_per_side=4)
    assert generator.config == PRESETS["sa1b"].model_copy(update={"points_per_side": 4})


def test_without_settings_a_model_has_those_that_suit_it(oracle):
    assert MaskGenerator(Predictor(oracle)).config == PRESETS["official"]
    oracle.name = "opensam_tiny"
    assert MaskGenerator(Predictor(oracle)).config == PRESETS["tiny"] != PRESETS["official"]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_pictures_of_a_few_pixels_work(oracle, size):
    records = generate(oracle, draw(size, []), points_per_side=2, crop_n_layers=2)
    assert encode_rle(np.ones(size, dtype=bool)) in [record.segmentation for record in records]
