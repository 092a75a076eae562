"""What holds for any prompts: company, order and the caller's memory change nothing."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opensam.predictor import Prediction, Predictor

SIZES = [(60, 80), (97, 41), (128, 128)]
NAMES = ("masks", "iou_predictions", "stability_score", "low_res_masks")
FEW = settings(max_examples=8)


@pytest.fixture(scope="module")
def predictor(sam):
    return Predictor(sam)


@pytest.fixture(scope="module")
def embeddings(predictor):
    generator = np.random.default_rng(0)
    return [predictor.embed(generator.integers(0, 256, (*size, 3), np.uint8)) for size in SIZES]


ANY_IMAGE = st.sampled_from(range(len(SIZES)))


@st.composite
def prompts(draw, image_index=ANY_IMAGE):
    """One prompt over one of the pictures: points, a box, a mask, logits, or several of them."""
    index = draw(image_index)
    height, width = SIZES[index]
    kinds = draw(st.sets(st.sampled_from(["points", "box", "mask", "logits"]), min_size=1).filter(one_mask))
    prompt = {"image_index": index}
    if "points" in kinds:
        count = draw(st.integers(1, 3))
        coords = st.tuples(st.floats(0, width), st.floats(0, height))
        prompt["point_coords"] = np.array(draw(st.lists(coords, min_size=count, max_size=count)))
        prompt["point_labels"] = np.array(draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count)))
    if "box" in kinds:
        x, y = draw(st.floats(0, width - 5)), draw(st.floats(0, height - 5))
        prompt["boxes"] = np.array([x, y, x + draw(st.floats(1, 90)), y + draw(st.floats(1, 90))])
    if "mask" in kinds:
        mask = np.zeros((height, width), dtype=bool)
        y, x = draw(st.integers(0, height - 9)), draw(st.integers(0, width - 9))
        mask[y : y + draw(st.integers(1, 40)), x : x + draw(st.integers(1, 40))] = True
        prompt["mask"] = mask
    if "logits" in kinds:
        seed = draw(st.integers(0, 99))
        prompt["mask_input"] = np.random.default_rng(seed).normal(0, 6, (1, 64, 64)).astype(np.float32)
    return prompt


def one_mask(kinds):
    return not {"mask", "logits"} <= kinds


def assert_same(answer: Prediction, expected: Prediction) -> None:
    for name in NAMES:
        ours, theirs = getattr(answer, name), getattr(expected, name)
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=1e-6, atol=1e-6), name


def alone(predictor, embeddings, prompt):
    arguments = {name: value for name, value in prompt.items() if name != "image_index"}
    return predictor.predict(embeddings[prompt["image_index"]], **arguments)


@FEW
@given(batch=st.lists(prompts(), min_size=1, max_size=5))
def test_prompts_over_several_pictures_together_are_each_alone(predictor, embeddings, batch):
    answers = predictor.predict_batch(embeddings, batch)
    for answer, prompt in zip(answers, batch, strict=True):
        assert_same(answer, alone(predictor, embeddings, prompt))


@FEW
@given(batch=st.lists(prompts(), min_size=2, max_size=5), data=st.data())
def test_the_order_of_prompts_and_pictures_does_not_matter(predictor, embeddings, batch, data):
    order = data.draw(st.permutations(range(len(batch))))
    places = data.draw(st.permutations(range(len(SIZES))))  # picture n moves to places[n]
    moved = [embeddings[places.index(n)] for n in range(len(SIZES))]
    shuffled = [batch[n] | {"image_index": places[batch[n]["image_index"]]} for n in order]
    expected = predictor.predict_batch(embeddings, batch)
    for answer, n in zip(predictor.predict_batch(moved, shuffled), order, strict=True):
        assert_same(answer, expected[n])


@FEW
@given(one=prompts(st.just(0)), shifts=st.lists(st.floats(0, 1), min_size=0, max_size=3))
def test_p_prompts_in_one_call_are_each_alone(predictor, embeddings, one, shifts):
    # prompts of the same kind: the first one, and the same pulled towards the corner of the picture
    same_kind = [one] + [
        {name: value * shift if name == "point_coords" else value for name, value in one.items()} for shift in shifts
    ]
    stacked = {name: np.stack([prompt[name] for prompt in same_kind]) for name in one if name != "image_index"}
    together = predictor.predict(embeddings[0], **stacked)
    assert len(together.masks) == len(same_kind)
    for n, prompt in enumerate(same_kind):
        expected = alone(predictor, embeddings, prompt)
        assert_same(Prediction(*(getattr(together, name)[n] for name in NAMES)), expected)


@FEW
@given(batch=st.lists(prompts(), min_size=1, max_size=3))
def test_the_callers_memory_is_never_modified(predictor, embeddings, batch):
    before = copy.deepcopy(batch)
    held = [embedding.embeddings.clone() for embedding in embeddings]
    for prompt in batch:
        for value in prompt.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
    predictor.predict_batch(embeddings, batch)
    for prompt, old in zip(batch, before, strict=True):
        assert prompt.keys() == old.keys()
        assert all(np.array_equal(prompt[name], old[name]) for name in old)
    assert all((now.embeddings == old).all() for now, old in zip(embeddings, held, strict=True))


@FEW
@given(prompt=prompts(st.just(0)))
def test_an_answer_is_the_same_every_time_and_no_view_of_the_question(predictor, embeddings, prompt):
    first = alone(predictor, embeddings, prompt)
    kept = first.low_res_masks.copy()
    second = alone(predictor, embeddings, prompt)
    second.low_res_masks[:] = 0
    second.masks[:] = False
    third = alone(predictor, embeddings, prompt)
    assert (first.low_res_masks == kept).all()
    assert (third.low_res_masks == kept).all()
    assert (third.masks == first.masks).all()
