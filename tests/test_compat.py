import inspect

import numpy as np
import pytest
import torch

from opensam import compat
from opensam.compat import ResizeLongestSide, SamPredictor, build_sam, sam_model_registry
from opensam.models.checkpoints import CheckpointError
from opensam.models.sam import SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.zoo import find
from opensam.predictor import Predictor

H, W = 120, 200
IMAGE = np.kron(np.random.default_rng(0).integers(0, 256, (12, 20, 3)), np.ones((10, 10, 1), dtype=int)).astype(
    np.uint8
)
COORDS, LABELS, BOX = np.array([[90, 60], [20, 100]]), np.array([1, 0]), np.array([40, 30, 120, 110])


@pytest.fixture
def predictor(sam):
    predictor = SamPredictor(sam)
    predictor.set_image(IMAGE)
    return predictor


# ---- signatures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (SamPredictor, {"sam_model": ...}),
        (SamPredictor.set_image, {"image": ..., "image_format": "RGB"}),
        (SamPredictor.set_torch_image, {"transformed_image": ..., "original_image_size": ...}),
        (
            SamPredictor.predict,
            {"point_coords": None, "point_labels": None, "box": None, "mask_input": None}
            | {"multimask_output": True, "return_logits": False},
        ),
        (
            SamPredictor.predict_torch,
            {"point_coords": ..., "point_labels": ..., "boxes": None, "mask_input": None}
            | {"multimask_output": True, "return_logits": False},
        ),
        (SamPredictor.get_image_embedding, {}),
        (SamPredictor.reset_image, {}),
        (build_sam, {"checkpoint": None}),
        (ResizeLongestSide, {"target_length": ...}),
        (ResizeLongestSide.apply_image, {"image": ...}),
        (ResizeLongestSide.apply_coords, {"coords": ..., "original_size": ...}),
        (ResizeLongestSide.apply_boxes, {"boxes": ..., "original_size": ...}),
        (ResizeLongestSide.apply_image_torch, {"image": ...}),
        (ResizeLongestSide.apply_coords_torch, {"coords": ..., "original_size": ...}),
        (ResizeLongestSide.apply_boxes_torch, {"boxes": ..., "original_size": ...}),
        (ResizeLongestSide.get_preprocess_shape, {"oldh": ..., "oldw": ..., "long_side_length": ...}),
        (compat.Sam.forward, {"batched_input": ..., "multimask_output": ...}),
        (compat.Sam.postprocess_masks, {"masks": ..., "input_size": ..., "original_size": ...}),
    ],
)
def test_signatures_are_the_official_ones(function, arguments):
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    required = inspect.Parameter.empty
    ours = {name: ... if one.default is required else one.default for name, one in parameters.items()}
    assert list(ours.items()) == list(arguments.items())


def test_the_registry_has_the_official_names():
    assert {"default", "vit_h", "vit_l", "vit_b"} <= set(sam_model_registry)
    assert sam_model_registry["default"] is build_sam is compat.build_sam_vit_h


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("default", "sam_vit_h"),
        ("vit_h", "sam_vit_h"),
        ("vit_l", "sam_vit_l"),
        ("vit_b", "sam_vit_b"),
        ("vit_t", "mobile_sam"),
    ],
)
def test_the_registry_builds_the_official_models(monkeypatch, name, model):
    small = SamConfig(image_encoder=TinyViTConfig(image_size=64))
    built = []

    def build(config, name):
        built.append((config, name))
        return official(small)

    official = compat.Sam
    monkeypatch.setattr("opensam.compat.model.Sam", build)
    sam = sam_model_registry[name](checkpoint=None)
    assert built == [(find(model).config, model)]
    assert not sam.training
    assert sam.image_encoder.img_size == 64
    assert sam.mask_threshold == 0.0
    assert sam.image_format == "RGB"


def test_a_checkpoint_file_is_loaded(tmp_path):
    torch.manual_seed(0)
    trained = sam_model_registry["vit_t"]()
    path = tmp_path / "mobile_sam.pt"
    torch.save(trained.state_dict(), path)
    sam = sam_model_registry["vit_t"](checkpoint=str(path))
    expected = trained.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in sam.state_dict().items())
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"mobile_sam\.pt"):
        sam_model_registry["vit_t"](checkpoint=path)


# ---- the predictor -----------------------------------------------------------------------------------------


def in_official_order(answer, masks, scores, low_res_masks):
    """Whether these are the candidates of ours, which are sorted by score, in another order."""
    order = np.argsort(-scores, kind="stable")
    assert np.allclose(scores[order], answer.iou_predictions, atol=1e-6)
    assert np.allclose(low_res_masks[order], answer.low_res_masks, atol=1e-3)
    assert (masks[order] == answer.masks).mean() > 0.999


@pytest.mark.parametrize("multimask_output", [True, False])
@pytest.mark.parametrize("prompt", ["points", "box", "both"])
def test_predict_gives_the_masks_of_the_predictor(sam, predictor, prompt, multimask_output):
    points = {} if prompt == "box" else {"point_coords": COORDS, "point_labels": LABELS}
    box = prompt != "points"
    masks, scores, low_res_masks = predictor.predict(
        **points, box=BOX if box else None, multimask_output=multimask_output
    )
    count = 3 if multimask_output else 1
    assert masks.shape == (count, H, W)
    assert masks.dtype == bool
    assert scores.shape == (count,)
    assert low_res_masks.shape == (count, 64, 64)
    ours = Predictor(sam)
    answer = ours.predict(ours.embed(IMAGE), **points, boxes=BOX if box else None, multimask_output=multimask_output)
    in_official_order(answer, masks, scores, low_res_masks)


def test_candidates_keep_the_order_of_the_decoder(sam, predictor):
    _, scores, _ = predictor.predict(COORDS[:1], LABELS[:1])
    coords = torch.as_tensor(predictor.transform.apply_coords(COORDS[:1], (H, W)))[None]
    _, torch_scores, _ = predictor.predict_torch(coords, torch.ones(1, 1, dtype=torch.int))
    assert (np.diff(scores) > 0).any(), "the test needs candidates that are not sorted by score"
    assert np.allclose(scores, torch_scores[0], atol=1e-5)


def test_logits_of_one_round_prompt_the_next(predictor):
    _, scores, logits = predictor.predict(COORDS[:1], LABELS[:1])
    best = logits[scores.argmax()][None]
    with_logits = predictor.predict(COORDS, LABELS, mask_input=best, multimask_output=False)
    without = predictor.predict(COORDS, LABELS, multimask_output=False)
    assert with_logits[0].shape == (1, H, W)
    assert not np.allclose(with_logits[2], without[2])


def test_logits_are_returned_on_demand(predictor):
    masks, _, _ = predictor.predict(COORDS, LABELS)
    logits, _, _ = predictor.predict(COORDS, LABELS, return_logits=True)
    assert logits.dtype.kind == "f"
    assert ((logits > 0) == masks).all()


def test_predict_torch_takes_many_prompts(predictor):
    boxes = torch.tensor([[40, 30, 120, 110], [0, 0, 60, 60], [100, 20, 190, 110]])
    scaled = predictor.transform.apply_boxes_torch(boxes, (H, W))
    masks, scores, low_res_masks = predictor.predict_torch(None, None, boxes=scaled, multimask_output=False)
    assert masks.shape == (3, 1, H, W)
    assert masks.dtype == torch.bool
    assert scores.shape == (3, 1)
    assert low_res_masks.shape == (3, 1, 64, 64)
    for n, box in enumerate(boxes.numpy()):
        alone, _, _ = predictor.predict(box=box, multimask_output=False)
        assert (masks[n].numpy() == alone).mean() > 0.999


def test_bgr_pictures_are_turned_round(sam, predictor):
    other = SamPredictor(sam)
    other.set_image(IMAGE[..., ::-1], image_format="BGR")
    assert torch.equal(other.features, predictor.features)


def test_a_scaled_tensor_can_be_set(sam, predictor):
    other = SamPredictor(sam)
    scaled = torch.as_tensor(other.transform.apply_image(IMAGE)).permute(2, 0, 1)[None]
    other.set_torch_image(scaled, (H, W))
    assert torch.equal(other.features, predictor.features)
    assert other.original_size == (H, W)


def test_the_state_of_the_predictor_is_the_official_one(sam):
    predictor = SamPredictor(sam)
    assert (predictor.is_image_set, predictor.features) == (False, None)
    assert (predictor.original_size, predictor.input_size) == (None, None)
    assert predictor.device == torch.device("cpu")
    predictor.set_image(IMAGE)
    assert predictor.is_image_set
    assert predictor.original_size == (H, W)
    assert predictor.input_size == (154, 256)
    assert predictor.get_image_embedding() is predictor.features
    assert predictor.features.shape == (1, 256, 16, 16)
    predictor.reset_image()
    assert (predictor.is_image_set, predictor.features) == (False, None)
    assert (predictor.original_size, predictor.input_size) == (None, None)


@pytest.mark.parametrize("call", [lambda p: p.predict(COORDS, LABELS), lambda p: p.get_image_embedding()])
def test_without_a_picture_there_is_a_clear_error(sam, call):
    with pytest.raises(RuntimeError, match="set_image"):
        call(SamPredictor(sam))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: p.predict(), "at least one of points"),
        (lambda p: p.predict(COORDS), "point_coords and point_labels together"),
        (lambda p: p.set_image(IMAGE, "GBR"), "'RGB' or 'BGR', got 'GBR'"),
        (lambda p: p.set_image(IMAGE.astype(float)), "uint8"),
        (lambda p: p.set_torch_image(torch.zeros(1, 3, 100, 200), (H, W)), "longest side of 256"),
        (lambda p: p.set_torch_image(torch.zeros(3, 154, 256), (H, W)), "longest side of 256"),
    ],
)
def test_bad_input_is_a_value_error(predictor, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(predictor)


def test_the_callers_arrays_are_not_modified(predictor):
    image, coords, box = IMAGE.copy(), COORDS.astype(np.float32), BOX.astype(np.float32)
    logits = np.ones((1, 64, 64), dtype=np.float32)
    copies = [one.copy() for one in (image, coords, box, logits)]
    predictor.set_image(image)
    predictor.predict(coords, LABELS, box, logits)
    for one, copy in zip((image, coords, box, logits), copies, strict=True):
        assert (one == copy).all()


# ---- the batched call --------------------------------------------------------------------------------------


def test_the_batched_call_gives_what_the_predictor_gives():
    torch.manual_seed(0)
    sam = compat.Sam(SamConfig(image_encoder=TinyViTConfig(image_size=128))).eval()
    transform = ResizeLongestSide(sam.image_encoder.img_size)
    images = [IMAGE, IMAGE[:100, :70]]
    boxes = [torch.tensor([[10, 10, 60, 50], [5, 5, 40, 90]]), torch.tensor([[3, 4, 50, 60]])]
    batched_input = [
        {
            "image": torch.as_tensor(transform.apply_image(image)).permute(2, 0, 1),
            "boxes": transform.apply_boxes_torch(box, image.shape[:2]),
            "original_size": image.shape[:2],
        }
        for image, box in zip(images, boxes, strict=True)
    ]
    predictor = SamPredictor(sam)
    answers = sam(batched_input, multimask_output=False)
    for answer, image, one in zip(answers, images, batched_input, strict=True):
        predictor.set_image(image)
        masks, scores, low_res_masks = predictor.predict_torch(None, None, boxes=one["boxes"], multimask_output=False)
        assert (answer["masks"] == masks).float().mean() > 0.999
        assert torch.allclose(answer["iou_predictions"], scores, atol=1e-5)
        assert torch.allclose(answer["low_res_logits"], low_res_masks, atol=1e-4)


# ---- ResizeLongestSide -------------------------------------------------------------------------------------


def test_resize_longest_side_rounds_as_the_official_code():
    assert ResizeLongestSide.get_preprocess_shape(1200, 1800, 1024) == (683, 1024)
    assert ResizeLongestSide.get_preprocess_shape(534, 800, 1024) == (684, 1024)
    transform = ResizeLongestSide(1024)
    assert transform.apply_image(np.zeros((120, 200, 3), np.uint8)).shape == (614, 1024, 3)
    assert transform.apply_image_torch(torch.zeros(2, 3, 120, 200)).shape == (2, 3, 614, 1024)
    coords = transform.apply_coords(np.array([[100, 60]]), (120, 200))
    assert np.allclose(coords, [[512, 307]])
    boxes = transform.apply_boxes(np.array([0, 0, 200, 120]), (120, 200))
    assert np.allclose(boxes, [[0, 0, 1024, 614]])
    assert torch.equal(
        transform.apply_boxes_torch(torch.tensor([[0, 0, 200, 120]]), (120, 200)),
        torch.tensor([[0.0, 0, 1024, 614]]),
    )
    assert transform.apply_coords_torch(torch.tensor([[100, 60]]), (120, 200)).tolist() == [[512, 307]]
