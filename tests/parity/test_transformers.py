"""Our networks against `transformers.SamModel` with the same random weights, moved through our key table.

The conventions of the two differ, and `ask` translates:
- transformers has axes (images, prompts, points); we have (prompts, points) and an image index;
- its mask prompt belongs to an image, ours to a prompt, so prompts with a mask are asked one image each;
- both add the padding point (0, 0) with label -1 exactly when there is no box; its label -10 pads unequal numbers of
  points with zero tokens, which we do not have: other numbers of points go into other calls;
- its mask decoder normalises with epsilon 1e-6 where the official code has 1e-5: set in its config here.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from opensam.models.checkpoints import (
    infer_config,
    load_into,
    official_to_transformers,
    read,
    save,
    transformers_to_official,
)
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig
from opensam.prompts import Prompts

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}

# Two sizes that reach global attention: in the first, windows do not fill the 7 x 7 grid and are padded.
SMALL = {
    "padded windows": SamConfig(
        image_encoder=ViTConfig(
            embed_dim=24,
            depth=4,
            num_heads=3,
            global_attn_indexes=(1, 3),
            image_size=112,
            window_size=3,
            out_chans=32,
        ),
        prompt_embed_dim=32,
        decoder_mlp_dim=48,
        iou_head_hidden_dim=40,
    ),
    "deeper decoder": SamConfig(
        image_encoder=ViTConfig(
            embed_dim=32,
            depth=2,
            num_heads=2,
            global_attn_indexes=(0,),
            image_size=64,
            window_size=2,
            out_chans=64,
            mlp_ratio=2.0,
        ),
        prompt_embed_dim=64,
        decoder_depth=3,
        decoder_heads=4,
        decoder_mlp_dim=32,
        iou_head_depth=4,
    ),
}
CONFIGS = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)
VIT_B = SamConfig(image_encoder=ViTConfig(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)))


def transformers_model(config: SamConfig) -> transformers.SamModel:
    """A SamModel of these sizes whose every tensor is random and matters."""
    encoder, dim = config.image_encoder, config.prompt_embed_dim
    vision = {
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "global_attn_indexes": list(encoder.global_attn_indexes),
        "image_size": encoder.image_size,
        "window_size": encoder.window_size,
        "output_channels": encoder.out_chans,
        "mlp_ratio": encoder.mlp_ratio,
        "num_pos_feats": dim // 2,
    }
    decoder = {
        "hidden_size": dim,
        "num_hidden_layers": config.decoder_depth,
        "num_attention_heads": config.decoder_heads,
        "mlp_dim": config.decoder_mlp_dim,
        "iou_head_depth": config.iou_head_depth,
        "iou_head_hidden_dim": config.iou_head_hidden_dim,
        "layer_norm_eps": 1e-5,
    }
    model = transformers.SamModel(
        transformers.SamConfig(
            vision_config=vision,
            prompt_encoder_config={"hidden_size": dim, "image_size": encoder.image_size},
            mask_decoder_config=decoder,
        )
    )
    rng = torch.Generator().manual_seed(0)
    for key, value in model.state_dict().items():
        fan_in = value[0].numel() if value.ndim > 1 else 1
        noise = torch.randn(value.shape, generator=rng)
        if "norm" in key and key.endswith("weight"):
            value.copy_(1 + 0.1 * noise)
        elif key.endswith("positional_embedding"):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))  # two tied tensors
        else:
            value.copy_(noise / fan_in**0.5 if value.ndim > 1 else 0.1 * noise)
    return model.eval()


def our_model(theirs: transformers.SamModel, config: SamConfig) -> Sam:
    sam = Sam(config).eval()
    load_into(sam, transformers_to_official(theirs.state_dict()), "transformers")
    return sam


@dataclass(frozen=True)
class Pair:
    """Two models with the same weights."""

    theirs: transformers.SamModel
    ours: Sam

    @property
    def config(self) -> SamConfig:
        return self.ours.config

    def pixels(self, count: int = 1) -> Tensor:
        side, rng = self.config.image_size, torch.Generator().manual_seed(3)
        return torch.randn(count, 3, side, side, generator=rng, dtype=self.ours.dtype)

    def embed(self, pixels: Tensor) -> Tensor:
        """Of their image encoder, compared with ours."""
        expected = self.theirs.get_image_embeddings(pixels)
        assert_close(self.ours.encode(pixels), expected)
        return expected


def pair(config: SamConfig, dtype: torch.dtype) -> Pair:
    theirs = transformers_model(config)
    return Pair(theirs.to(dtype), our_model(theirs, config).to(dtype))


@pytest.fixture(scope="module", params=[(name, dtype) for name in SMALL for dtype in TOLERANCE], ids=str)
def both(request: pytest.FixtureRequest) -> Pair:
    name, dtype = request.param
    return pair(SMALL[name], dtype)


def ask(
    theirs: transformers.SamModel, embeddings: Tensor, prompts: Prompts, multimask_output: bool
) -> tuple[Tensor, Tensor]:
    """Masks (P, C, 4h, 4w) and scores (P, C) of transformers, one image per prompt."""
    index = torch.zeros(prompts.count, dtype=torch.int64) if prompts.image_index is None else prompts.image_index
    given: dict[str, Any] = {
        "input_points": None if prompts.point_coords is None else prompts.point_coords[:, None],
        "input_labels": None if prompts.point_labels is None else prompts.point_labels[:, None],
        "input_boxes": None if prompts.boxes is None else prompts.boxes[:, None],
        "input_masks": prompts.mask_input,
    }
    answer = theirs(image_embeddings=embeddings[index], multimask_output=multimask_output, **given)
    return answer.pred_masks[:, 0], answer.iou_scores[:, 0]


def assert_close(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    error = ((got - expected).abs().max() / expected.abs().max()).item()
    assert error <= TOLERANCE[got.dtype]


def make_prompts(kind: str, config: SamConfig, dtype: torch.dtype, count: int = 1) -> Prompts:
    """`count` prompts, no two alike."""
    rng, side = torch.Generator().manual_seed(2), config.image_size
    points = 5 if kind == "5 points" else 2 if "points" in kind else 1
    coords = torch.rand(count, points, 2, generator=rng, dtype=dtype) * side
    labels = torch.randint(0, 2, (count, points), generator=rng)
    labels[:, 0] = 1
    if kind == "a point and none":
        coords, labels = coords.repeat(1, 2, 1), torch.cat([labels, -torch.ones_like(labels)], dim=1)
    corners = (torch.rand(count, 2, 2, generator=rng, dtype=dtype) * side).sort(dim=1).values
    mask = torch.randn(count, 1, side // 4, side // 4, generator=rng, dtype=dtype)
    return Prompts(
        point_coords=coords if "point" in kind else None,
        point_labels=labels if "point" in kind else None,
        boxes=corners.flatten(1) if "box" in kind else None,
        mask_input=mask if "mask" in kind else None,
    )


KINDS = ["1 point", "5 points", "box", "box + points", "point + mask", "box + mask", "mask", "a point and none"]


def assert_same_answer(both: Pair, embeddings: Tensor, prompts: Prompts, multimask_output: bool) -> None:
    masks, scores = both.ours.decode(embeddings, prompts, multimask_output)
    expected_masks, expected_scores = ask(both.theirs, embeddings, prompts, multimask_output)
    assert_close(masks, expected_masks)
    assert_close(scores, expected_scores)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multimask_output", [True, False], ids=["multi", "single"])
def test_masks_and_scores(both: Pair, kind: str, multimask_output: bool) -> None:
    prompts = make_prompts(kind, both.config, both.ours.dtype)
    assert_same_answer(both, both.embed(both.pixels()), prompts, multimask_output)


def test_the_way_that_keeps_gradients_gives_the_same(both: Pair) -> None:
    prompts = make_prompts("box + points", both.config, both.ours.dtype)
    assert_same_answer(both, both.embed(both.pixels()), prompts, multimask_output=True)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["box + points + mask", "5 points", "mask"])
def test_seven_prompts_over_three_images_are_each_one_alone(both: Pair, kind: str) -> None:
    pixels, image_index = both.pixels(count=3), torch.tensor([2, 0, 0, 1, 2, 0, 1])
    given = {
        name: value
        for name, value in vars(make_prompts(kind, both.config, both.ours.dtype, count=7)).items()
        if value is not None
    }
    masks, scores = both.ours(pixels, Prompts(**given, image_index=image_index), multimask_output=True)
    for i, image in enumerate(image_index.tolist()):
        prompt = Prompts(**{name: value[i : i + 1] for name, value in given.items()})
        embeddings = both.embed(pixels[image : image + 1])
        for expected_masks, expected_scores in (
            ask(both.theirs, embeddings, prompt, True),
            both.ours.decode(embeddings, prompt, True),
        ):
            assert_close(masks[i : i + 1], expected_masks)
            assert_close(scores[i : i + 1], expected_scores)


@CONFIGS
def test_weights_go_there_and_back(config: SamConfig, tmp_path: Any) -> None:
    theirs = transformers_model(config)
    sam = our_model(theirs, config)
    sent = official_to_transformers(sam.state_dict())
    expected = theirs.state_dict()
    assert sent.keys() == expected.keys()
    assert all(torch.equal(sent[key], expected[key]) for key in sent)
    assert infer_config(sam.state_dict()).image_encoder == config.image_encoder


@CONFIGS
def test_a_folder_that_transformers_wrote_is_read(config: SamConfig, tmp_path: Any) -> None:
    theirs = transformers_model(config)
    theirs.save_pretrained(tmp_path)
    checkpoint = read(tmp_path)
    assert checkpoint.config == config
    sam = our_model(theirs, config)
    assert checkpoint.state_dict.keys() == sam.state_dict().keys()
    assert all(torch.equal(value, checkpoint.state_dict[key]) for key, value in sam.state_dict().items())
    save(sam, tmp_path / "ours.safetensors")
    assert read(tmp_path / "ours.safetensors").config == config


@pytest.mark.slow
@torch.inference_mode()
def test_vit_b_at_full_size() -> None:
    both = pair(VIT_B, torch.float32)
    prompts = make_prompts("box + points", VIT_B, torch.float32)
    assert_same_answer(both, both.embed(both.pixels()), prompts, multimask_output=True)
