"""The decoder as files for browsers, made once for each model, in the background of the first start."""

import copy
import hashlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from opensam.models.sam import Sam
from opensam.serve.logs import log

PARTS = ("image", "prompt")
FORMAT = 1
"""Of the graphs: another one is exported anew."""
_INFO, _WARNING = 20, 30

State = Literal["making", "ready", "failed"]


class BrowserDecoder:
    """The files `decoder_image.onnx` and `decoder_prompt.onnx` of a model.

    Args:
        sam: the model.
        cache: a folder in which they stay for the next start; None: they go with the process.

    Attributes:
        key: changes with the weights of the decoder and the format of the files.
        state: "failed" where the packages of the extra `export` are missing, for instance.
    """

    def __init__(self, sam: Sam, cache: Path | None) -> None:
        self.key = decoder_key(sam)
        self._sam = sam
        self._temporary = tempfile.TemporaryDirectory(prefix="opensam-") if cache is None else None
        root = Path(self._temporary.name) if self._temporary else cache or Path()
        self._folder = root / "decoder" / self.key
        self.state: State = "ready" if all(self.path(part).is_file() for part in PARTS) else "making"
        self._thread: threading.Thread | None = None
        self._process: SpawnProcess | None = None
        self._lock, self._closed = threading.Lock(), False

    def path(self, part: str) -> Path:
        """Where a part lies once it is ready."""
        return self._folder / f"decoder_{part}.onnx"

    def start(self) -> None:
        """Make the files unless they are there."""
        if self.state == "making" and self._thread is None:
            self._thread = threading.Thread(target=self._make, name="decoder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop making them; a temporary folder goes."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.terminate()
        if self._thread is not None:
            self._thread.join()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _make(self) -> None:
        started = time.perf_counter()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            made = self._export()
        except Exception as error:
            made = False
            log(_WARNING, "decoder for browsers could not be made", error)
        self.state = "ready" if made else "failed"
        if made:
            log(_INFO, "decoder for browsers made", seconds=round(time.perf_counter() - started, 1))
        elif not self._closed:  # predictions go on without it
            log(_WARNING, "no decoder for browsers; they will ask the server instead")

    def _export(self) -> bool:
        """Whether a process of its own made the files: tracing takes a core and some hundred megabytes for a while."""
        arguments = (pickle.dumps(_without_encoder(self._sam)), self._folder)
        process = multiprocessing.get_context("spawn").Process(target=_export, args=arguments, daemon=True)
        with self._lock:
            if self._closed:
                return False
            process.start()
            self._process = process
        process.join()
        return all(self.path(part).is_file() for part in PARTS)


def _export(pickled: bytes, folder: Path) -> None:
    """What the process does; it does not wait for Ctrl-C, which the server hears too, and lets others go first."""
    from opensam.export.decoder import export_decoder

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(10)
    export_decoder(pickle.loads(pickled), folder, [f"decoder_{part}" for part in PARTS])


def decoder_key(sam: Sam) -> str:
    """What the files depend on, as 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{FORMAT} {sam.image_size} {sam.mask_threshold}".encode())
    for part in (sam.prompt_encoder, sam.mask_decoder):
        for name, value in part.state_dict().items():
            digest.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _without_encoder(sam: Sam) -> Sam:
    """A copy in float32 on the processor; the image encoder, which may be gigabytes, is left out."""
    nothing: nn.Module = nn.Identity()
    return copy.deepcopy(sam, {id(sam.image_encoder): nothing}).to(torch.device("cpu"), torch.float32).eval()
