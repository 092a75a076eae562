"""Our networks against stored answers of the official ViT-B code and of MobileSAM's code.

Both sides have weights that follow from their keys, see ../shared/golden/README.md; no checkpoint is needed.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam.geometry import Resize
from opensam.models.layouts import with_imagenet_head
from opensam.models.sam import Sam
from opensam.models.zoo import find
from opensam.prompts import Prompts

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the golden values are not there: {GOLDEN}")

RELATIVE = 1e-4  # of the largest value
AREAS = 1e-4
PROMPTS = ("point", "points", "box", "box_point")


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The weights, the picture and the prompts."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative_error(got: Tensor, expected: NDArray[np.float32]) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got.numpy() - expected).max() / np.abs(expected).max())


def prompts_of(prompt: dict[str, Any], mask_input: Tensor | None = None) -> Prompts:
    coords, labels, box = (prompt.get(key) for key in ("point_coords", "point_labels", "box"))
    return Prompts(
        point_coords=None if coords is None else torch.tensor([coords]),
        point_labels=None if labels is None else torch.tensor([labels]),
        boxes=None if box is None else torch.tensor([box]),
        mask_input=mask_input,
    )


def answers(sam: Sam, recipe: ModuleType) -> dict[str, Tensor]:
    """What the golden file holds, under its keys without the name of the model."""
    picture = recipe.picture()
    embeddings = sam.encode(sam.preprocess(torch.from_numpy(picture).permute(2, 0, 1)))
    found = {
        "image_embeddings": embeddings[0, ::16, ::4, ::4],
        "image_embeddings_mean_std": torch.stack([embeddings.mean(), embeddings.std(correction=0)]),
    }
    first, _ = sam.decode(embeddings, prompts_of(recipe.PROMPTS["point"]), multimask_output=True)
    cases = {
        f"{name}/{mode}": (prompts_of(recipe.PROMPTS[name]), mode == "multi")
        for name in PROMPTS
        for mode in ("multi", "single")
    }
    cases["point_mask_input/single"] = (prompts_of(recipe.PROMPTS["point"], mask_input=first[:, 1:2]), False)
    for case, (prompts, multimask_output) in cases.items():
        low_res_masks, iou_predictions = sam.decode(embeddings, prompts, multimask_output)
        masks = Resize(picture.shape[:2], sam.image_size).restore_masks(low_res_masks) > sam.mask_threshold
        found[f"{case}/low_res_masks"] = low_res_masks[0, :, ::8, ::8]
        found[f"{case}/iou_predictions"] = iou_predictions[0]
        found[f"{case}/mask_area"] = masks[0].sum((-2, -1))
    return found


@pytest.mark.parametrize("name", ["mobile_sam", pytest.param("sam_vit_b", marks=pytest.mark.slow)])
def test_embeddings_masks_scores_and_areas(name: str, recipe: ModuleType) -> None:
    sam = Sam(find(name).config).eval()
    sam.load_state_dict(recipe.fill(sam.state_dict()))
    with torch.inference_mode():
        found = answers(sam, recipe)
    with np.load(GOLDEN / "expected.npz") as arrays:
        expected = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}
    assert found.keys() == expected.keys()  # nothing that is stored goes unchecked
    errors = {key: relative_error(found[key], expected[key]) for key in found}
    wrong = {key: error for key, error in errors.items() if error > (AREAS if "area" in key else RELATIVE)}
    assert wrong == {}


@pytest.mark.parametrize("name", ["mobile_sam", "sam_vit_b"])
def test_keys_and_shapes_are_those_of_the_official_file(name: str) -> None:
    weights = Sam(find(name).config).state_dict()
    if name == "mobile_sam":
        weights = with_imagenet_head(weights)
    official = dict(line.split("\t") for line in (GOLDEN / f"{name}_keys.txt").read_text().splitlines())
    assert {key: str(tuple(value.shape)) for key, value in weights.items()} == official
