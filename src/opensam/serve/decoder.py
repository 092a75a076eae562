"""The decoder as files for browsers, made once for each model, in the background of the first start."""

import copy
import hashlib
import tempfile
import threading
import time
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

    def path(self, part: str) -> Path:
        """Where a part lies once it is ready."""
        return self._folder / f"decoder_{part}.onnx"

    def start(self) -> None:
        """Make the files unless they are there."""
        if self.state == "making" and self._thread is None:
            self._thread = threading.Thread(target=self._make, name="decoder", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until they are made; a temporary folder goes."""
        if self._thread is not None:
            self._thread.join()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _make(self) -> None:
        started = time.perf_counter()
        try:
            from opensam.export.decoder import export_decoder

            self._folder.mkdir(parents=True, exist_ok=True)
            export_decoder(_without_encoder(self._sam), self._folder, [f"decoder_{part}" for part in PARTS])
        except Exception as error:  # predictions go on without it
            self.state = "failed"
            log(_WARNING, "decoder for browsers could not be made; they will ask the server instead", error)
            return
        self.state = "ready"
        log(_INFO, "decoder for browsers made", seconds=round(time.perf_counter() - started, 1))


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
