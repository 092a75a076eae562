"""Crops of masks, names in sentences, and masks of everything ranked by a text."""

import numpy as np
import pytest
import torch
from tests.amg.oracle import Oracle
from tests.compose.stand_ins import ColourEncoder, coloured

from opensam.amg import MaskGenerator
from opensam.compose.text import CropConfig, RankedMasks, crop_mask, embed_masks, embed_names
from opensam.masks import decode_rle, encode_rle
from opensam.predictor import Predictor

SIZE = (60, 100)


def rectangle(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(1, 255, (*SIZE, 3), dtype=np.uint8)


def test_a_crop_is_a_square_around_the_mask(image):
    crop = crop_mask(image, encode_rle(rectangle(40, 20, 60, 30)), CropConfig(enlarge=1.5, background="kept"))
    assert (crop == image[10:40, 35:65]).all()


def test_a_crop_moves_into_the_picture(image):
    crop = crop_mask(image, encode_rle(rectangle(90, 55, 100, 60)), CropConfig(enlarge=2, background="kept"))
    assert (crop == image[40:60, 80:100]).all()


def test_a_crop_larger_than_the_picture_has_all_of_it_and_black(image):
    crop = crop_mask(image, encode_rle(rectangle(0, 0, 100, 10)), CropConfig(enlarge=1.2, background="kept"))
    assert crop.shape == (120, 120, 3)
    rows, columns = (np.flatnonzero(crop.any(axis=(2, axis))) for axis in (1, 0))
    assert (len(rows), len(columns)) == SIZE
    assert (crop[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == image).all()


@pytest.mark.parametrize("box", [(40, 20, 60, 30), (0, 0, 100, 10), (90, 55, 100, 60), (3, 3, 4, 4)])
def test_a_zeroed_crop_is_the_kept_one_with_nothing_but_the_mask(image, box):
    mask = rectangle(*box)
    mask[box[1], box[0]] = box[2] - box[0] == 1  # a corner is missing, unless it is all there is
    kept, zeroed = (
        crop_mask(image * mask[..., None] if number else image, encode_rle(mask), CropConfig(background=background))
        for number, background in enumerate(("zeroed", "kept"))
    )
    assert (kept == zeroed).all()
    assert np.count_nonzero(kept.any(axis=2)) == mask.sum()


@pytest.mark.parametrize(
    ("mask", "words"), [(rectangle(0, 0, 0, 0), "empty"), (rectangle(0, 0, 5, 5, (50, 50)), r"\[60, 100\], got")]
)
def test_a_mask_that_cannot_be_cropped_is_refused(image, mask, words):
    with pytest.raises(ValueError, match=words):
        crop_mask(image, encode_rle(mask), CropConfig())


def test_many_masks_are_embedded_as_each_alone():
    picture, labelled = coloured(SIZE, [(0, 0, 20, 20), (30, 0, 50, 20), (60, 30, 90, 50)])
    masks = [mask for mask, _ in labelled] * 9
    together = embed_masks(ColourEncoder(), picture, masks, CropConfig())
    alone = [embed_masks(ColourEncoder(), picture, [mask], CropConfig()) for mask in masks]
    assert torch.equal(together, torch.cat(alone))
    assert together[:3].argmax(dim=1).tolist() == [0, 1, 2]


def test_a_name_is_the_mean_of_its_sentences():
    class Letters:
        def embed_texts(self, texts):
            return torch.tensor([[1.0, 0.0] if text.startswith("a") else [0.0, 1.0] for text in texts])

    found = embed_names(Letters(), ["dog", "cat"], ["a {}", "the {}", "a nice {}"])
    assert torch.allclose(found, torch.tensor([[2.0, 1.0]] * 2) / 5**0.5)


@pytest.mark.parametrize("templates", [[], ["a photo"], ["a {}", "a photo"]])
def test_a_template_without_a_place_is_refused(templates):
    with pytest.raises(ValueError, match=r"a photo of a \{\}"):
        embed_names(ColourEncoder(), ["red"], templates)


@pytest.fixture(scope="module")
def generator():
    return MaskGenerator(Predictor(Oracle(), "float32"), points_per_side=8, stability_score_thresh=0)


LARGE = (240, 400)
BOXES = [(32, 32, 96, 96), (160, 32, 360, 120), (40, 144, 200, 224)]


def test_every_text_gets_the_mask_it_names(generator):
    picture, labelled = coloured(LARGE, BOXES)
    method = RankedMasks(generator, ColourEncoder(), templates=["a photo of a {} thing"])
    embedding = method.embed(picture)
    assert len(embedding.masks) >= 3
    masks, scores = method.segment_texts(embedding, ["blue", "red", "green", "red"])
    assert masks.shape == (4, *LARGE)
    assert scores.tolist() == [1.0] * 4
    truth = {name: decode_rle(mask) for mask, name in labelled}
    for mask, name in zip(masks, ["blue", "red", "green", "red"], strict=True):
        own = truth[name]
        assert (mask & own).sum() / (mask | own).sum() > 0.8, name  # the model's grid is coarser than the picture


def test_small_masks_are_no_answer(generator):
    picture, _ = coloured(LARGE, BOXES)
    everything, large = (RankedMasks(generator, ColourEncoder(), min_area=area).embed(picture) for area in (0, 9000))
    assert len(large.masks) == sum(decode_rle(mask).sum() >= 9000 for mask in everything.masks) < len(everything.masks)
    assert large.embeddings.shape == (len(large.masks), 6)


def test_without_candidates_the_answer_is_empty_and_unsure():
    nothing = MaskGenerator(Predictor(Oracle(), "float32"), points_per_side=2, pred_iou_thresh=0.99)
    method = RankedMasks(nothing, ColourEncoder())
    masks, scores = method.segment_texts(method.embed(coloured(LARGE, BOXES)[0]), ["red", "blue"])
    assert masks.shape == (2, *LARGE)
    assert not masks.any()
    assert scores.tolist() == [-1.0, -1.0]
