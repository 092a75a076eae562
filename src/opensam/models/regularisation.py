"""What keeps a network from learning its training data by heart: stochastic depth and dropout.

Both are settings of a run, not of a model: they are off in a new model, act in training mode only, and leave no trace
in a config or a state dict. They draw from torch's global generator.
"""

from torch import nn

from opensam.models.layers import DropPath
from opensam.models.sam import Sam


def set_regularisation(sam: Sam, *, drop_path: float = 0.0, decoder_dropout: float = 0.0) -> None:
    """Set the rates of a model; 0 switches off.

    Args:
        sam: changed in place.
        drop_path: rate of stochastic depth in the last block of the image encoder; it rises linearly from 0 in the
            first block, as in ViTDet (paper, A: 0.4 for ViT-H and ViT-L, 0.6 for ViT-B).
        decoder_dropout: rate on what the layers of the mask decoder's transformer add to their input (paper, A: 0.1).
            The released code has none, so where it belongs is our reading; the first self-attention, which replaces its
            input, keeps all.

    Raises:
        ValueError: a rate is not in [0, 1).
    """
    for name, rate in (("drop_path", drop_path), ("decoder_dropout", decoder_dropout)):
        if not 0 <= rate < 1:
            raise ValueError(f"expected {name} in [0, 1), got {rate}; 0 switches it off")
    paths = [module for module in sam.image_encoder.modules() if isinstance(module, DropPath)]  # one per block
    for i, path in enumerate(paths):
        path.rate = drop_path * i / max(1, len(paths) - 1)
    for module in sam.mask_decoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = decoder_dropout
