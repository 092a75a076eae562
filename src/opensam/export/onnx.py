"""A whole model as ONNX files, in several precisions, each file checked against torch.

    encoder.onnx, decoder.onnx, decoder_image.onnx, decoder_prompt.onnx
    encoder_fp16.onnx, ..., encoder_int8.onnx, ...
    parity.json, parity.md

The files are written beside their folder first: a folder that stands is complete.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from opensam.export.decoder import decoder_parts
from opensam.export.encoder import encoder_part
from opensam.export.graph import Part, write
from opensam.export.parity import Parity, check, write_report
from opensam.models.sam import Sam

PARTS = ("encoder", "decoder", "decoder_image", "decoder_prompt")
VARIANTS = ("fp16", "int8")
REPORT = "parity.json"
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
    with replacing_folder(Path(folder), REPORT) as temporary:
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

    fp16: weights and arithmetic in half precision but for `FLOAT32_IN_FP16`. int8: the weights of linear layers in 8
    bits, and what they are multiplied with quantised as it comes.
    """
    import onnx

    if variant == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        logging.disable(logging.WARNING)  # it advises a preparation that folds constants, which the exporter has done
        try:
            quantize_dynamic(source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QUInt8)
        finally:
            logging.disable(logging.NOTSET)
        return
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=list(FLOAT32_IN_FP16))
    onnx.save(half, target)


@contextmanager
def replacing_folder(folder: Path, mark: str) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block ends and is deleted if it fails.

    Args:
        folder: new, empty, or one that holds the file `mark`.
        mark: a file that says whose folder it is.

    Raises:
        ValueError: something else is there.
        OSError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder to write to, got the file {folder}; give another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise ValueError(
            f"expected a new folder or one of an earlier export, got {folder} with other files; give another --out"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if folder.is_dir():
            shutil.rmtree(folder)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
