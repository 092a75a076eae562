"""Weights in files: official and MobileSAM checkpoints, transformers' folders, MAE's encoders, our own safetensors.

Whatever the file, a state dict comes out with official keys (see `layouts`) and in float32.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from opensam.files import replacing
from opensam.models.layouts import (
    IMAGENET_HEAD,
    MAE_CLASS_TOKEN,
    CheckpointError,
    StateDict,
    infer_config,
    mae_key_to_official,
    mae_to_official,
    official_to_transformers,
    some,
    transformers_to_official,
    with_imagenet_head,
)
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "LoadedEncoder",
    "infer_config",
    "load_encoder",
    "load_into",
    "official_to_transformers",
    "read",
    "read_state_dict",
    "save",
    "save_encoder",
    "transformers_to_official",
    "with_imagenet_head",
]

FORMAT_VERSION = "1"  # of our own files
ENCODER = "image_encoder."


@dataclass(frozen=True)
class Checkpoint:
    """What a file says.

    Attributes:
        state_dict: tensors under official keys, floating ones in float32.
        config: the sizes that the file records, as ours and transformers' do, else None; see `infer_config`.
        name: the name of the model that the file records, else "".
    """

    state_dict: StateDict
    config: SamConfig | None = None
    name: str = ""


def read(path: str | Path) -> Checkpoint:
    """Read weights. What a file is, its first bytes say, not its name.

    Args:
        path: a file in torch's format or in safetensors, or a folder with a `SamModel` of transformers. Keys may be
            official or transformers'; they may all have a prefix such as `module.`; and a state dict may stand beside
            other things, as in `{"model": ..., "epoch": ...}`.

    Raises:
        CheckpointError: there is no such file, it is no checkpoint, it is damaged, it carries pickled code, or it
            holds several state dicts.
    """
    path = Path(path)
    if path.is_dir():
        return _read_transformers_folder(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint at {path}, got: {error.strerror}; check the path") from error
    if beginning[8:] == b"{":  # after the length of the header, the header as JSON
        tensors, metadata = _read_safetensors(path)
        config, name = _own_metadata(metadata, path)
        return Checkpoint(_official(tensors), config, name)
    if beginning.startswith((b"PK\x03\x04", b"\x80")):  # a zip file; before torch 1.6 a bare pickle
        return Checkpoint(_official(_state_dict_in(_read_torch(path), path)))
    got = f"{path.stat().st_size} bytes of something else" if beginning else "an empty file"
    raise CheckpointError(f"expected a torch or safetensors checkpoint at {path}, got {got}; check the path")


def read_state_dict(path: str | Path) -> StateDict:
    """The tensors of `read`, which see: official keys, float32."""
    return read(path).state_dict


def load_into(model: nn.Module, state_dict: Mapping[str, Tensor], source: str | Path, *, assign: bool = False) -> None:
    """Load weights that must fit a model exactly.

    Args:
        model: changed in place, and only if the weights fit.
        state_dict: official keys.
        source: where the weights come from, for the error.
        assign: take the tensors over instead of copying their values: faster, for a model that was just built.

    Raises:
        CheckpointError: keys are missing or left over, or shapes differ; the sentence names some of each.
    """
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in state_dict.items()}
    problems = {
        "missing": [key for key in wanted if key not in got],
        "left over": [key for key in got if key not in wanted],
        "of another shape": [
            f"{key} (expected {shape}, got {got[key]})" for key, shape in wanted.items() if got.get(key, shape) != shape
        ],
    }
    found = "; ".join(f"{problem}: {some(keys)}" for problem, keys in problems.items() if keys)
    if found:
        raise CheckpointError(
            f"expected the weights of this model in {source}, got those of another one ({found}); "
            "give the file of this model, or let the file decide by leaving the model's name out"
        )
    model.load_state_dict(state_dict, assign=assign)


@dataclass(frozen=True)
class LoadedEncoder:
    """What `load_encoder` did, as keys.

    Attributes:
        loaded: official keys of the image encoder that have the file's values.
        kept: those that have none in the file, and kept the model's.
        left_out: keys of the file that have no place in an image encoder.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def load_encoder(sam: Sam, path: str | Path) -> LoadedEncoder:
    """Load the image encoder alone, to train the rest from where it is.

    Args:
        sam: its image encoder is changed in place, and only if the weights fit.
        path: what `save_encoder` or `save` wrote or any other file of `read`, whose image encoder must fit exactly; or
            a public masked autoencoder such as `mae_pretrain_vit_base.pth`, see `layouts.mae_to_official`. That has
            neither neck nor relative positions: they keep their values, which are random and zero in a new model.

    Raises:
        CheckpointError: the file cannot be read, or has the weights of another image encoder or of none.
    """
    weights, config = read_state_dict(path), sam.config.image_encoder
    wanted = sam.image_encoder.state_dict(prefix=ENCODER)
    found = {key: value for key, value in weights.items() if key.startswith(ENCODER)}
    kept: StateDict = {}
    if MAE_CLASS_TOKEN in weights:
        if not isinstance(config, ViTConfig):
            raise CheckpointError(
                f"expected the weights of a {config.kind} image encoder in {path}, got a masked autoencoder's ViT; "
                "give them to a sam_vit_* model"
            )
        found = mae_to_official(weights, config)
        left_out = [key for key in weights if mae_key_to_official(key) is None]
        kept = {key: value for key, value in wanted.items() if ".rel_pos_" in key or key.startswith(f"{ENCODER}neck.")}
    else:
        left_out = [key for key in weights if key not in found]
    if not found:
        raise CheckpointError(f"expected the weights of an image encoder in {path}, got none; check the file")
    rest = {key: value for key, value in sam.state_dict().items() if not key.startswith(ENCODER)}
    load_into(sam, rest | kept | found, path)
    return LoadedEncoder(tuple(found), tuple(kept), tuple(left_out))


def save_encoder(sam: Sam, path: str | Path) -> None:
    """Write the image encoder alone, under its keys in a `Sam`: the result of pre-training, for `load_encoder`."""
    tensors = {key: value for key, value in sam.state_dict().items() if key.startswith(ENCODER)}
    _write(sam, {key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)


def save(sam: Sam, path: str | Path, *, half: bool = False) -> None:
    """Write safetensors with the model's name and config, in one piece or not at all.

    Args:
        sam: on any device, in any floating type.
        path: replaced if it exists.
        half: store matrices and kernels as float16. Vectors stay as they are, because running variances need the
            range and weigh nothing, and so do buffers.

    Raises:
        ValueError: `half`, and a weight is too large for float16.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in sam.state_dict().items()}
    for key, parameter in sam.named_parameters():
        if half and parameter.ndim >= 2:
            tensors[key] = tensors[key].half()
            if not bool(tensors[key].isfinite().all()):
                raise ValueError(f"expected weights that fit float16, got larger ones in {key}; save without half")
    _write(sam, tensors, path)


def _write(sam: Sam, tensors: StateDict, path: str | Path) -> None:
    metadata = {
        "format": "pt",  # what other readers of safetensors look for
        "opensam_format": FORMAT_VERSION,
        "name": sam.name,
        "config": sam.config.model_dump_json(),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(serialize(tensors, metadata))  # save_file hides its file from other users


def _official(tensors: StateDict) -> StateDict:
    """Official keys and float32, whatever family the tensors come from."""
    # Wrappers put a prefix before every key: DistributedDataParallel `module.`, torch.compile `_orig_mod.`.
    anchor = next((key for key in tensors if "prompt_encoder." in key or ENCODER in key), "")
    prefix = re.split(r"prompt_encoder\.|image_encoder\.", anchor)[0]
    if all(key.startswith(prefix) for key in tensors):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    if any(key.startswith("vision_encoder.") for key in tensors):
        tensors = transformers_to_official(tensors)
    return {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
        if not key.startswith(IMAGENET_HEAD)
    }


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(_damaged(path, error)) from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code is None:
            raise CheckpointError(_damaged(path, error)) from error
        raise CheckpointError(
            f"expected only tensors in {path}, got pickled code too ({code[1]}), which could do anything and is never "
            "run; save model.state_dict() by itself, best as safetensors"
        ) from error


def _damaged(path: Path, error: Exception) -> str:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return (
        f"expected a whole checkpoint at {path}, got {path.stat().st_size} bytes that are truncated, damaged or no "
        f"checkpoint ({reason}); fetch the file again"
    )


def _state_dict_in(content: Any, path: Path) -> StateDict:
    """What torch read if that is a state dict, else its only entry that is one."""
    if _is_state_dict(content):
        return dict(content)
    entries = content if isinstance(content, dict) else {}
    found = {str(name): entry for name, entry in entries.items() if _is_state_dict(entry)}
    if len(found) != 1:
        got = f"several ({', '.join(found)})" if found else f"a {type(content).__name__} without any"
        raise CheckpointError(f"expected one state dict in {path}, got {got}; save the one to use by itself")
    return dict(next(iter(found.values())))


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def _own_metadata(metadata: dict[str, str], path: Path) -> tuple[SamConfig | None, str]:
    version = metadata.get("opensam_format")
    if version is None:
        return None, ""
    if version != FORMAT_VERSION:
        raise CheckpointError(f"expected {path} in format {FORMAT_VERSION}, got format {version}; update opensam")
    try:
        return SamConfig.model_validate_json(metadata["config"]), metadata["name"]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"expected a name and a config in the metadata of {path}, got {metadata}") from error


def _read_transformers_folder(folder: Path) -> Checkpoint:
    weights = next((p for p in (folder / "model.safetensors", folder / "pytorch_model.bin") if p.is_file()), None)
    if weights is None:
        raise CheckpointError(
            f"expected a file, or a folder with model.safetensors or pytorch_model.bin, got {folder} without either; "
            "check the path"
        )
    state_dict = read_state_dict(weights)
    config = infer_config(state_dict, weights)
    try:
        recorded = json.loads((folder / "config.json").read_text())
        heads = int(recorded["mask_decoder_config"]["num_attention_heads"])  # leaves no trace in shapes
    except (OSError, KeyError, TypeError, ValueError):  # the file may be missing or leave out what is usual
        return Checkpoint(state_dict, config)
    return Checkpoint(state_dict, config.model_copy(update={"decoder_heads": heads}))
