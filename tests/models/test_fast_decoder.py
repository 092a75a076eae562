"""The fast decoder answers as the plain one, which is the oracle."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from opensam.models import fast_decoder
from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.fast_prompt_encoder import FastPromptEncoder
from opensam.models.mask_decoder import MaskDecoder
from opensam.models.prompt_encoder import PromptEncoder
from opensam.models.two_way_transformer import TwoWayTransformer
from opensam.prompts import Prompts

DIM = 32
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def decoder(dtype: torch.dtype = torch.float64, depth: int = 2, heads: int = 4) -> MaskDecoder:
    """Of random weights, all of which matter: biases and norms too."""
    rng = torch.Generator().manual_seed(0)
    transformer = TwoWayTransformer(depth=depth, embedding_dim=DIM, num_heads=heads, mlp_dim=48)
    plain = MaskDecoder(transformer_dim=DIM, transformer=transformer, iou_head_hidden_dim=24)
    with torch.no_grad():
        for name, value in plain.named_parameters():
            noise = torch.randn(value.shape, generator=rng)
            norm = "norm" in name or "output_upscaling.1" in name
            value.copy_(1 + 0.3 * noise if norm else noise / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.3 * noise)
    return plain.to(dtype).eval().requires_grad_(False)


def ask(
    dtype: torch.dtype = torch.float64,
    count: int = 3,
    tokens: int = 2,
    grid: tuple[int, int] = (4, 4),
    images: int = 1,
    mask_input: bool = False,
    vectors: bool = False,
) -> dict[str, Tensor | None]:
    """Arguments of a decoder, the dense embedding expanded without a copy as the prompt encoder does it."""
    rng = torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    dense = some(count if mask_input or vectors else 1, DIM, *grid)
    return {
        "image_embeddings": some(images, DIM, *grid),
        "image_pe": some(1, DIM, *grid),
        "sparse_prompt_embeddings": some(count, tokens, DIM),
        "dense_prompt_embeddings": dense if mask_input else dense[..., :1, :1].expand(count, -1, *grid),
        "image_index": None if images == 1 else torch.arange(count).flip(0) % images,
    }


def prompt_encoder(dtype: torch.dtype = torch.float64) -> PromptEncoder:
    """Of random weights; the embedding of no mask is not small beside those of masks."""
    torch.manual_seed(0)
    return PromptEncoder(DIM, image_size=64).to(dtype).eval().requires_grad_(False)


def with_masks(given: dict[str, Tensor | None], encoder: PromptEncoder, seed: int = 2) -> dict[str, Tensor | None]:
    """The same arguments, the dense embeddings those of random masks."""
    pe = given["image_pe"]
    shape = len(given["sparse_prompt_embeddings"]), 1, 4 * pe.shape[2], 4 * pe.shape[3]
    logits = 5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    prompts = Prompts(boxes=torch.zeros(shape[0], 4), mask_input=logits.to(pe.dtype))
    return given | {"dense_prompt_embeddings": encoder(prompts, (pe.shape[2], pe.shape[3]))[1]}


def relative_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max()).item()


KINDS = {
    "one prompt": {"count": 1},
    "no sparse tokens": {"tokens": 0},
    "fifteen tokens": {"tokens": 15},
    "a grid that is no square": {"grid": (3, 5)},
    "masks given": {"mask_input": True},
    "a vector for each prompt": {"vectors": True},
    "one prompt with a mask": {"count": 1, "mask_input": True},
    "three images": {"count": 7, "images": 3},
    "three images, masks given": {"count": 7, "images": 3, "mask_input": True},
    "more images than prompts": {"count": 2, "images": 4},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multimask_output", [True, False], ids=["multi", "single"])
def test_masks_and_scores_are_those_of_the_plain_decoder(kind: str, multimask_output: bool, dtype: torch.dtype) -> None:
    plain, given = decoder(dtype), ask(dtype, **KINDS[kind])
    expected = plain(**given, multimask_output=multimask_output)
    got = FastMaskDecoder(plain, dtype)(**given, multimask_output=multimask_output)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        assert relative_error(one, other) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("depth", "heads"), [(1, 2), (3, 4), (4, 8)])
def test_any_number_of_layers_and_heads(depth: int, heads: int) -> None:
    plain, given = decoder(depth=depth, heads=heads), ask()
    expected = plain(**given, multimask_output=True)
    got = FastMaskDecoder(plain, torch.float64)(**given, multimask_output=True)
    assert all(relative_error(one, other) <= 1e-10 for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize("at_once", [2, 64])
def test_the_number_of_prompts_at_once_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_decoder, "PROMPTS_ON_CPU", at_once)
    monkeypatch.setattr(fast_decoder, "TOKENS_ON_CPU", 8)
    plain, given = decoder(), ask(count=5, images=2)
    expected = plain(**given, multimask_output=True)
    got = FastMaskDecoder(plain, torch.float64)(**given, multimask_output=True)
    assert all(relative_error(one, other) <= 1e-10 for one, other in zip(got, expected, strict=True))


def test_masks_of_chosen_prompts_come_in_their_order() -> None:
    plain, given = decoder(), ask(count=6, images=2)
    fast = FastMaskDecoder(plain, torch.float64)
    attended = fast.attend(**given, multimask_output=True)
    expected = plain.attend(**given, multimask_output=True)
    assert relative_error(attended.iou_predictions, expected.iou_predictions) <= 1e-10
    for chosen in ([4, 0, 3], [5], [2, 2], []):
        masks = fast.masks(attended, torch.tensor(chosen, dtype=torch.int64))
        assert masks.shape == (len(chosen), 3, 16, 16)
        if chosen:
            assert relative_error(masks, plain.masks(expected, torch.tensor(chosen))) <= 1e-10


def test_no_prompts_give_no_masks() -> None:
    masks, scores = FastMaskDecoder(decoder(), torch.float64)(**ask(count=0), multimask_output=True)
    assert masks.shape == (0, 3, 16, 16)
    assert scores.shape == (0, 3)


def test_an_image_that_was_changed_in_place_is_seen() -> None:
    plain, given = decoder(), ask()
    fast = FastMaskDecoder(plain, torch.float64)
    for name in ("image_embeddings", "image_pe", "dense_prompt_embeddings", "sparse_prompt_embeddings"):
        fast(**given, multimask_output=True)
        with torch.inference_mode():  # where torch counts no versions
            given[name].as_strided((1,), (1,)).mul_(2)
        masks, _ = fast(**given, multimask_output=True)
        assert relative_error(masks, plain(**given, multimask_output=True)[0]) <= 1e-10


def test_the_last_image_is_not_projected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given, fast = ask(), FastMaskDecoder(decoder(), torch.float64)
    first = fast(**given, multimask_output=True)[0]
    monkeypatch.setattr(fast_decoder, "ImageSide", None)  # what is made for a new image
    torch.testing.assert_close(fast(**given, multimask_output=True)[0], first)
    with pytest.raises(TypeError):
        fast(**given | {"image_embeddings": given["image_embeddings"] + 1}, multimask_output=True)


MASKED = {
    "one prompt": {"count": 1},
    "several prompts": {"count": 5},
    "no sparse tokens": {"tokens": 0},
    "a grid that is no square": {"grid": (3, 5)},
    "three images": {"count": 7, "images": 3},
    "no prompt": {"count": 0},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("at_once", [1, 2])
def test_masks_of_the_fast_prompt_encoder_count_as_those_of_the_plain_one(
    kind: str, at_once: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_decoder, "PROMPTS_ON_CPU", at_once)
    plain, encoder, given = decoder(dtype), prompt_encoder(dtype), ask(dtype, **MASKED[kind])
    fast = FastMaskDecoder(plain, dtype, encoder)
    expected = plain(**with_masks(given, encoder), multimask_output=True)
    got = fast(**with_masks(given, FastPromptEncoder(encoder, dtype)), multimask_output=True)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == dtype
        assert not one.numel() or relative_error(one, other) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("depth", "heads"), [(1, 2), (3, 4)])
def test_masks_go_through_any_number_of_layers_and_heads(depth: int, heads: int) -> None:
    plain, encoder = decoder(depth=depth, heads=heads), prompt_encoder()
    fast, quick = FastMaskDecoder(plain, torch.float64, encoder), FastPromptEncoder(encoder, torch.float64)
    masks, _ = fast(**with_masks(ask(), quick), multimask_output=True)
    assert relative_error(masks, plain(**with_masks(ask(), encoder), multimask_output=True)[0]) <= 1e-10


def test_prompts_with_and_without_masks_share_what_is_kept_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, encoder, given = decoder(), prompt_encoder(), ask()
    fast, quick = FastMaskDecoder(plain, torch.float64, encoder), FastPromptEncoder(encoder, torch.float64)
    prompts = Prompts(boxes=torch.zeros(3, 4, dtype=torch.float64))
    unmasked = given | {"dense_prompt_embeddings": quick(prompts, (4, 4))[1]}
    first = plain(**unmasked, multimask_output=True)[0]
    assert relative_error(fast(**unmasked, multimask_output=True)[0], first) <= 1e-10
    monkeypatch.setattr(fast_decoder, "ImageSide", None)  # what is made for a new image
    for seed in (2, 3, 2):
        masks, _ = fast(**with_masks(given, quick, seed), multimask_output=True)
        expected, _ = plain(**with_masks(given, encoder, seed), multimask_output=True)
        assert relative_error(masks, expected) <= 1e-10
        assert relative_error(first, expected) > 0.01, "the mask says nothing"
    assert relative_error(fast(**unmasked, multimask_output=True)[0], first) <= 1e-10


def test_bfloat16_products_with_masks_have_small_errors_too() -> None:
    plain, encoder, given = decoder(torch.float32), prompt_encoder(torch.float32), ask(torch.float32, count=4)
    fast = FastMaskDecoder(plain, torch.bfloat16, encoder)
    got = fast(**with_masks(given, FastPromptEncoder(encoder)), multimask_output=True)
    expected = plain(**with_masks(given, encoder), multimask_output=True)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        assert relative_error(one, other) <= 0.05


def test_bfloat16_products_keep_float32_results_and_small_errors() -> None:
    plain, given = decoder(torch.float32), ask(torch.float32, count=8, images=2)
    masks, scores = FastMaskDecoder(plain, torch.bfloat16)(**given, multimask_output=True)
    expected_masks, expected_scores = plain(**given, multimask_output=True)
    assert masks.dtype == scores.dtype == torch.float32
    assert relative_error(masks, expected_masks) <= 0.05
    assert relative_error(scores, expected_scores) <= 0.05


def test_prompts_of_the_prompt_encoder() -> None:
    encoder, plain = prompt_encoder(), decoder()
    fast = FastMaskDecoder(plain, torch.float64)
    for mask_input in (None, torch.randn(2, 1, 16, 16, dtype=torch.float64)):
        prompts = Prompts(boxes=torch.rand(2, 4, dtype=torch.float64) * 64, mask_input=mask_input)
        sparse, dense = encoder(prompts, (4, 4))
        given = {"sparse_prompt_embeddings": sparse, "dense_prompt_embeddings": dense}
        given = ask() | given | {"image_pe": encoder.dense_pe((4, 4))}
        masks, _ = fast(**given, multimask_output=False)
        assert relative_error(masks, plain(**given, multimask_output=False)[0]) <= 1e-10


def test_the_plain_decoder_stays_trainable_and_the_fast_one_keeps_no_gradients() -> None:
    plain = decoder().requires_grad_(True).train()
    fast = FastMaskDecoder(plain, torch.float64)
    assert all(value.requires_grad for value in plain.parameters())
    assert all(part.training for part in plain.modules())
    assert not any(value.requires_grad for value in fast.parameters())
    assert not any(part.training for part in fast.mask_tokens.modules())
    masks, scores = fast(**ask(), multimask_output=True)
    assert not masks.requires_grad
    assert not scores.requires_grad


def test_what_waits_for_masks_holds_no_projections_of_the_image() -> None:
    attended = FastMaskDecoder(decoder(), torch.float64).attend(**ask(mask_input=True), multimask_output=True)
    for _, upscaled, _ in attended.image_tokens:
        assert upscaled.untyped_storage().nbytes() == upscaled.numel() * upscaled.element_size()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_a_copy_answers_the_same_and_has_the_keys_of_the_plain_decoder(again) -> None:
    plain, given = decoder(), ask()
    fast = FastMaskDecoder(plain, torch.float64)
    expected = fast(**given, multimask_output=True)
    copied = again(fast)
    for one, other in zip(copied(**given, multimask_output=True), expected, strict=True):
        assert torch.equal(one, other)
    assert copied.state_dict().keys() == plain.state_dict().keys()
