"""From a module to an ONNX file."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from opensam.files import replacing
from opensam.models.sam import Sam

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20  # the first with GELU as one operator
# What the oldest runtime of the official demo reads, onnxruntime-web 1.14; it refuses opset 20.
OFFICIAL_OPSET, OFFICIAL_IR = 18, 8
LARGEST_FILE = 2**31 - 2**24  # a protobuf message has less than 2 GiB; the rest is for the nodes


@dataclass(frozen=True)
class Part:
    """One file of an exported model.

    Attributes:
        make: traces it.
        description: a line for its metadata.
    """

    make: "Callable[[], ModelProto]"
    description: str


def trace(
    module: nn.Module,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    opset: int = OPSET,
) -> "ModelProto":
    """The ONNX model of a module.

    Args:
        module: takes the values of `example` in their order; where these are more than its arguments, the last argument
            is a list of the rest.
        example: inputs by name.
        outputs: their names.
        dynamic: of an input the axes that have any length, and what that length is called; other axes are fixed.
        opset: version of the operators.

    Raises:
        ModuleNotFoundError: the extra `export` is missing.
    """
    import onnx  # noqa: F401 -- the exporter's own message about it names no extra
    import onnxscript  # noqa: F401

    lengths = {axis: torch.export.Dim(axis) for axes in dynamic.values() for axis in axes.values()}
    shapes: list[Any] = [
        {axis: lengths[name] for axis, name in dynamic.get(one, {}).items()} or None for one in example
    ]
    values: list[Any] = list(example.values())
    alone = len(signature(module.forward).parameters) - 1
    if alone + 1 < len(values):
        values, shapes = [*values[:alone], values[alone:]], [*shapes[:alone], shapes[alone:]]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(values),
            dynamo=True,
            opset_version=opset,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model: ModelProto = program.model_proto
    for value in (*model.graph.input, *model.graph.output):  # the exporter calls lengths s20, s55
        if value.name in dynamic:
            for axis, name in dynamic[value.name].items():
                value.type.tensor_type.shape.dim[axis].dim_param = name
    return model


def write(part: Part, path: Path, sam: Sam) -> None:
    """Trace a part of a model, check it and write it, with what it is in its metadata.

    Weights that are too large for one file, those of ViT-H's encoder, lie beside it in PATH.data.

    Raises:
        OSError: the file cannot be written.
    """
    import onnx

    model = part.make()
    model.producer_name, model.producer_version, model.doc_string = "opensam", version("opensam"), part.description
    facts = {"model": sam.name, "image_size": str(sam.image_size), "mask_threshold": str(sam.mask_threshold)}
    onnx.helper.set_model_props(model, facts)
    if sum(len(weights.raw_data) for weights in model.graph.initializer) > LARGEST_FILE:
        with replacing(path) as temporary:
            onnx.save(model, temporary, save_as_external_data=True, location=f"{path.name}.data")
            path.with_name(f"{path.name}.data").chmod(temporary.stat().st_mode)  # onnx hides it from other users
            onnx.checker.check_model(temporary)
        return
    onnx.checker.check_model(model)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself: that torchvision is missing, and what it deprecates inside."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
