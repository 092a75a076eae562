"""Layouts of a state dict: official keys, transformers' and MAE's keys, and what shapes say about a model.

Inside opensam a state dict always has the official keys, which are the attribute names of our networks;
MobileSAM's file has them too. `transformers.SamModel` enters and leaves through one key table, the encoder of a public
masked autoencoder (github.com/facebookresearch/mae) enters through another.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from opensam.models.sam import SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

StateDict = dict[str, Tensor]

# The ImageNet classifier that MobileSAM's file carries along, and that its code insists on.
IMAGENET_HEAD = ("image_encoder.norm_head.", "image_encoder.head.")
IMAGENET_CLASSES = 1000

# (official, transformers) beginnings of keys, {} a number. The first that fits is taken; other keys are the same in
# both. The position matrix, which transformers holds twice, and the mask decoder's MLPs are dealt with apart.
KEY_TABLE = (
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.blocks.{}.norm{}.", "vision_encoder.layers.{}.layer_norm{}."),
    ("image_encoder.blocks.{}.", "vision_encoder.layers.{}."),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("image_encoder.", "vision_encoder."),
    ("prompt_encoder.point_embeddings.{}.", "prompt_encoder.point_embed.{}."),
    ("prompt_encoder.mask_downscaling.0.", "prompt_encoder.mask_embed.conv1."),
    ("prompt_encoder.mask_downscaling.1.", "prompt_encoder.mask_embed.layer_norm1."),
    ("prompt_encoder.mask_downscaling.3.", "prompt_encoder.mask_embed.conv2."),
    ("prompt_encoder.mask_downscaling.4.", "prompt_encoder.mask_embed.layer_norm2."),
    ("prompt_encoder.mask_downscaling.6.", "prompt_encoder.mask_embed.conv3."),
    ("mask_decoder.transformer.layers.{}.norm{}.", "mask_decoder.transformer.layers.{}.layer_norm{}."),
    ("mask_decoder.transformer.norm_final_attn.", "mask_decoder.transformer.layer_norm_final_attn."),
    ("mask_decoder.output_upscaling.0.", "mask_decoder.upscale_conv1."),
    ("mask_decoder.output_upscaling.1.", "mask_decoder.upscale_layer_norm."),
    ("mask_decoder.output_upscaling.3.", "mask_decoder.upscale_conv2."),
)
# (official, MAE), read in the same way.
MAE_TABLE = (
    ("image_encoder.pos_embed", "pos_embed"),
    ("image_encoder.patch_embed.proj.", "patch_embed.proj."),
    ("image_encoder.blocks.{}.norm{}.", "blocks.{}.norm{}."),
    ("image_encoder.blocks.{}.attn.qkv.", "blocks.{}.attn.qkv."),
    ("image_encoder.blocks.{}.attn.proj.", "blocks.{}.attn.proj."),
    ("image_encoder.blocks.{}.mlp.lin1.", "blocks.{}.mlp.fc1."),
    ("image_encoder.blocks.{}.mlp.lin2.", "blocks.{}.mlp.fc2."),
)
MAE_CLASS_TOKEN = "cls_token"  # what tells its files from others
POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
TRANSFORMERS_POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
# The layers of an MLP are 0, 1, ..., n officially and proj_in, layers.0, ..., layers.n-2, proj_out in transformers.
MLP_KEY = re.compile(
    r"(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))"
    r"\.(proj_in|proj_out|layers\.(\d+))\.(weight|bias)"
)


class CheckpointError(ValueError):
    """No checkpoint, a damaged one, one that is not safe to read, or one of another model."""


def official_to_transformers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Official keys to those of `transformers.SamModel`.

    Raises:
        CheckpointError: the image encoder is not a ViT; transformers has no other for this model.
    """
    if "image_encoder.pos_embed" not in state_dict:
        raise CheckpointError(
            "expected the weights of a sam_vit_* model, got another image encoder; transformers' SamModel has no other"
        )
    translated: StateDict = {}
    for key, value in state_dict.items():
        if key == POSITIONS:
            # Clones, because safetensors refuses tensors that share memory.
            translated |= {twin: value.clone() for twin in TRANSFORMERS_POSITIONS}
        elif match := MLP_KEY.fullmatch(key):
            stem, _, number, end = match.groups()
            last = _numbered(state_dict, f"{stem}.layers.") - 1
            inner = {0: "proj_in", last: "proj_out"}.get(int(number), f"layers.{int(number) - 1}")
            translated[f"{stem}.{inner}.{end}"] = value
        else:
            translated[_translate(key, source=0)] = value
    return translated


def transformers_to_official(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Keys of `transformers.SamModel` to official ones: the inverse of `official_to_transformers`."""
    translated: StateDict = {}
    for key, value in state_dict.items():
        if key in TRANSFORMERS_POSITIONS:
            translated[POSITIONS] = value
        elif match := MLP_KEY.fullmatch(key):
            stem, inner, number, end = match.groups()
            last = _numbered(state_dict, f"{stem}.layers.") + 1
            place = {"proj_in": 0, "proj_out": last}.get(inner, int(number or 0) + 1)
            translated[f"{stem}.layers.{place}.{end}"] = value
        else:
            translated[_translate(key, source=1)] = value
    return translated


def with_imagenet_head(state_dict: Mapping[str, Tensor]) -> StateDict:
    """TinyViT weights with a classifier of zeros, for code that loads `mobile_sam.pt` strictly.

    Args:
        state_dict: official keys of a model with a TinyViT encoder.
    """
    width = state_dict["image_encoder.neck.0.weight"].shape[1]
    norm, head = IMAGENET_HEAD
    shapes = {
        f"{norm}weight": (width,),
        f"{norm}bias": (width,),
        f"{head}weight": (IMAGENET_CLASSES, width),
        f"{head}bias": (IMAGENET_CLASSES,),
    }
    return {**state_dict, **{key: torch.zeros(shape) for key, shape in shapes.items()}}


def mae_to_official(state_dict: Mapping[str, Tensor], config: ViTConfig) -> StateDict:
    """The encoder of a public masked autoencoder, as far as a SAM's image encoder has a place for it.

    Positions are interpolated to the grid of the config, without that of the class token. Patch kernels of another size
    (14 for ViT-H, where SAM has 16) are resized so that a patch that is enlarged with the kernel keeps its token.

    Args:
        state_dict: keys of facebookresearch/mae, with or without its decoder.
        config: of the image encoder.

    Returns:
        Official keys, without the neck and the relative positions, which such a file has not. Class token, final norm
        and decoder are left out.

    Raises:
        CheckpointError: the positions are not those of a square grid and a class token.
    """
    translated: StateDict = {}
    for key, value in state_dict.items():
        official = mae_key_to_official(key)
        if official == "image_encoder.pos_embed":
            translated[official] = _positions_on_grid(value, config.image_size // config.patch_size)
        elif official == "image_encoder.patch_embed.proj.weight":
            translated[official] = _resized_kernel(value, config.patch_size)
        elif official is not None:
            translated[official] = value
    return translated


def mae_key_to_official(key: str) -> str | None:
    """One key of a public masked autoencoder, None if a SAM's image encoder has no place for it."""
    official = _translate(key, source=1, table=MAE_TABLE)
    return official if official != key else None


def infer_config(state_dict: Mapping[str, Tensor], source: str | Path = "the state dict") -> SamConfig:
    """The sizes of the model that official keys and their shapes belong to.

    What leaves no trace in shapes is taken from the official models: 8 heads in the mask decoder, and for TinyViT,
    which runs at any size, an image size of 1024.

    Args:
        state_dict: official keys.
        source: where it comes from, for the error.

    Raises:
        CheckpointError: these are not the weights of a Segment Anything model.
    """
    shapes = {key: tuple(value.shape) for key, value in state_dict.items()}
    try:
        return SamConfig(
            image_encoder=_vit(shapes) if "image_encoder.pos_embed" in shapes else _tiny_vit(shapes),
            prompt_embed_dim=shapes["prompt_encoder.no_mask_embed.weight"][1],
            decoder_depth=_numbered(shapes, "mask_decoder.transformer.layers."),
            decoder_mlp_dim=shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
            iou_head_depth=_numbered(shapes, "mask_decoder.iou_prediction_head.layers."),
            iou_head_hidden_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"expected the weights of a Segment Anything model in {source}, got {some(list(shapes))}; check the file"
        ) from error


def some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _positions_on_grid(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings (1, 1 + n * n, D), a class token first -> (1, grid, grid, D), as in ViTDet."""
    count = positions.shape[1] if positions.ndim == 3 else 0
    side = math.isqrt(max(0, count - 1))
    if side == 0 or side**2 + 1 != count:
        raise CheckpointError(
            "expected pos_embed of a class token and a square grid in the weights of a masked autoencoder, got shape "
            f"{tuple(positions.shape)}; check the file"
        )
    square = positions[:, 1:].unflatten(1, (side, side))
    if side == grid:
        return square
    return F.interpolate(square.permute(0, 3, 1, 2), (grid, grid), mode="bicubic").permute(0, 2, 3, 1)


def _resized_kernel(kernel: Tensor, size: int) -> Tensor:
    """A patch kernel (D, 3, p, p) -> (D, 3, size, size) by the pseudo-inverse (FlexiViT, arXiv 2212.08013).

    Chosen over bicubic resizing because it answers an enlarged patch exactly as the old kernel answers the patch
    itself; resized pixels alone would change the scale and blur.
    """
    old = kernel.shape[-1]
    if old == size:
        return kernel
    units = torch.eye(old * old, dtype=torch.float64).view(-1, 1, old, old)
    enlarge = F.interpolate(units, (size, size), mode="bilinear").flatten(1)  # (old pixels, new pixels)
    resized = kernel.double().flatten(2) @ torch.linalg.pinv(enlarge).T
    return resized.view(*kernel.shape[:2], size, size).to(kernel.dtype)


def _translate(key: str, source: int, table: tuple[tuple[str, str], ...] = KEY_TABLE) -> str:
    for row in table:
        pattern = re.escape(row[source]).replace(r"\{\}", r"(\d+)")
        if match := re.match(pattern, key):
            return row[1 - source].format(*match.groups()) + key[match.end() :]
    return key


def _numbered(keys: Mapping[str, object], prefix: str) -> int:
    """How many different numbers follow a prefix."""
    return len({key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix)})


def _vit(shapes: dict[str, tuple[int, ...]]) -> ViTConfig:
    _, grid, _, embed_dim = shapes["image_encoder.pos_embed"]
    blocks = "image_encoder.blocks."
    depth = _numbered(shapes, blocks)
    tables = [shapes[f"{blocks}{i}.attn.rel_pos_h"] for i in range(depth)]  # (2 * span - 1, width of a head)
    spans = [(rows + 1) // 2 for rows, _ in tables]
    patch_size = shapes["image_encoder.patch_embed.proj.weight"][-1]
    return ViTConfig(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // tables[0][1],
        global_attn_indexes=tuple(i for i, span in enumerate(spans) if span == grid),
        image_size=grid * patch_size,
        patch_size=patch_size,
        window_size=min(spans),
        out_chans=shapes["image_encoder.neck.0.weight"][0],
        mlp_ratio=shapes[f"{blocks}0.mlp.lin1.weight"][0] / embed_dim,
    )


def _tiny_vit(shapes: dict[str, tuple[int, ...]]) -> TinyViTConfig:
    stages = "image_encoder.layers."
    dims = [shapes[f"{stages}{i}.blocks.0.attn.norm.weight"][0] for i in (1, 2, 3)]
    biases = [shapes[f"{stages}{i}.blocks.0.attn.attention_biases"] for i in (1, 2, 3)]  # (heads, window ** 2)
    unused = TinyViTConfig()  # the first stage has neither heads nor windows
    return TinyViTConfig.model_validate(
        {
            "embed_dims": [shapes["image_encoder.patch_embed.seq.2.c.weight"][0], *dims],
            "depths": [_numbered(shapes, f"{stages}{i}.blocks.") for i in range(4)],
            "num_heads": [unused.num_heads[0], *(heads for heads, _ in biases)],
            "window_sizes": [unused.window_sizes[0], *(round(cells**0.5) for _, cells in biases)],
            "out_chans": shapes["image_encoder.neck.0.weight"][0],
        }
    )
