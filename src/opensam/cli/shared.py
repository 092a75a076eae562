"""What the commands share: how they fail, how they load a model, how they show tables and progress."""

import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from opensam.models.sam import Sam
    from opensam.predictor import BasePredictor, Predictor

Value = TypeVar("Value")

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BAD_INPUT = 2

# \b keeps the lines of a paragraph as they are.
EPILOG = """\b
Exit codes: 0 done; 2 something you can fix (bad input, wrong usage, a missing
file or package), said in one sentence; 130 Ctrl-C; 1 anything unexpected.

\b
OPENSAM_HOME: folder of downloaded weights, ~/.cache/opensam unless it is set."""

# Modules of optional dependencies -> the extra that brings them.
EXTRAS = {
    "lightning_fabric": "train",
    "tensorboard": "train",
    "ray": "ray",
    "matplotlib": "eval",
    "scipy": "eval",
    "skimage": "eval",
    "h5py": "eval",
    "transformers": "text",
    "onnxruntime": "onnx",
    "onnx": "export",
    "onnxscript": "export",
    "fastapi": "serve",
    "uvicorn": "serve",
    "sqlalchemy": "serve",
}

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="a name of `opensam models`; unless given, the embedded model or what --checkpoint holds"
    ),
]
CheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", help="weights in a file or folder of your own; never runs code in it")
]


OnnxOption = Annotated[
    Path | None,
    typer.Option(
        "--onnx",
        metavar="FOLDER",
        help="compute with graphs that `opensam export` wrote, on ONNX Runtime, without torch",
    ),
]


class PrecisionName(StrEnum):
    """`opensam.precision.Precision` as typer wants it."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"


PrecisionOption = Annotated[
    PrecisionName, typer.Option("--precision", help="of large products; auto: bf16 where the device has it")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps")]


class Commands(TyperGroup):
    """The commands, and what their errors become: a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            typer.Exit: bad input, a missing package, or Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise stopped("interrupted", INTERRUPTED) from None
        except BrokenPipeError:  # `opensam models | head`
            raise
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            command = f"pip install 'opensam[{EXTRAS[package]}]'"
            sentence = f"Error: expected the package {package}, which is not installed; run {command}"
            raise stopped(sentence, BAD_INPUT) from None
        except (ValueError, OSError) as error:
            raise stopped(f"Error: {_sentence(error)}", BAD_INPUT) from None


def stopped(sentence: str, code: int) -> typer.Exit:
    """Say on stderr why a command ends; returns what to raise."""
    typer.echo(sentence, err=True)
    return typer.Exit(code)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:  # else it would start with [Errno 13]
        return f"cannot use {error.filename}: {error.strerror}; check the path, its permissions and the disk"
    return " ".join(str(error).split())


def timed(function: Callable[[], Value]) -> tuple[Value, float]:
    """What a function returns, and the seconds it took."""
    started = time.perf_counter()
    value = function()
    return value, time.perf_counter() - started


def cache_folder() -> Path:
    """Where downloads are kept."""
    home = os.environ.get("OPENSAM_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "opensam"


def load_torch_predictor(
    model: str | None, checkpoint: Path | None, device: str, precision: PrecisionName
) -> "Predictor":
    """`load_model`, ready to answer."""
    from opensam.predictor import Predictor

    return Predictor(load_model(model, checkpoint, device), precision.value)


def load_predictor(
    model: str | None, checkpoint: Path | None, onnx: Path | None, device: str, precision: PrecisionName
) -> "BasePredictor[Any]":
    """A predictor of a model of torch, or of exported graphs, for which torch is not needed.

    Raises:
        ValueError: graphs and also another model, a device or a precision are asked for, or something cannot be had.
    """
    if onnx is None:
        return load_torch_predictor(model, checkpoint, device, precision)
    from opensam.onnx import OnnxPredictor

    check_only_onnx(model, checkpoint, device, precision)
    return OnnxPredictor.load(onnx)


def check_only_onnx(model: str | None, checkpoint: Path | None, device: str, precision: PrecisionName) -> None:
    """Beside --onnx nothing says which model computes, and how.

    Raises:
        ValueError: something does.
    """
    if (model, checkpoint, device, precision) != (None, None, "cpu", PrecisionName.auto):
        raise ValueError(
            "expected --onnx without --model, --checkpoint, --device and --precision, got one of them too; "
            "the graphs say all of that"
        )


def load_model(model: str | None, checkpoint: Path | None, device: str) -> "Sam":
    """`opensam.load`, with a bar on stderr while something is downloaded."""
    from opensam.models import zoo

    with DownloadBar() as bar:
        return zoo.load(model, checkpoint=checkpoint, device=device, cache_dir=cache_folder(), progress=bar)


class DownloadBar:
    """A progress bar on stderr that appears with the first byte."""

    def __init__(self) -> None:
        self.bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int | None) -> None:
        """Show how many bytes are there, of how many."""
        if self.bar is None:
            from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self.bar = Progress("downloading", *columns, console=console(sys.stderr))
            self.bar.add_task("", total=total)
            self.bar.start()
        self.bar.update(self.bar.task_ids[0], completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()


def console(stream: Any) -> "Console":
    """For tables and bars. What goes to a file or a pipe is wide enough for a path not to be broken."""
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else 200, highlight=False)
