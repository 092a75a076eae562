"""The decoder as a file for browsers."""

import hashlib
from functools import cached_property

from opensam.export.browser import FORMAT, browser_decoder
from opensam.models.sam import Sam


class BrowserDecoder:
    """What `opensam.export.browser` makes of a model.

    Attributes:
        key: changes with the weights of the decoder and the format of the file.
    """

    def __init__(self, sam: Sam) -> None:
        self.key = decoder_key(sam)
        self._sam = sam

    @cached_property
    def content(self) -> bytes:
        """The file; making it takes some tenths of a second, once (twice where two ask at the same time)."""
        return browser_decoder(self._sam)


def decoder_key(sam: Sam) -> str:
    """What the file depends on, as 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{FORMAT} {sam.image_size} {sam.mask_threshold}".encode())
    for part in (sam.prompt_encoder, sam.mask_decoder):
        for name, value in part.state_dict().items():
            digest.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
