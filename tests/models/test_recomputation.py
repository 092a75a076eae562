import copy

import pytest
import torch
from torch import Tensor, nn

from opensam.models.recomputation import set_recomputation
from opensam.models.regularisation import set_regularisation
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

CONFIGS = {
    "vit": ViTConfig(embed_dim=32, depth=3, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3),
    "tiny_vit": TinyViTConfig(image_size=64, embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4)),
}


def make(kind: str) -> Sam:
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=CONFIGS[kind]))
    set_regularisation(sam, drop_path=0.5)
    for parameter in sam.parameters():  # MBConv starts as the identity
        parameter.data += 0.1 * torch.randn_like(parameter)
    return sam.double()


def kept_bytes(sam: Sam) -> int:
    """What a forward pass keeps for the backward pass, without the weights; and its gradients are left in `sam`."""
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in sam.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(1)
    pixels = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = sam.encode(pixels).square().mean()
    loss.backward()
    return sum(kept.values())


@pytest.mark.parametrize("kind", CONFIGS)
def test_same_gradients_and_statistics_with_less_memory_also_under_drop_path(kind: str) -> None:
    plain = make(kind)
    sam = copy.deepcopy(plain)
    set_recomputation(sam, True)
    assert kept_bytes(sam) < kept_bytes(plain) / 2
    for (name, got), expected in zip(sam.named_parameters(), plain.parameters(), strict=True):
        assert (got.grad is None) == (expected.grad is None), name
        if got.grad is not None and expected.grad is not None:
            assert torch.allclose(got.grad, expected.grad, rtol=1e-9, atol=1e-12), name
    for name, buffer in sam.named_buffers():
        assert torch.equal(buffer, plain.get_buffer(name)), name


@pytest.mark.parametrize("kind", CONFIGS)
def test_blocks_run_twice_only_when_asked_and_only_for_gradients(kind: str) -> None:
    sam = make(kind)
    encoder = sam.image_encoder
    block = (encoder.blocks if kind == "vit" else encoder.layers[1].blocks)[0]
    calls: list[int] = []
    assert isinstance(block, nn.Module)
    block.attn.register_forward_hook(lambda *_: calls.append(1))
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = {True: 2, False: 1}
    for on in (True, False):
        set_recomputation(sam, on)
        calls.clear()
        sam.encode(pixels).sum().backward()
        assert len(calls) == expected[on]
    set_recomputation(sam, True)
    calls.clear()
    with torch.no_grad():
        sam.encode(pixels)
    assert len(calls) == 1
