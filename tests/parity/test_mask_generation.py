"""Our automatic masks against the mask-generation pipeline of transformers, with the same random weights.

Where the pipeline differs from the official code (of several crops, it suppresses all masks at once by predicted IoU)
it is not asked.
"""

import numpy as np
import pytest
from benchmarks.transformers_everything import generate, make_pipeline
from PIL import Image
from test_transformers import SMALL, our_model, transformers_model

from opensam.amg import MaskGenerator
from opensam.masks import mask_iou
from opensam.predictor import Predictor


@pytest.mark.parametrize(("box_nms_thresh", "least"), [(1.0, 30), (0.95, 2)])
@pytest.mark.parametrize("size", [(48, 90), (200, 140)])
def test_the_list_of_masks_is_that_of_transformers(size, box_nms_thresh, least):
    config = SMALL["deeper decoder"]
    theirs = transformers_model(config)
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC))

    settings = {"points_per_side": 6, "points_per_batch": 16, "box_nms_thresh": box_nms_thresh}
    settings |= {"pred_iou_thresh": 0.02, "stability_score_thresh": 0.5, "stability_score_offset": 0.05}
    expected = generate(make_pipeline(theirs, config.image_size), Image.fromarray(picture), settings)
    records = MaskGenerator(Predictor(our_model(theirs, config), precision="float32"), **settings).generate(picture)

    assert len(records) == len(expected["masks"]) >= least
    np.testing.assert_allclose([record.predicted_iou for record in records], expected["scores"], atol=1e-4)
    for record, mask in zip(records, expected["masks"], strict=True):
        assert mask_iou(record.mask[None], np.asarray(mask, dtype=bool)[None]) >= 0.99
