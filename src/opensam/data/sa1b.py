"""Reading SA-1B-style shards: tars in which each picture lies next to its JSON record."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opensam.data.dataset import PICTURE_SUFFIXES
from opensam.records import ImageRecord, RecordError, read_image_record


class ShardError(ValueError):
    """A shard that cannot be read; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Pair:
    """A picture and its record.

    Attributes:
        dataset: name of the data set: the shard's file name without a `-000` shard number.
        name: file name of the picture inside the shard, without suffix.
        picture: the encoded picture.
        record: its masks.
    """

    dataset: str
    name: str
    picture: bytes
    record: ImageRecord


def list_shards(path: str | Path) -> list[Path]:
    """The tars of a folder in sorted order, or the one tar that `path` is.

    Raises:
        ShardError: there is none.
    """
    path = Path(path)
    shards = [path] if path.is_file() else sorted(path.glob("*.tar"))
    if not shards:
        raise ShardError(f"expected a tar or a folder of tars in the SA-1B layout, got {path}; check the path")
    return shards


def dataset_name(shard: Path) -> str:
    """The data set a shard belongs to: `coco-001.tar` and `coco-000.tar` are both `coco`."""
    stem, _, number = shard.stem.rpartition("-")
    return stem if stem and number.isdigit() else shard.stem


def read_shard(path: str | Path) -> Iterator[Pair]:
    """All pairs of a tar, in the order of the tar.

    Raises:
        ShardError: the file is no tar, is cut short, a picture lacks its record, or a record cannot be read.
    """
    shard, dataset = Path(path), dataset_name(Path(path))
    waiting: dict[str, bytes] = {}
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                name, suffix = Path(member.name).stem, Path(member.name).suffix.lower()
                if suffix in PICTURE_SUFFIXES:
                    waiting[name] = content.read()
                elif suffix == ".json":
                    if name not in waiting:
                        raise ShardError(f"expected a picture before {member.name} in {shard}, got none")
                    yield Pair(dataset, name, waiting.pop(name), read_image_record(content.read()))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ShardError(f"expected a readable tar, got {shard}: {error}") from error
    except RecordError as error:
        raise ShardError(f"{shard}, member {member.name}: {error}") from error
    if waiting:
        raise ShardError(f"expected a record beside every picture of {shard}, got none for {sorted(waiting)[0]}")
