"""`opensam export`: a model for ONNX Runtime, browsers, transformers, and the official code."""

from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.shared import CheckpointOption, load_model, timed

FORMATS = ("onnx", "transformers", "torch")
PRECISIONS = ("float32", "fp16", "int8")


def export(
    words: Annotated[list[str] | None, typer.Argument(metavar="[FORMAT] [MODEL]", show_default=False)] = None,
    out: Annotated[Path, typer.Option("--out", help="the folder to write; of torch the .pth file")] = Path("exported"),
    checkpoint: CheckpointOption = None,
    precision: Annotated[
        str, typer.Option("--precision", help="of ONNX files: float32, and after commas fp16, int8")
    ] = "float32",
) -> None:
    """Write a model for other programs. FORMAT is onnx unless given, MODEL the embedded one.

    \b
    onnx          encoder.onnx, decoder.onnx with the official inputs and outputs,
                  decoder_image.onnx and decoder_prompt.onnx (a picture, a click),
                  checked against torch: parity.md
    transformers  a folder for transformers.SamModel.from_pretrained
    torch         a .pth for the official code, or for that of MobileSAM
    """  # noqa: D301 -- \b is for typer
    given = list(words or [])
    kind = given.pop(0) if given and given[0] in FORMATS else "onnx"
    if len(given) > 1:
        raise ValueError(
            f"expected at most a format of {', '.join(FORMATS)} and one model, got {' '.join(words or [])}; "
            "`opensam models` lists the models"
        )
    precisions = precision.split(",")
    if unknown := [one for one in precisions if one not in PRECISIONS]:
        raise ValueError(f"expected --precision of {', '.join(PRECISIONS)}, got {unknown[0]}")
    sam = load_model(given[0] if given else None, checkpoint, "cpu")
    if kind == "onnx":
        from opensam.export.onnx import export_onnx

        variants = [one for one in precisions if one != "float32"]
        _, seconds = timed(lambda: export_onnx(sam, out, variants, lambda step: typer.echo(step, err=True)))
        report = (out / "parity.md").read_text().partition("\n\n")[2]
        typer.echo(f"{report}\n{seconds:.0f} s")
    elif kind == "transformers":
        from opensam.export.checkpoints import export_transformers

        export_transformers(sam, out)
    else:
        from opensam.export.checkpoints import export_torch

        out = out if out.suffix else out / f"{sam.name or 'model'}.pth"
        out.parent.mkdir(parents=True, exist_ok=True)
        export_torch(sam, out)
    typer.echo(str(out))
