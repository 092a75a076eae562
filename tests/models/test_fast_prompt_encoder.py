"""The fast prompt encoder stops before the last step of a mask, and differs in nothing else."""

import pytest
import torch

from opensam.models.fast_prompt_encoder import FastPromptEncoder
from opensam.models.image_side import fold_masks
from opensam.models.prompt_encoder import PromptEncoder
from opensam.prompts import Prompts

POINTS = Prompts(point_coords=torch.tensor([[[4.0, 6.0], [20.0, 10.0]]]), point_labels=torch.ones(1, 2))
MASK = Prompts(boxes=torch.tensor([[1.0, 2.0, 30.0, 40.0]]), mask_input=torch.randn(1, 1, 16, 16))


@pytest.fixture
def encoder(sam) -> PromptEncoder:
    """One that could be trained."""
    return sam.prompt_encoder


def test_its_rows_and_the_folded_vectors_give_the_dense_embedding(sam, encoder):
    rows = FastPromptEncoder(encoder, torch.float64)(MASK, (4, 4))[1]
    folded = fold_masks(sam.mask_decoder, encoder)
    dense = torch.einsum("pnhw,nc->pchw", rows, folded["mask_outs"][0]) + folded["no_mask"][:, None, None]
    torch.testing.assert_close(dense, encoder(MASK, (4, 4))[1])


@pytest.mark.parametrize("prompts", [POINTS, MASK], ids=["points", "a mask"])
def test_what_is_no_mask_is_the_same(encoder, prompts):
    fast = FastPromptEncoder(encoder, torch.float64)
    (sparse, dense), (expected, other) = fast(prompts, (4, 4)), encoder(prompts, (4, 4))
    assert torch.equal(sparse, expected)
    assert torch.equal(fast.dense_pe((4, 4)), encoder.dense_pe((4, 4)))
    assert (dense.shape == other.shape) == (prompts.mask_input is None)


def test_it_is_a_copy_without_gradients_under_the_same_keys(encoder):
    fast = FastPromptEncoder(encoder)
    assert fast.state_dict().keys() == encoder.state_dict().keys()
    assert {value.dtype for value in fast.state_dict().values()} == {torch.float32}
    assert not any(value.requires_grad for value in fast.parameters())
    assert all(value.requires_grad for value in encoder.parameters())
