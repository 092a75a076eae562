"""A whole model as ONNX files, in several precisions, each file checked against torch.

    encoder.onnx, decoder.onnx, decoder_image.onnx, decoder_prompt.onnx
    encoder_fp16.onnx, ..., encoder_int8.onnx, ...
    parity.json, parity.md

The files are written beside their folder first: a folder that stands is complete.
"""

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from opensam.export.decoder import decoder_parts
from opensam.export.encoder import encoder_part
from opensam.export.graph import Part, write
from opensam.export.parity import Parity, check, write_report
from opensam.models.layouts import some
from opensam.models.sam import Sam

if TYPE_CHECKING:
    from onnx import ModelProto

PARTS = ("encoder", "decoder", "decoder_image", "decoder_prompt")
VARIANTS = ("fp16", "int8")
ENDS = ("", *(f"_{variant}" for variant in VARIANTS))
REPORT = "parity.json"
FILES = frozenset(f"{part}{end}.onnx" for part in PARTS for end in ENDS) | {"encoder.onnx.data", REPORT, "parity.md"}
# Operators that stay in float32 in fp16 files: their sums and powers leave the range of half precision.
FLOAT32_IN_FP16 = ("LayerNormalization", "ReduceMean", "ReduceSum", "Softmax", "Resize", "Sin", "Cos", "Pow", "Sqrt")


def export_onnx(
    sam: Sam,
    folder: str | Path,
    variants: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> list[Parity]:
    """Write the ONNX files of a model, and how far they are from torch.

    Args:
        sam: the model, in eval mode, float32, on the CPU.
        folder: new, or one that an earlier export wrote.
        variants: of fp16 and int8, beside float32.
        progress: is told what comes next.

    Returns:
        what `parity.json` says, a value for each precision.

    Raises:
        ValueError: no such variant, the folder holds something else, or the float32 files answer otherwise than torch.
        OSError: the folder cannot be written.
    """
    for variant in variants:
        if variant not in VARIANTS:
            raise ValueError(f"expected precisions of {', '.join(VARIANTS)}, got {variant}")
    parts: dict[str, Part] = {"encoder": encoder_part(sam), **decoder_parts(sam)}
    with replacing_folder(Path(folder), REPORT, FILES) as temporary:
        for name in PARTS:
            progress(f"{name}.onnx")
            write(parts[name], temporary / f"{name}.onnx", sam)
            for variant in variants:
                progress(f"{name}_{variant}.onnx")
                convert(temporary / f"{name}.onnx", temporary / f"{name}_{variant}.onnx", variant)
        found = []
        for precision in ("float32", *variants):
            progress(f"checking {precision} against torch")
            found.append(check(sam, temporary, precision))
            if precision == "float32":
                found[0].raise_if_far()
        write_report(found, sam, temporary)
    return found


def convert(source: Path, target: Path, variant: str) -> None:
    """Another precision of a graph, with float32 inputs and outputs.

    fp16: weights and arithmetic in half precision but for `FLOAT32_IN_FP16`, and for what is computed of coordinates
    and sizes: half precision would round the 3001 rows of a picture to 3000, and clicks to half pixels. int8: the
    weights of linear layers in 8 bits, and what they are multiplied with quantised as it comes.
    """
    import onnx

    if variant == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        logging.disable(logging.WARNING)  # it advises a preparation that folds constants, which the exporter has done
        try:
            kinds = ["MatMul", "Gemm"]
            quantize_dynamic(source, target, kinds, weight_type=QuantType.QUInt8)
        finally:
            logging.disable(logging.NOTSET)
        return
    from onnxruntime.transformers.float16 import convert_float_to_float16

    exact = _of_coordinates(onnx.load(source, load_external_data=False))
    kept = list(FLOAT32_IN_FP16)
    # By its path, since a model in memory would have to fit one message.
    half = convert_float_to_float16(str(source), keep_io_types=True, op_block_list=kept, node_block_list=exact)
    _skip_round_trips(half)
    onnx.save(half, target)


def _of_coordinates(model: "ModelProto") -> list[str]:
    """Names of the nodes from points to the sines of their position codes, and of those that size masks."""
    found, sized, coded = set(), {"orig_im_size"}, set[str]()
    for node in model.graph.node:  # each stands after those it takes values of
        if sized.intersection(node.input):
            found.add(node.name)
            sized.update(node.output)
    for node in reversed(model.graph.node):
        if node.op_type in ("Sin", "Cos") or coded.intersection(node.output):
            found.add(node.name)
            coded.update(node.input)
    return sorted(found)


def _skip_round_trips(model: "ModelProto") -> None:
    """Let nodes in float32 have a float32 value itself, where the converter gives it to them by way of float16."""
    from onnx import TensorProto

    target = {node.output[0]: node.attribute[0].i for node in model.graph.node if node.op_type == "Cast"}
    source = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            before = source.get(name, "")
            if target.get(name) == TensorProto.FLOAT and target.get(before) == TensorProto.FLOAT16:
                node.input[place] = source[before]


@contextmanager
def replacing_folder(folder: Path, mark: str, ours: Collection[str]) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends and is deleted if it fails.

    Args:
        folder: new, empty, or one that was made in this way and has nothing else in it.
        mark: the file that says so.
        ours: all names that may be in it.

    Raises:
        ValueError: something else is there.
        OSError: it cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder to write to, got the file {folder}; give another --out")
    found = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in found if name not in ours or mark not in found]:
        raise ValueError(
            "expected a new folder or one of an earlier export, "
            f"got {folder} with other files ({some(others)}); give another --out"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    stem = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    temporary, earlier = stem.with_suffix(".tmp"), stem.with_suffix(".old")
    temporary.mkdir()
    try:
        yield temporary
        if found:
            folder.replace(earlier)
        try:
            temporary.replace(folder)
        except OSError:
            if found:
                earlier.replace(folder)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
