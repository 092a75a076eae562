"""Small pictures for the gallery, kept on disk."""

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from opensam.files import replacing
from opensam.serve.folder import Entry, PictureFolder, decode

SIDE = 320
"""The longest side, in pixels."""


class Thumbnails:
    """Thumbnails of the pictures of a folder.

    A thumbnail has the time of its picture, which tells whether it is of the picture as it is now. Where they cannot be
    kept they are made each time.

    Args:
        pictures: the folder.
        cache: a folder for them, which is made when there is one to keep.
    """

    def __init__(self, pictures: PictureFolder, cache: Path) -> None:
        self.pictures, self.cache = pictures, cache

    def read(self, entry: Entry) -> bytes:
        """A JPEG.

        Raises:
            VanishedError: the picture is gone.
            ImageError: it cannot be read.
        """
        mark = self.pictures.mark(entry)
        time = int(mark.partition("-")[0], 16)
        kept = self.cache / f"{entry.id}.jpg"
        with suppress(OSError):
            if kept.stat().st_mtime_ns == time:
                return kept.read_bytes()
        self.pictures.size(entry)
        stream = BytesIO()
        decode(self.pictures.read_bytes(entry), SIDE).save(stream, "JPEG", quality=82)
        content = stream.getvalue()
        with suppress(OSError):
            self.cache.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as temporary:
                temporary.write_bytes(content)
                os.utime(temporary, ns=(time, time))
        return content
