"""The models one can load by name: one table, and the way from a name or a file to a model.

A new model is one row here, one file with its image encoder, and a key table in `layouts` if its keys are not ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from opensam.models import checkpoints
from opensam.models.checkpoints import CheckpointError, infer_config, load_into
from opensam.models.download import DownloadError, Progress, fetch
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig

__all__ = ["CheckpointError", "DownloadError", "ModelSpec", "download", "find", "list_models", "load"]


@dataclass(frozen=True)
class ModelSpec:
    """One row of the zoo: a model and where its weights are.

    Attributes:
        name: the name.
        aliases: shorter names.
        description: one line.
        license: licence of the weights.
        config: sizes.
        params: number of parameters.
        file: the weights inside the package, else None.
        url: where the weights are downloaded from, else None.
        sha256: of the downloaded file.
        bytes: size of the downloaded file.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    license: str
    config: SamConfig
    params: int
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    bytes: int | None = None


MODELS = (
    ModelSpec(
        name="opensam_tiny",
        aliases=("tiny",),
        description="TinyViT, trained by opensam from nothing; inside the package, the default",
        license="Apache-2.0; some training data for research only",
        config=SamConfig(image_encoder=TinyViTConfig()),
        params=9_808_452,
        file="weights/opensam_tiny.safetensors",
    ),
    ModelSpec(
        name="mobile_sam",
        aliases=("vit_t",),
        description="MobileSAM: TinyViT distilled from SAM ViT-H",
        license="Apache-2.0",
        config=SamConfig(image_encoder=TinyViTConfig()),
        params=9_808_452,
        # Of a fixed commit: the file that the hash is of.
        url="https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        bytes=40_728_226,
    ),
    ModelSpec(
        name="sam_vit_b",
        aliases=("vit_b",),
        description="Segment Anything, ViT-B: the smallest official model",
        license="Apache-2.0",
        config=SamConfig(
            image_encoder=ViTConfig(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11))
        ),
        params=93_735_472,
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        bytes=375_042_383,
    ),
    ModelSpec(
        name="sam_vit_l",
        aliases=("vit_l",),
        description="Segment Anything, ViT-L: half the parameters of ViT-H",
        license="Apache-2.0",
        config=SamConfig(
            image_encoder=ViTConfig(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23))
        ),
        params=312_342_832,
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        bytes=1_249_524_607,
    ),
    ModelSpec(
        name="sam_vit_h",
        aliases=("vit_h",),
        description="Segment Anything, ViT-H: the model of the paper",
        license="Apache-2.0",
        config=SamConfig(
            image_encoder=ViTConfig(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31))
        ),
        params=641_090_608,
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        bytes=2_564_550_879,
    ),
)


def list_models() -> list[ModelSpec]:
    """Every model that `load` knows by name."""
    return list(MODELS)


def find(name: str) -> ModelSpec:
    """The row of a name or an alias.

    Raises:
        ValueError: no model is called that.
    """
    for spec in MODELS:
        if name in (spec.name, *spec.aliases):
            return spec
    known = ", ".join(other for spec in MODELS for other in (spec.name, *spec.aliases))
    raise ValueError(f"expected the name of a model, got {name!r}; known are {known}; give a file as checkpoint")


def load(
    name: str | None = None,
    *,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Sam:
    """A model with trained weights, ready to predict.

    Args:
        name: a name or an alias of `list_models`. None: the embedded model, or what the checkpoint holds.
        checkpoint: a file or folder as in `checkpoints.read`, instead of the weights that belong to the name.
        device: where the model goes.
        cache_dir: where downloads are kept; None: `~/.cache/opensam`.
        progress: called during a download with the bytes that are there and the bytes there will be (None if unknown).

    Returns:
        The model in eval mode and float32. Its `name` is that of the zoo, else the one that the checkpoint records,
        else the checkpoint's file name without its ending.

    Raises:
        ValueError: the name or the device is unknown.
        CheckpointError: the checkpoint cannot be read, or is not of the named model.
        DownloadError: the weights could not be downloaded.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # an AssertionError is how torch says that it has no CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(f"expected a device that torch can use here, got {device}: {reason}; try cpu") from error
    if checkpoint is not None:
        return _from_file(Path(checkpoint), find(name) if name is not None else None).to(device)
    spec = find(name or "opensam_tiny")
    if spec.file is None:
        return _from_file(download(spec, cache_dir, progress), spec).to(device)
    with resources.as_file(resources.files("opensam") / spec.file) as path:
        if not path.is_file():
            raise CheckpointError(
                f"expected the weights of {spec.name} at {path}, got none; install opensam again, or give a checkpoint"
            )
        return _from_file(path, spec).to(device)


def download(spec: ModelSpec, cache_dir: str | Path | None = None, progress: Progress | None = None) -> Path:
    """The file with a model's weights, downloaded unless that happened before; see `download.fetch`.

    Raises:
        DownloadError: see `download.fetch`.
        ValueError: the model has nothing to download.
    """
    if spec.url is None or spec.sha256 is None:
        raise ValueError(f"expected a model with a download, got {spec.name}, which comes with the package; load it")
    folder = Path(cache_dir) if cache_dir is not None else Path.home() / ".cache" / "opensam"
    path = folder / spec.url.rpartition("/")[2]
    fetch(spec.url, path, spec.sha256, progress)
    return path


def _from_file(path: Path, spec: ModelSpec | None) -> Sam:
    """The model in a file; with a spec, exactly that model."""
    checkpoint = checkpoints.read(path)
    config = checkpoint.config or infer_config(checkpoint.state_dict, path)
    name = spec.name if spec else checkpoint.name or path.stem
    with _NoInitialisation():
        sam = Sam(spec.config if spec else config, name)
    load_into(sam, checkpoint.state_dict, path, assign=True)
    if sam.config != config:  # the same shapes do not make the same model
        expected, got = _flat(sam.config), _flat(config)
        differing = ", ".join(
            f"{key} {got[key]} instead of {value}" for key, value in expected.items() if value != got[key]
        )
        raise CheckpointError(
            f"expected the weights of {name} in {path}, got those of a model with {differing}; "
            "let the file decide by leaving the model's name out"
        )
    return sam.eval()


def _flat(config: SamConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"image_encoder"}) | config.image_encoder.model_dump()


class _NoInitialisation(TorchFunctionMode):
    """New modules keep whatever their memory holds, because a checkpoint follows: random weights of ViT-H take 6 s.

    The meta device would lose the buffers that are computed, and torch takes 3 s to get it ready.
    """

    SKIPPED = frozenset({nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func in self.SKIPPED else func(*args, **kwargs)
