"""Weights in the layouts of other code: a folder for `transformers.SamModel`, a .pth for the official code."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from opensam.export.onnx import replacing_folder
from opensam.files import replacing
from opensam.models.layouts import official_to_transformers, with_imagenet_head
from opensam.models.sam import PIXEL_MEAN, PIXEL_STD, Sam
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

MARK = "opensam.json"  # tells our folders from those that others made
FILES = frozenset({"config.json", "model.safetensors", "preprocessor_config.json", MARK})


def export_transformers(sam: Sam, folder: str | Path) -> None:
    """Write a folder that `transformers.SamModel.from_pretrained` and `SamProcessor.from_pretrained` load.

    Args:
        sam: a model with a ViT encoder.
        folder: new, empty, or one of an earlier export.

    Raises:
        CheckpointError: another encoder, which transformers' SamModel has not.
        ValueError: the folder holds something else.
        OSError: the folder cannot be written.
    """
    tensors = official_to_transformers({key: value.detach().cpu() for key, value in sam.state_dict().items()})
    with replacing_folder(Path(folder), MARK, FILES) as temporary:
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary / "model.safetensors",
                  {"format": "pt"})  # fmt: skip
        about = {"model": sam.name, "opensam": version("opensam")}
        contents = {"config.json": _config(sam), "preprocessor_config.json": _processor(sam), MARK: about}
        for name, content in contents.items():
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n")


def export_torch(sam: Sam, path: str | Path) -> None:
    """Write a .pth with exactly the keys that the official code, or for TinyViT that of MobileSAM, loads strictly.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in sam.state_dict().items()}
    if isinstance(sam.config.image_encoder, TinyViTConfig):
        tensors = with_imagenet_head(tensors)
    with replacing(path) as temporary:
        torch.save(tensors, temporary)


def _config(sam: Sam) -> dict[str, Any]:
    config, encoder = sam.config, sam.config.image_encoder
    if not isinstance(encoder, ViTConfig):
        raise TypeError(f"expected a ViT encoder, got {encoder.kind}")  # official_to_transformers has refused it
    dim = config.prompt_embed_dim
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": {
            "hidden_size": encoder.embed_dim,
            "num_hidden_layers": encoder.depth,
            "num_attention_heads": encoder.num_heads,
            "global_attn_indexes": list(encoder.global_attn_indexes),
            "image_size": encoder.image_size,
            "patch_size": encoder.patch_size,
            "window_size": encoder.window_size,
            "output_channels": encoder.out_chans,
            "mlp_ratio": encoder.mlp_ratio,
            "mlp_dim": int(encoder.embed_dim * encoder.mlp_ratio),
            "num_pos_feats": dim // 2,
        },
        "prompt_encoder_config": {"hidden_size": dim, "image_size": encoder.image_size},
        "mask_decoder_config": {
            "hidden_size": dim,
            "num_hidden_layers": config.decoder_depth,
            "num_attention_heads": config.decoder_heads,
            "mlp_dim": config.decoder_mlp_dim,
            "iou_head_depth": config.iou_head_depth,
            "iou_head_hidden_dim": config.iou_head_hidden_dim,
            "layer_norm_eps": 1e-5,
        },
    }


def _processor(sam: Sam) -> dict[str, Any]:
    side = sam.image_size
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in PIXEL_MEAN],
        "image_std": [value / 255 for value in PIXEL_STD],
        "do_pad": True,
        "pad_size": {"height": side, "width": side},
        "mask_size": {"longest_edge": side // 4},
        "mask_pad_size": {"height": side // 4, "width": side // 4},
    }
