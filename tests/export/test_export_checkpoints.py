"""Weights for other code: what it loads is the same model."""

from pathlib import Path

import pytest
import torch
import transformers

import opensam
from opensam.export.checkpoints import export_torch, export_transformers
from opensam.models.layouts import CheckpointError
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.prompts import Prompts

VIT = ViTConfig(embed_dim=32, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=3, image_size=64)
TINY_VIT = TinyViTConfig(embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), image_size=64)
KEYS = Path(__file__).parents[2].parent / "shared" / "golden"


def random_sam(encoder: ViTConfig | TinyViTConfig, **sizes: int) -> Sam:
    torch.manual_seed(5)
    return Sam(SamConfig(image_encoder=encoder, **sizes), "random").eval().requires_grad_(False)


@pytest.mark.parametrize("sizes", [{}, {"decoder_depth": 3, "decoder_heads": 4, "iou_head_depth": 4}], ids=str)
def test_transformers_loads_the_folder_and_answers_the_same(sizes, tmp_path):
    sam = random_sam(VIT, **sizes)
    export_transformers(sam, tmp_path / "model")
    theirs, loading = transformers.SamModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[20.0, 30.0], [40.0, 10.0]]])
    with torch.no_grad():
        answer = theirs(pixel_values=pixels, input_points=points[None], input_labels=torch.tensor([[[1, 0]]]))
    masks, scores = sam(pixels, Prompts(point_coords=points, point_labels=torch.tensor([[1, 0]])), True)
    torch.testing.assert_close(answer.pred_masks[0], masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(answer.iou_scores[0], scores, atol=1e-5, rtol=1e-4)


def test_transformers_reads_how_pictures_are_prepared(tmp_path):
    export_transformers(random_sam(VIT), tmp_path / "model")
    processor = transformers.SamImageProcessor.from_pretrained(tmp_path / "model")
    size = processor.size
    assert (size["longest_edge"] if isinstance(size, dict) else size.longest_edge) == 64


def test_a_folder_of_transformers_that_others_made_is_left_alone(tmp_path):
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).write_text("another model")
    with pytest.raises(ValueError, match="expected a new folder or one of an earlier export"):
        export_transformers(random_sam(VIT), tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == "another model"


def test_what_transformers_has_no_model_for_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="expected the weights of a sam_vit_"):
        export_transformers(random_sam(TINY_VIT), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("encoder", [VIT, TINY_VIT], ids=["vit", "tiny_vit"])
def test_a_pth_file_comes_back_as_the_same_model(encoder, tmp_path):
    sam = random_sam(encoder)
    export_torch(sam, tmp_path / "random.pth")
    loaded = opensam.load(checkpoint=tmp_path / "random.pth")
    for key, value in sam.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_the_embedded_model_has_the_keys_of_mobile_sam(tmp_path):
    listed = KEYS / "mobile_sam_keys.txt"
    if not listed.is_file():
        pytest.skip("needs the list of keys of the official file, which is not in this checkout")
    export_torch(opensam.load(), tmp_path / "tiny.pth")
    written = torch.load(tmp_path / "tiny.pth", weights_only=True)
    assert sorted(written) == sorted(line.split()[0] for line in listed.read_text().splitlines() if line.strip())
