"""The decoder as ONNX answers as torch does, for prompts and pictures that it was not traced with."""

import numpy as np
import onnxruntime
import pytest
import torch

from opensam.export.decoder import OFFICIAL_INPUTS, OFFICIAL_OUTPUTS, export_decoder
from opensam.export.decoder_graphs import ImageSideGraph, PromptSideGraph, to_pixels
from opensam.geometry import Resize
from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig
from opensam.prompts import Prompts

SIDE = 96
CONFIG = SamConfig(
    image_encoder=ViTConfig(embed_dim=16, depth=1, num_heads=1, global_attn_indexes=(0,), image_size=SIDE)
)
GRID = SIDE // 16
APPROXIMATE = 3e-4  # GELU by tanh, in the graph of a click; logits here are below 1


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(3)
    return Sam(CONFIG, "tiny_test").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sessions(sam, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    parts = ("decoder", "decoder_image", "decoder_prompt", "decoder_plain")
    files = export_decoder(sam, folder, parts)
    assert [file.name for file in files] == [f"{part}.onnx" for part in parts]
    return {part: onnxruntime.InferenceSession(str(file)) for part, file in zip(parts, files, strict=True)}


def draw(count: int, points: int, seed: int) -> dict[str, np.ndarray]:
    """Points with the padding point of a prompt without a box, as clients send them."""
    rng = np.random.default_rng(seed)
    coords = np.concatenate([rng.uniform(0, SIDE, (count, points, 2)), np.zeros((count, 1, 2))], 1)
    labels = np.concatenate([rng.integers(0, 2, (count, points)), -np.ones((count, 1))], 1)
    return {"point_coords": coords.astype(np.float32), "point_labels": labels.astype(np.float32)}


def draw_image(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "image_embeddings": rng.normal(size=(1, 256, GRID, GRID)).astype(np.float32),
        "mask_input": 5 * rng.normal(size=(1, 1, 4 * GRID, 4 * GRID)).astype(np.float32),
    }


def decode(sam: Sam, image: dict[str, np.ndarray], points: dict[str, np.ndarray], masked: bool) -> tuple:
    """What torch's plain decoder answers, single mask first."""
    prompts = Prompts(
        point_coords=torch.from_numpy(points["point_coords"][:, :-1]),
        point_labels=torch.from_numpy(points["point_labels"][:, :-1]).long(),
        mask_input=torch.from_numpy(image["mask_input"]) if masked else None,
    )
    embeddings = torch.from_numpy(image["image_embeddings"])
    both = [sam.decode(embeddings, prompts, multimask_output) for multimask_output in (False, True)]
    return tuple(torch.cat(pair, dim=1) for pair in zip(*both, strict=True))


def run_split(sessions, image, points, cells, masked=False):
    outputs = [output.name for output in sessions["decoder_image"].get_outputs()]
    given = image | {"has_mask_input": np.array([masked], np.float32)}
    side = dict(zip(outputs, sessions["decoder_image"].run(None, given), strict=True))
    return sessions["decoder_prompt"].run(None, side | points | {"cells": cells})


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(70, 41), (33, 96), (200, 300)])
@pytest.mark.parametrize("graph", ["decoder", "decoder_plain"])
def test_the_official_graph_gives_the_masks_of_torch_in_the_picture(sam, sessions, graph, size, masked):
    image, points = draw_image(1), draw(1, 2, 2)
    given = image | points | {"has_mask_input": np.array([masked], np.float32), "orig_im_size": np.float32(size)}
    masks, iou_predictions, low_res_masks = sessions[graph].run(None, given)
    expected, expected_iou = decode(sam, image, points, masked)
    restored = Resize(size, SIDE).restore_masks(expected).numpy()
    np.testing.assert_allclose(low_res_masks, expected.numpy(), atol=2e-5)
    np.testing.assert_allclose(iou_predictions, expected_iou.numpy(), atol=1e-6)
    assert masks.shape == (1, 4, *size)
    np.testing.assert_allclose(masks, restored, atol=1e-4)


def test_a_mask_changes_what_the_decoder_answers(sessions):
    image, points, cells = draw_image(1), draw(1, 1, 2), np.arange(GRID * GRID)
    without, with_mask = (run_split(sessions, image, points, cells, masked)[0] for masked in (False, True))
    assert np.abs(without - with_mask).max() > 1e-3


@pytest.mark.parametrize(("count", "points"), [(1, 1), (1, 4), (5, 2)])
def test_the_two_halves_give_the_masks_of_torch_for_any_number_of_prompts(sam, sessions, count, points):
    image, given = draw_image(4), draw(count, points, 5)
    cell_masks, iou_predictions = run_split(sessions, image, given, np.arange(GRID * GRID))
    expected, expected_iou = decode(sam, image, given, masked=False)
    masks = to_pixels(torch.from_numpy(cell_masks), (GRID, GRID))
    np.testing.assert_allclose(masks.numpy(), expected.numpy(), atol=APPROXIMATE)
    np.testing.assert_allclose(iou_predictions, expected_iou.numpy(), atol=1e-6)


@pytest.mark.parametrize(("count", "points"), [(1, 1), (3, 4)])
def test_with_exact_gelu_the_graph_of_a_click_is_exact(sam, count, points):
    image, given = draw_image(4), draw(count, points, 5)
    decoder = FastMaskDecoder(sam.mask_decoder)
    tensors = {name: torch.from_numpy(value) for name, value in (image | given).items()}
    with torch.no_grad():
        side = ImageSideGraph(sam, decoder)(tensors["image_embeddings"], tensors["mask_input"], torch.zeros(1))
        asked = tensors["point_coords"], tensors["point_labels"], torch.arange(GRID * GRID), list(side)
        cell_masks, iou_predictions = PromptSideGraph(sam, decoder)(*asked)
    expected, expected_iou = decode(sam, image, given, masked=False)
    np.testing.assert_allclose(to_pixels(cell_masks, (GRID, GRID)).numpy(), expected.numpy(), atol=2e-6)
    np.testing.assert_allclose(iou_predictions.numpy(), expected_iou.numpy(), atol=1e-6)


def test_the_corners_of_a_box_are_points_with_labels_2_and_3(sam, sessions):
    image, box = draw_image(6), np.array([[10.0, 20.0, 60.0, 70.0]], np.float32)
    given = {"point_coords": box.reshape(1, 2, 2), "point_labels": np.array([[2, 3]], np.float32)}
    cell_masks, _ = run_split(sessions, image, given, np.arange(GRID * GRID))
    embeddings = torch.from_numpy(image["image_embeddings"])
    expected, _ = sam.decode(embeddings, Prompts(boxes=torch.from_numpy(box)), multimask_output=True)
    masks = to_pixels(torch.from_numpy(cell_masks), (GRID, GRID))
    np.testing.assert_allclose(masks[:, 1:].numpy(), expected.numpy(), atol=APPROXIMATE)


def test_only_the_wanted_cells_are_upscaled_and_are_the_same_as_in_the_whole(sessions):
    image, given, cells = draw_image(7), draw(1, 1, 8), np.array([3, 7, 30])
    whole, _ = run_split(sessions, image, given, np.arange(GRID * GRID))
    some, _ = run_split(sessions, image, given, cells)
    assert some.shape == (1, 4, 4, 4, 3)
    np.testing.assert_allclose(some, whole[..., cells], atol=1e-5)


def test_names_and_lengths_are_those_of_the_official_model(sessions):
    official = sessions["decoder"]
    assert tuple(one.name for one in official.get_inputs()) == OFFICIAL_INPUTS
    assert tuple(one.name for one in official.get_outputs()) == OFFICIAL_OUTPUTS
    assert official.get_inputs()[1].shape == [1, "N", 2]
    assert official.get_modelmeta().custom_metadata_map["image_size"] == str(SIDE)


def test_an_unknown_part_is_said(sam, tmp_path):
    with pytest.raises(ValueError, match=r"expected parts of the decoder, of decoder, .*, got encoder"):
        export_decoder(sam, tmp_path, ["encoder"])
