import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from opensam.geometry import Resize
from opensam.image import ImageError
from opensam.masks import fill_polygons, stability_score
from opensam.predictor import ImageEmbedding, Predictor
from opensam.predictor import predictor as module
from opensam.prompts import Prompts, mask_prompts, scribble_points

H, W = 150, 200
POINT = [(90, 60)]
BOX = (40, 30, 120, 110)


def picture(seed: int = 0, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """Coloured noise of several scales: every region differs."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(generator.integers(0, 256, (n, n, 3), np.uint8)).resize(size[::-1]))
        for n in (4, 16, 64)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor(sam):
    return Predictor(sam)


@pytest.fixture(scope="module")
def embedding(predictor):
    return predictor.embed(picture())


# ---- embed -------------------------------------------------------------------------------------------------


def test_embed_is_encode_of_the_resized_picture(predictor, sam, embedding):
    resize = Resize((H, W), 256)
    scaled = torch.from_numpy(resize.apply_image(picture())).permute(2, 0, 1)
    with torch.no_grad():
        expected = sam.encode(sam.preprocess(scaled))
    torch.testing.assert_close(embedding.embeddings, expected, rtol=1e-10, atol=1e-10)
    assert embedding.resize == resize
    assert embedding.model_name == predictor.model_name
    assert not embedding.embeddings.requires_grad


def test_every_source_of_a_picture_gives_the_same_embedding(predictor, embedding, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(picture()).save(path)
    for source in (path, str(path), path.read_bytes(), BytesIO(path.read_bytes()), Image.open(path)):
        assert torch.equal(predictor.embed(source).embeddings, embedding.embeddings)


def test_a_broken_picture_is_refused(predictor):
    with pytest.raises(ImageError):
        predictor.embed(b"no picture")


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1)])
def test_pictures_of_one_pixel_width_work(predictor, size):
    embedding = predictor.embed(np.zeros((*size, 3), dtype=np.uint8))
    assert predictor.predict(embedding, [(0, 0)]).masks.shape == (3, *size)


def test_a_model_in_training_mode_is_refused(embedding, make_sam):
    predictor = Predictor(make_sam(0))
    predictor.sam.train()
    with pytest.raises(RuntimeError, match=r"sam\.eval\(\)"):
        predictor.embed(picture())
    with pytest.raises(RuntimeError, match=r"sam\.eval\(\)"):
        predictor.predict(embedding, POINT)


# ---- predict -----------------------------------------------------------------------------------------------

MASK = fill_polygons([[(40, 30), (120, 40), (80, 110)]], (H, W))
LOGITS = np.random.default_rng(0).normal(0, 5, (1, 64, 64))


@pytest.mark.parametrize(
    ("prompt", "shape"),
    [
        ({"point_coords": POINT}, (3, H, W)),
        ({"point_coords": [POINT]}, (1, 3, H, W)),
        ({"point_coords": [POINT] * 4}, (4, 3, H, W)),
        ({"boxes": BOX}, (3, H, W)),
        ({"boxes": [BOX]}, (1, 3, H, W)),
        ({"boxes": [BOX, BOX]}, (2, 3, H, W)),
        ({"point_coords": POINT * 2}, (1, H, W)),
        ({"point_coords": [POINT * 2]}, (1, 1, H, W)),
        ({"point_coords": POINT, "boxes": BOX}, (1, H, W)),
        ({"point_coords": [POINT], "boxes": [BOX]}, (1, 1, H, W)),
        ({"point_coords": POINT, "mask_input": LOGITS}, (1, H, W)),
        ({"mask_input": LOGITS}, (1, H, W)),
        ({"mask_input": LOGITS[None]}, (1, 1, H, W)),
        ({"mask": MASK}, (1, H, W)),
        ({"mask": MASK[None]}, (1, 1, H, W)),
        ({"polygons": [[(40, 30), (120, 40), (80, 110)]]}, (1, H, W)),
        ({"scribble": [(40, 30), (42, 30)]}, (1, H, W)),
        ({"point_coords": POINT, "multimask_output": False}, (1, H, W)),
        ({"point_coords": POINT * 2, "multimask_output": True}, (3, H, W)),
        ({"mask": MASK, "multimask_output": True}, (3, H, W)),
    ],
)
def test_the_shape_of_the_prompt_decides_the_shape_of_the_answer(predictor, embedding, prompt, shape):
    answer = predictor.predict(embedding, **prompt)
    assert answer.masks.shape == shape
    assert answer.masks.dtype == bool
    assert answer.low_res_masks.shape == (*shape[:-2], 64, 64)
    for scores in (answer.iou_predictions, answer.predicted_iou, answer.stability_score):
        assert scores.shape == shape[:-2]
        assert scores.dtype == np.float32
    assert answer.best.mask.shape == (*shape[:-3], H, W)
    assert answer.best.low_res_mask.shape == (*shape[:-3], 1, 64, 64)
    assert np.shape(answer.best.predicted_iou) == np.shape(answer.best.stability_score) == shape[:-3]


def test_the_answer_is_what_the_model_says_best_first(predictor, sam, embedding):
    answer = predictor.predict(embedding, POINT, [1])
    prompts = Prompts(torch.tensor([POINT]) * (256 / W), torch.tensor([[1]]))
    with torch.no_grad():
        low_res_masks, iou_predictions = sam.decode(embedding.embeddings, prompts, multimask_output=True)
    order = iou_predictions[0].argsort(descending=True)
    assert order.tolist() != [0, 1, 2], "the test needs a model whose best candidate is not the first"
    logits = embedding.resize.restore_masks(low_res_masks[:, order].float())[0]
    assert np.allclose(answer.low_res_masks, low_res_masks[0, order], atol=1e-5)
    assert np.allclose(answer.iou_predictions, iou_predictions[0, order])
    assert (answer.masks == (logits > 0).numpy()).mean() > 0.9999
    assert np.allclose(answer.stability_score, stability_score(logits), atol=1e-3)
    assert (np.diff(answer.iou_predictions) <= 0).all()


def test_best_is_the_first_candidate(predictor, embedding):
    answer = predictor.predict(embedding, boxes=[BOX, (0, 0, 60, 60)])
    best = answer.best
    assert (best.mask == answer.masks[:, 0]).all()
    assert (best.low_res_mask == answer.low_res_masks[:, :1]).all()
    assert (best.predicted_iou == answer.predicted_iou[:, 0]).all()
    assert (best.stability_score == answer.stability_score[:, 0]).all()
    assert f"{predictor.predict(embedding, POINT).best.predicted_iou:.2f}"  # a number that can be printed


def test_predicted_iou_is_clamped_and_iou_predictions_are_not(make_sam):
    sam = make_sam(0)
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias[1:] = torch.tensor([1.5, -0.5, 0.5])
    predictor = Predictor(sam)
    answer = predictor.predict(predictor.embed(picture()), POINT)
    assert answer.iou_predictions.max() > 1.2
    assert answer.iou_predictions.min() < -0.2
    assert answer.predicted_iou.max() == 1
    assert answer.predicted_iou.min() == 0


def test_labels_are_foreground_when_left_out(predictor, embedding):
    default = predictor.predict(embedding, POINT * 2)
    given = predictor.predict(embedding, POINT * 2, [1, 1])
    other = predictor.predict(embedding, POINT * 2, [1, 0])
    assert (default.low_res_masks == given.low_res_masks).all()
    assert not np.allclose(default.low_res_masks, other.low_res_masks)


def test_a_second_round_takes_the_best_logits_of_the_first(predictor, embedding):
    first = predictor.predict(embedding, POINT)
    points, labels = [*POINT, (10, 10)], [1, 0]
    again = predictor.predict(embedding, points, labels, mask_input=first.best.low_res_mask)
    without = predictor.predict(embedding, points, labels)
    assert again.masks.shape == (1, H, W)
    assert not np.allclose(again.low_res_masks, without.low_res_masks)

    boxes = predictor.predict(embedding, boxes=[BOX, (0, 0, 60, 60)])
    assert predictor.predict(embedding, mask_input=boxes.best.low_res_mask).masks.shape == (2, 1, H, W)


def test_tensors_and_lists_say_the_same(predictor, embedding):
    lists = predictor.predict(embedding, POINT, [1], BOX, LOGITS.tolist())
    tensors = predictor.predict(
        embedding,
        torch.tensor(POINT),
        torch.tensor([1.0]),
        torch.tensor(BOX, dtype=torch.bfloat16, requires_grad=True),
        torch.tensor(LOGITS),
    )
    assert np.allclose(lists.low_res_masks, tensors.low_res_masks, atol=1e-4)


def test_a_box_over_the_border_is_cut_there(predictor, embedding):
    over = predictor.predict(embedding, boxes=(-50, 20, 80, 9000))
    cut = predictor.predict(embedding, boxes=(0, 20, 80, H))
    assert (over.low_res_masks == cut.low_res_masks).all()


# ---- masks, polygons and scribbles -------------------------------------------------------------------------


def test_a_mask_is_its_logits_its_box_and_its_deepest_point(predictor, embedding):
    derived = mask_prompts(MASK[None], 256)
    answer = predictor.predict(embedding, mask=MASK)
    expected = predictor.predict(
        embedding,
        embedding.resize.restore_coords(derived["point_coords"][0]),
        boxes=embedding.resize.restore_boxes(derived["boxes"][0]),
        mask_input=derived["mask_input"][0],
    )
    assert np.allclose(answer.low_res_masks, expected.low_res_masks, atol=1e-4)


def test_the_callers_clicks_and_box_replace_those_of_the_mask(predictor, embedding):
    logits = mask_prompts(MASK[None], 256)["mask_input"][0]
    answer = predictor.predict(embedding, [(5, 5)], [0], BOX, mask=MASK)
    expected = predictor.predict(embedding, [(5, 5)], [0], BOX, mask_input=logits)
    assert (answer.low_res_masks == expected.low_res_masks).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32])
def test_a_mask_may_have_any_second_value(predictor, embedding, kind):
    expected = predictor.predict(embedding, mask=MASK)
    answer = predictor.predict(embedding, mask=MASK.astype(kind) * 255)
    assert (answer.low_res_masks == expected.low_res_masks).all()


def test_a_mask_may_have_any_resolution(predictor, embedding):
    for scale in (0.35, 1, 7):
        size = (round(H * scale), round(W * scale))
        mask = np.asarray(Image.fromarray(MASK).resize(size[::-1]))
        assert predictor.predict(embedding, mask=mask).masks.shape == (1, H, W)


def test_polygons_are_the_mask_they_enclose(predictor, embedding):
    outlines = [[(40, 30), (120, 40), (80, 110)], [(70, 50), (90, 50), (80, 70)]]
    answer = predictor.predict(embedding, polygons=outlines)
    expected = predictor.predict(embedding, mask=fill_polygons(outlines, (H, W)))
    assert (answer.low_res_masks == expected.low_res_masks).all()


def test_a_scribble_is_clicks_beside_those_of_the_caller(predictor, embedding):
    stroke = [(40, 30), (120, 40), (80, 110)]
    clicks = scribble_points(stroke, (H, W)).tolist()
    answer = predictor.predict(embedding, scribble=stroke)
    assert (answer.low_res_masks == predictor.predict(embedding, clicks).low_res_masks).all()
    corrected = predictor.predict(embedding, [(5, 5)], [0], scribble=stroke)
    labels = [0] + [1] * len(clicks)
    expected = predictor.predict(embedding, [(5, 5), *clicks], labels)
    assert (corrected.low_res_masks == expected.low_res_masks).all()


# ---- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({}, "at least one of points, boxes or mask_input, got none"),
        ({"point_coords": []}, r"point_coords of shape \(\*, 2\), .*, got \(0,\)"),
        ({"point_coords": np.zeros((0, 2))}, r"got \(0, 2\)"),
        ({"boxes": np.zeros((0, 4))}, r"boxes of shape \(4\), .*, got \(0, 4\)"),
        ({"point_coords": (90, 60)}, r"point_coords of shape \(\*, 2\)"),
        ({"point_coords": [(1, 2, 3)]}, r"point_coords of shape \(\*, 2\)"),
        ({"point_coords": [[[POINT]]]}, r"point_coords of shape \(\*, 2\)"),
        ({"point_coords": [POINT, POINT * 2]}, "predict_batch"),
        ({"point_coords": "here"}, "point_coords as numbers"),
        ({"point_coords": [(math.nan, 3)]}, "finite numbers in point_coords, got NaN"),
        ({"point_coords": [(math.inf, 3)]}, "finite numbers in point_coords, got NaN or infinity"),
        ({"point_coords": [(90, 60), (201, 3)]}, r"inside the picture, 200 wide and 150 high, got \(201, 3\)"),
        ({"point_coords": [(90, 151)]}, r"got \(90, 151\)"),
        ({"point_coords": [(-1, 15)]}, r"got \(-1, 15\)"),
        ({"point_coords": POINT, "point_labels": [2]}, r"labels 1 \(foreground\), 0 \(background\) or -1 .* got 2"),
        ({"point_coords": POINT, "point_labels": [0.5]}, r"got 0\.5"),
        ({"point_coords": POINT, "point_labels": [1, 0]}, "one label per point"),
        ({"point_coords": POINT, "point_labels": 1}, "point_labels of shape"),
        ({"point_coords": POINT, "point_labels": [[1]]}, "point_coords without, point_labels with"),
        ({"point_labels": [1]}, "point_coords beside point_labels"),
        ({"boxes": (40, 30, 40, 110)}, r"x0 < x1 and y0 < y1, got \(40, 30, 40, 110\)"),
        ({"boxes": (40, 30, 20, 110)}, "two corners"),
        ({"boxes": [BOX, (40, 30, 120, 10)]}, r"got \(40, 30, 120, 10\)"),
        ({"boxes": (300, 30, 400, 110)}, "reach into the picture"),
        ({"boxes": (-30, -30, -4, -1)}, "reach into the picture"),
        ({"boxes": (0, 0, math.nan, 1)}, "finite numbers in boxes"),
        ({"boxes": (1, 2, 3)}, r"boxes of shape \(4\)"),
        ({"point_coords": POINT, "boxes": [BOX]}, "point_coords without, boxes with"),
        ({"point_coords": [POINT], "boxes": [BOX, BOX]}, "same number of prompts"),
        ({"mask_input": LOGITS[:, :32]}, r"logits of shape \(1, 64, 64\)"),
        ({"mask_input": LOGITS > 0}, "mask="),
        ({"mask_input": LOGITS * math.nan}, "finite numbers in mask_input"),
        ({"mask_input": LOGITS, "mask": MASK}, "only one of mask, polygons and mask_input"),
        ({"mask": np.zeros((H, W))}, "at least one pixel inside"),
        ({"mask": MASK.T}, "proportions of the picture"),
        ({"mask": MASK * np.arange(W)}, "0 and one other value"),
        ({"mask": MASK.ravel()}, r"mask of shape \(\*, \*\)"),
        ({"polygons": [[(300, 300), (400, 300), (400, 400)]]}, "at least one pixel inside"),
        ({"polygons": [[(1, 2, 3)]]}, "polygon"),
        ({"polygons": []}, "at least one pixel inside"),
        ({"scribble": [(1, 2, 3)]}, "scribble"),
        ({"scribble": [(300, 3), (400, 4)]}, "inside the picture"),
    ],
)
def test_bad_input_is_one_clear_sentence(predictor, embedding, prompt, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        predictor.predict(embedding, **prompt)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_point_that_is_none_may_lie_anywhere(predictor, embedding):
    assert predictor.predict(embedding, [*POINT, (-7, 9999)], [1, -1]).masks.shape == (1, H, W)


@pytest.mark.parametrize("corner", [(0, 0), (W, 0), (0, H), (W, H)])
def test_the_border_belongs_to_the_picture(predictor, embedding, corner):
    assert predictor.predict(embedding, [corner]).masks.shape == (3, H, W)


def test_the_embedding_of_another_model_is_refused(predictor, embedding, make_sam):
    other = Predictor(make_sam(1))
    with pytest.raises(ValueError, match=f"this model, {other.model_name}, got one of {predictor.model_name}"):
        other.predict(embedding, POINT)


def test_the_model_name_follows_the_weights_and_not_their_precision(predictor, make_sam):
    sam = make_sam(0)
    assert Predictor(sam).model_name == predictor.model_name
    assert Predictor(sam.float()).model_name == predictor.model_name
    assert Predictor(sam.half()).model_name == predictor.model_name
    with torch.no_grad():
        next(sam.image_encoder.parameters()).mul_(1.1)
    assert Predictor(sam).model_name != predictor.model_name


def test_embeddings_of_one_precision_serve_with_another(make_sam):
    exact, rough = Predictor(make_sam(0).float(), "float32"), Predictor(make_sam(0).float(), "bf16")
    assert exact.model_name == rough.model_name
    embeddings = [one.embed(picture()) for one in (exact, rough)]
    assert {one.embeddings.dtype for one in embeddings} == {torch.float32}
    difference = (embeddings[0].embeddings - embeddings[1].embeddings).abs().mean()
    assert 0 < difference < 0.02
    for predictor in (exact, rough):
        for embedding in embeddings:
            assert predictor.predict(embedding, POINT).masks.shape == (3, H, W)


def test_an_unknown_precision_is_refused(sam):
    with pytest.raises(ValueError, match="expected the precision auto, float32 or bf16, got 'half'"):
        Predictor(sam, "half")


def test_a_predictor_keeps_the_weights_it_was_made_with(make_sam):
    sam = make_sam(0)
    predictor = Predictor(sam)
    before = predictor.embed(picture()).embeddings
    with torch.no_grad():
        next(sam.image_encoder.parameters()).zero_()
    assert torch.equal(predictor.embed(picture()).embeddings, before)
    assert predictor.sam is sam


# ---- predict_batch -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embeddings(predictor):
    return [predictor.embed(picture(seed, size)) for seed, size in enumerate([(H, W), (90, 70), (256, 256)])]


MIXED = [
    {"point_coords": POINT},
    {"boxes": [(4, 5, 60, 50), (10, 10, 30, 80)], "image_index": 1},
    {"point_coords": [(60, 60), (10, 20)], "point_labels": [1, 0], "image_index": 1},
    {"point_coords": [(60, 60)], "image_index": 2},
    {"point_coords": [POINT, [(5, 5)]], "boxes": [BOX, BOX]},
    {"boxes": (100, 100, 200, 256), "image_index": 2},
    {"mask": MASK},
    {"scribble": [(3, 3), (50, 50)], "image_index": 1, "multimask_output": True},
    {"point_coords": POINT, "multimask_output": False},
    {"mask_input": LOGITS, "point_coords": [(60, 60)], "image_index": 2},
    {"point_coords": [[(60, 60)], [(200, 20)]], "image_index": 2},
]


def assert_same(answer, expected):
    for name in ("masks", "iou_predictions", "stability_score", "low_res_masks"):
        ours, theirs = getattr(answer, name), getattr(expected, name)
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_batch_of_any_prompts_gives_what_each_gives_alone(predictor, embeddings):
    answers = predictor.predict_batch(embeddings, MIXED)
    assert len(answers) == len(MIXED)
    for answer, prompt in zip(answers, MIXED, strict=True):
        alone = {name: value for name, value in prompt.items() if name != "image_index"}
        assert_same(answer, predictor.predict(embeddings[prompt.get("image_index", 0)], **alone))


def test_prompts_of_one_kind_are_decoded_together_over_all_pictures(predictor, embeddings, monkeypatch):
    calls = []
    decode = predictor.model.decode

    def counted(image_embeddings, prompts, multimask_output):
        calls.append((len(image_embeddings), prompts.count))
        return decode(image_embeddings, prompts, multimask_output)

    monkeypatch.setattr(predictor.model, "decode", counted)
    points = [{"point_coords": [(n, n)], "image_index": n % 3} for n in range(10)]
    boxes = [{"boxes": (n, 0, n + 20, 30), "image_index": 1} for n in range(5)]
    predictor.predict_batch(embeddings, [item for pair in zip(points, boxes * 2, strict=True) for item in pair])
    assert sorted(calls) == [(1, 10), (3, 10)]


def test_memory_is_bounded_by_chunks_that_do_not_change_the_answer(predictor, embeddings, monkeypatch):
    expected = predictor.predict_batch(embeddings, MIXED)
    seen = []
    decode = predictor.model.decode
    monkeypatch.setattr(module, "PROMPTS_AT_ONCE", 2)
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", 1)
    monkeypatch.setattr(predictor.model, "decode", lambda e, p, m: seen.append(p.count) or decode(e, p, m))
    for answer, one in zip(predictor.predict_batch(embeddings, MIXED), expected, strict=True):
        assert_same(answer, one)
    assert max(seen) == 2


def test_no_prompts_give_no_answers(predictor, embeddings):
    assert predictor.predict_batch(embeddings, []) == []


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({"point_coords": [(-1, 0)]}, "prompt 1: expected points"),
        ({"point_coords": POINT, "image_index": 3}, "prompt 1: expected image_index .* 3, got 3"),
        ({"point_coords": POINT, "image_index": -1}, "prompt 1: expected image_index .* 3, got -1"),
        ({"points": POINT}, "prompt 1: expected a prompt of point_coords, .*, got points"),
    ],
)
def test_a_bad_prompt_in_a_batch_is_named_by_its_number(predictor, embeddings, prompt, sentence):
    with pytest.raises(ValueError, match=sentence):
        predictor.predict_batch(embeddings, [{"point_coords": POINT}, prompt])


# ---- saving ------------------------------------------------------------------------------------------------


def test_a_saved_embedding_predicts_the_same(predictor, embedding, tmp_path):
    path = tmp_path / "picture.safetensors"
    embedding.save(path)
    loaded = ImageEmbedding.load(path)
    assert torch.equal(loaded.embeddings, embedding.embeddings)
    assert (loaded.resize, loaded.model_name) == (embedding.resize, embedding.model_name)
    assert_same(predictor.predict(loaded, POINT), predictor.predict(embedding, POINT))
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.safetensors"]


def test_saving_replaces_a_file_as_a_whole(embedding, tmp_path):
    path = tmp_path / "picture.safetensors"
    path.write_bytes(b"older")
    embedding.save(str(path))
    assert ImageEmbedding.load(str(path)).model_name == embedding.model_name


def test_saving_into_a_missing_folder_is_an_os_error_and_leaves_nothing(embedding, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        embedding.save(tmp_path / "nowhere" / "picture.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_loading_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ImageEmbedding.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "weights", "no size", "two pictures"])
def test_a_file_that_is_no_embedding_is_refused(embedding, tmp_path, damage):
    path = tmp_path / "picture.safetensors"
    embedding.save(path)
    metadata = {"format": "opensam.ImageEmbedding", "model_name": "m", "original_size": "[3, 4]"}
    if damage == "text":
        path.write_text("hello")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "weights":
        save_file({"weight": torch.zeros(3)}, path)
    elif damage == "no size":
        save_file({"embeddings": torch.zeros(1, 256, 4, 4)}, path, metadata)
    else:
        save_file({"embeddings": torch.zeros(2, 256, 4, 4)}, path, {**metadata, "image_size": "64"})
    with pytest.raises(ValueError, match=r"written by ImageEmbedding\.save, got .*picture\.safetensors"):
        ImageEmbedding.load(path)


def test_an_embedding_moves_between_devices(embedding):
    moved = embedding.to("meta")
    assert moved.embeddings.device.type == "meta"
    assert moved.model_name == embedding.model_name
