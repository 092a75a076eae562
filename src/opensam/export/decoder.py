"""The mask decoder as ONNX files.

    decoder.onnx         all of it in one graph, with the inputs and outputs of the official model
    decoder_image.onnx   what it needs of an image, once per picture
    decoder_prompt.onnx  the rest, once per click: less than half of the work

`decoder_graphs` says what each graph takes and gives.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from opensam.export.decoder_graphs import (
    ImageSideGraph,
    OfficialGraph,
    PlainGraph,
    PromptSideGraph,
    image_side_names,
)
from opensam.export.graph import OFFICIAL_IR, OFFICIAL_OPSET, Part, trace, write
from opensam.models.fast_decoder import FastMaskDecoder
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam

if TYPE_CHECKING:
    from onnx import ModelProto

OFFICIAL_INPUTS = (
    "image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size",
)  # fmt: skip
OFFICIAL_OUTPUTS = ("masks", "iou_predictions", "low_res_masks")

# From low-resolution masks to those of the picture: scaled to the square, cut to what the picture covers, scaled to its
# size (H, W). Sizes are computed in the graph, and so are right for pictures of any size. "half_pixel" is what torch
# calls align_corners=False; 0.5 is added before the floor because the official code rounds half up.
_RESTORE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
restore (float[P, C, h, w] low_res, float[2] orig_im_size) => (float[P, C, H, W] masks)
<
    float side = {{{side}.0}}, float half = {{0.5}}, float one = {{1.0}}, int64[2] square = {{{side}, {side}}},
    int64[1] zero = {{0}}, int64[1] two = {{2}}, int64[2] origin = {{0, 0}}, int64[2] axes = {{2, 3}}
>
{{
    longest = ReduceMax <keepdims = 0> (orig_im_size)
    ratio = Div(side, longest)
    scaled = Mul(orig_im_size, ratio)
    raised = Add(scaled, half)
    floored = Floor(raised)
    positive = Max(floored, one)
    input_size = Cast <to = 7> (positive)
    original_size = Cast <to = 7> (orig_im_size)
    shape = Shape(low_res)
    outer = Slice(shape, zero, two)
    square_shape = Concat <axis = 0> (outer, square)
    in_square = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (low_res, , , square_shape)
    in_input = Slice(in_square, origin, input_size, axes)
    original_shape = Concat <axis = 0> (outer, original_size)
    masks = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (in_input, , , original_shape)
}}
"""


def export_decoder(
    sam: Sam, folder: str | Path, parts: Iterable[str] = ("decoder", "decoder_image", "decoder_prompt")
) -> list[Path]:
    """Write the decoder of a model.

    Args:
        sam: the model, in eval mode, float32, on the CPU.
        folder: exists; each file appears complete or not at all.
        parts: of decoder, decoder_image, decoder_prompt, and decoder_plain, which is decoder.onnx without the fast
            order of products.

    Returns:
        the files, PART.onnx.

    Raises:
        ValueError: no such part.
        OSError: a file cannot be written.
    """
    makers = decoder_parts(sam)
    files = []
    for part in parts:
        if part not in makers:
            raise ValueError(f"expected parts of the decoder, of {', '.join(makers)}, got {part}")
        path = Path(folder) / f"{part}.onnx"
        write(makers[part], path, sam)
        files.append(path)
    return files


def decoder_parts(sam: Sam) -> dict[str, Part]:
    """The graphs by name; nothing is traced before it is asked for."""
    decoder = FastMaskDecoder(sam.mask_decoder)
    side = sam.image_size // EMBEDDING_STRIDE
    embeddings = torch.zeros(1, sam.prompt_encoder.embed_dim, side, side)
    masked = {"mask_input": torch.zeros(1, 1, 4 * side, 4 * side), "has_mask_input": torch.zeros(1)}

    def official(graph: nn.Module) -> "ModelProto":
        example = {"image_embeddings": embeddings, **_points(1), **masked}
        dynamic = {name: {1: "N"} for name in _points(1)}
        outputs = ["iou_predictions", "low_res_masks"]
        return _with_restored_masks(trace(graph, example, outputs, dynamic, OFFICIAL_OPSET), sam.image_size)

    def image_side() -> "ModelProto":
        names = image_side_names(len(decoder.transformer.layers))
        return trace(ImageSideGraph(sam, decoder), {"image_embeddings": embeddings, **masked}, names, {})

    def prompt_side() -> "ModelProto":
        names = image_side_names(len(decoder.transformer.layers))
        with torch.no_grad():
            image = ImageSideGraph(sam, decoder)(embeddings, *masked.values())
        example = {**_points(2), "cells": torch.arange(side * side - 1), **dict(zip(names, image, strict=True))}
        dynamic = {**{name: {0: "P", 1: "N"} for name in _points(1)}, "cells": {0: "k"}}
        return trace(PromptSideGraph(sam, decoder, exact=False), example, ["cell_masks", "iou_predictions"], dynamic)

    return {
        "decoder": Part(lambda: official(OfficialGraph(sam, decoder)), "mask decoder, official inputs and outputs"),
        "decoder_image": Part(image_side, "mask decoder, what it needs of an image"),
        "decoder_prompt": Part(prompt_side, "mask decoder, prompts over an image"),
        "decoder_plain": Part(lambda: official(PlainGraph(sam)), "mask decoder in its plain order"),
    }


def _points(prompts: int) -> dict[str, Tensor]:
    """An example of points; their number is not 1, which exporters take for a constant."""
    labels = torch.tensor([[1.0, 0.0, -1.0]]).expand(prompts, -1).contiguous()
    return {"point_coords": torch.zeros(prompts, 3, 2), "point_labels": labels}


def _with_restored_masks(model: "ModelProto", side: int) -> "ModelProto":
    """The model with the input `orig_im_size` and the output `masks`, in the official order."""
    from onnx import compose, parser

    text = _RESTORE.format(side=side, ir=OFFICIAL_IR, opset=OFFICIAL_OPSET)
    restore = compose.add_prefix(parser.parse_model(text), "restore/", rename_inputs=False, rename_outputs=False)
    for number, node in enumerate(restore.graph.node):
        node.name = f"restore/{number}"
    model.ir_version = OFFICIAL_IR
    merged: Any = compose.merge_models(
        model, restore, io_map=[("low_res_masks", "low_res")], outputs=["iou_predictions", "masks"]
    )
    del merged.opset_import[1:]  # both had the same one
    low_res_masks = next(output for output in model.graph.output if output.name == "low_res_masks")
    merged.graph.output.append(low_res_masks)
    for values, order in ((merged.graph.input, OFFICIAL_INPUTS), (merged.graph.output, OFFICIAL_OUTPUTS)):
        _sort(values, order)
    return merged


def _sort(values: Any, order: Sequence[str]) -> None:
    by_name = {value.name: value for value in values}
    ordered = [by_name[name] for name in order]
    del values[:]
    values.extend(ordered)
