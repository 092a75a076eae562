"""How deep in the image encoder a parameter is, for learning rates that fall with the distance from the output."""

from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig


def encoder_layers(config: ViTConfig | TinyViTConfig) -> int:
    """The number of layers that `layer_of` tells apart: the embedding, every block, and the neck."""
    return 2 + (config.depth if isinstance(config, ViTConfig) else sum(config.depths))


def layer_of(name: str, config: ViTConfig | TinyViTConfig) -> int:
    """The layer of a parameter, counted as in ViTDet.

    Args:
        name: of the parameter, with `image_encoder.` somewhere in it, as in a `Sam` or a wrapper of one.
        config: of the image encoder.

    Returns:
        0 for patch and position embedding, 1 to depth for the blocks in their order, and the last, depth + 1, for the
        neck. What follows the encoder counts as the last layer too. A step of TinyViT to the next grid belongs to the
        block before it.

    Raises:
        ValueError: the encoder has no such parameter.
    """
    last = encoder_layers(config) - 1
    _, encoder, inner = name.rpartition("image_encoder.")
    first, *rest = inner.split(".")
    if not encoder or first == "neck":
        return last
    if first in ("patch_embed", "pos_embed"):
        return 0
    numbers = [int(part) for part in rest if part.isdecimal()]
    if isinstance(config, ViTConfig) and first == "blocks" and numbers:
        return 1 + numbers[0]
    if isinstance(config, TinyViTConfig) and first == "layers" and numbers:
        before = sum(config.depths[: numbers[0]])
        if rest[1] == "blocks":
            return 1 + before + numbers[1]
        return before + config.depths[numbers[0]]
    raise ValueError(
        f"expected a parameter of a {config.kind} image encoder, got {name!r}; give the model's own config"
    )
