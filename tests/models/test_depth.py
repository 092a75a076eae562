from collections import Counter

import pytest

from opensam.models.depth import encoder_layers, layer_of
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

VIT = ViTConfig(embed_dim=32, depth=12, num_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3)
TINY = TinyViTConfig(embed_dims=(8, 16, 24, 32), depths=(2, 1, 3, 2), num_heads=(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("config", "name", "layer"),
    [
        (VIT, "image_encoder.pos_embed", 0),
        (VIT, "image_encoder.patch_embed.proj.bias", 0),
        (VIT, "image_encoder.blocks.0.attn.rel_pos_h", 1),
        (VIT, "image_encoder.blocks.11.mlp.lin1.weight", 12),
        (VIT, "module.sam.image_encoder.blocks.2.norm1.weight", 3),
        (VIT, "image_encoder.blocks.2.attn.qkv.parametrizations.weight.0.a", 3),
        (VIT, "image_encoder.neck.2.weight", 13),
        (VIT, "mask_decoder.transformer.layers.0.norm1.weight", 13),
        (TINY, "image_encoder.patch_embed.seq.2.c.weight", 0),
        (TINY, "image_encoder.layers.0.blocks.0.conv1.c.weight", 1),
        (TINY, "image_encoder.layers.0.blocks.1.conv1.bn.weight", 2),
        (TINY, "image_encoder.layers.0.downsample.conv1.c.weight", 2),
        (TINY, "image_encoder.layers.1.blocks.0.attn.attention_biases", 3),
        (TINY, "image_encoder.layers.2.blocks.2.mlp.fc1.weight", 6),
        (TINY, "image_encoder.layers.2.downsample.conv3.bn.bias", 6),
        (TINY, "image_encoder.layers.3.blocks.1.local_conv.bn.weight", 8),
        (TINY, "image_encoder.neck.0.weight", 9),
    ],
)
def test_layers_are_counted_from_the_picture_to_the_neck(
    config: ViTConfig | TinyViTConfig, name: str, layer: int
) -> None:
    assert layer_of(name, config) == layer


@pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny_vit"])
def test_every_parameter_has_a_layer_and_every_layer_a_parameter(config: ViTConfig | TinyViTConfig) -> None:
    sam = Sam(SamConfig(image_encoder=config))
    names = [name for name, _ in sam.named_parameters() if name.startswith("image_encoder.")]
    layers = [layer_of(name, config) for name in names]
    assert layers == sorted(layers) or config is VIT  # pos_embed comes before the modules
    assert set(layers) == set(range(encoder_layers(config)))
    assert Counter(layers)[encoder_layers(config) - 1] == 6  # the neck


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (VIT, "image_encoder.layers.0.blocks.0.x"),
        (TINY, "image_encoder.blocks.0.x"),
        (VIT, "image_encoder.norm.weight"),
    ],
)
def test_a_parameter_of_another_encoder_is_refused(config: ViTConfig | TinyViTConfig, name: str) -> None:
    with pytest.raises(ValueError, match=f"expected a parameter of a {config.kind} image encoder, got '{name}'"):
        layer_of(name, config)
