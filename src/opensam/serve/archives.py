"""Files that were sent, one by one or in zips: nothing is unpacked to a disk, and no name leads anywhere."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

MOST_BYTES = 1 << 29
"""Of one file; all of it is in memory while it is read."""
_MOST_ENTRIES = 1_000_000
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)


class Sent(NamedTuple):
    """A file that was sent: its name, with "/" between the folders of a zip, and where its content is."""

    name: str
    stream: BinaryIO
    entry: zipfile.ZipInfo | None = None
    archive: zipfile.ZipFile | None = None

    def read(self) -> bytes:
        """The content. Raises ValueError where it is damaged or too long."""
        try:
            if self.entry is not None and self.archive is not None:
                with self.archive.open(self.entry) as member:
                    content = member.read(MOST_BYTES + 1)  # what the zip says about lengths is not trusted
            else:
                self.stream.seek(0)
                content = self.stream.read(MOST_BYTES + 1)
        except _DAMAGED as error:
            raise ValueError("it is damaged, or packed in a way that cannot be read") from error
        if len(content) > MOST_BYTES:
            raise ValueError(f"expected at most {MOST_BYTES >> 20} MiB in a file, got more; split it up")
        return content


def files(uploads: Sequence[tuple[str, BinaryIO]]) -> Iterator[Sent]:
    """All files, those in zips instead of the zips; hidden ones and folders are left out.

    Raises:
        ValueError: a zip cannot be read.
    """
    for name, stream in uploads:
        stream.seek(0)
        start = stream.read(4)
        if start not in _ZIP:
            yield Sent(name.replace("\\", "/"), stream)
            continue
        try:
            archive = zipfile.ZipFile(stream)
            entries = archive.infolist()
        except (*_DAMAGED, ValueError) as error:
            raise ValueError(f"{name} is a damaged zip; make or send it again") from error
        if len(entries) > _MOST_ENTRIES:
            raise ValueError(f"expected at most {_MOST_ENTRIES} files in a zip, got {len(entries)}; send it in parts")
        for entry in entries:
            path = entry.filename.replace("\\", "/")
            if not entry.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in path.split("/")):
                yield Sent(path, stream, entry, archive)
