import inspect

import numpy as np
import pytest
from pycocotools import mask as coco
from tests.amg.oracle import Blobs, draw, plainly

from opensam.amg import AmgConfig
from opensam.compat import SamAutomaticMaskGenerator

SIZE = (150, 200)
SETTINGS = {
    "points_per_side": 4,
    "pred_iou_thresh": 0.3,
    "stability_score_thresh": 0.5,
    "crop_n_layers": 1,
    "min_mask_region_area": 40,
}


def test_the_signature_is_the_official_one():
    parameters = dict(inspect.signature(SamAutomaticMaskGenerator).parameters)
    defaults = {name: one.default for name, one in parameters.items() if name != "model"}
    assert list(defaults.items()) == [
        ("points_per_side", 32),
        ("points_per_batch", 64),
        ("pred_iou_thresh", 0.88),
        ("stability_score_thresh", 0.95),
        ("stability_score_offset", 1.0),
        ("box_nms_thresh", 0.7),
        ("crop_n_layers", 0),
        ("crop_nms_thresh", 0.7),
        ("crop_overlap_ratio", 512 / 1500),
        ("crop_n_points_downscale_factor", 1),
        ("point_grids", None),
        ("min_mask_region_area", 0),
        ("output_mode", "binary_mask"),
    ]


@pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
def test_answers_are_the_official_dicts(mode):
    sam, picture = Blobs(), draw(SIZE, [])
    answers = SamAutomaticMaskGenerator(sam, **SETTINGS, output_mode=mode).generate(picture)
    expected = plainly(sam, picture, AmgConfig(**SETTINGS))
    assert len(answers) == len(expected) > 3
    for answer, one in zip(answers, expected, strict=True):
        assert list(answer) == [
            "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box",
        ]  # fmt: skip
        x0, y0, x1, y1 = one.box
        assert answer["bbox"] == [x0, y0, x1 - x0, y1 - y0]  # officially one pixel short
        assert answer["area"] == one.mask.sum()
        assert answer["point_coords"] == [list(one.point)]
        left, top, right, bottom = one.crop
        assert answer["crop_box"] == [left, top, right - left, bottom - top]
        assert answer["predicted_iou"] == pytest.approx(one.iou, abs=1e-6)
        assert answer["stability_score"] == pytest.approx(one.stability, abs=1e-6)
        segmentation = answer["segmentation"]
        if mode == "binary_mask":
            assert segmentation.dtype == bool
        elif mode == "uncompressed_rle":
            assert all(isinstance(count, int) for count in segmentation["counts"])
            segmentation = coco.decode(coco.frPyObjects(segmentation, *SIZE))
        else:
            assert isinstance(segmentation["counts"], str)
            segmentation = coco.decode(segmentation)
        np.testing.assert_array_equal(segmentation, one.mask)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points_per_side": None}, "exactly one of points_per_side and point_grids"),
        ({"point_grids": [np.zeros((1, 2))]}, "exactly one of points_per_side and point_grids"),
        ({"output_mode": "png"}, "output_mode"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SamAutomaticMaskGenerator(Blobs(), **settings)


def test_point_grids_are_used():
    grids = [np.array([[0.5, 0.5]])]
    answers = SamAutomaticMaskGenerator(
        Blobs(), points_per_side=None, point_grids=grids, pred_iou_thresh=0.0, stability_score_thresh=0.1
    ).generate(draw(SIZE, []))
    assert {tuple(answer["point_coords"][0]) for answer in answers} == {(100.0, 75.0)}
