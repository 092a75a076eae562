"""Image embeddings by the content of their picture: the last used in memory, more of them on disk."""

import hashlib
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from opensam.files import sweep
from opensam.predictor import ImageEmbedding
from opensam.serve.logs import log
from opensam.serve.metrics import Metrics

_WARNING = 30


def embedding_id(content: bytes, model_name: str) -> str:
    """The id of the embedding that a model makes of an image file: 64 hexadecimal digits."""
    digest = hashlib.sha256(content)
    digest.update(b"\0" + model_name.encode())
    return digest.hexdigest()


class EmbeddingCache:
    """What was embedded lately; safe to use from several threads.

    Files are complete or not there, and what a server wrote the next one finds. A disk that is full or cannot be
    written to costs a line in the log, and embeddings then live in memory alone.

    Args:
        folder: nobody else writes to it but servers; None: memory alone.
        memory_bytes: of embeddings in memory.
        disk_bytes: of files.
        metrics: gets hits and misses.
    """

    def __init__(self, folder: Path | None, memory_bytes: int, disk_bytes: int, metrics: Metrics) -> None:
        self._folder, self._metrics = folder, metrics
        self._most_memory, self._most_disk = memory_bytes, disk_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._files: OrderedDict[str, int] = OrderedDict()
        self.memory_bytes = self.disk_bytes = 0
        if folder is not None:
            self._look(folder)

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of this id, None if it is not held; may read a file."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
        where = "memory"
        if found is None:
            found, where = self._load(key), "disk"
        self._metrics.count("opensam_embedding_cache_total", result=where if found is not None else "miss")
        return found

    def held(self, key: str) -> ImageEmbedding | None:
        """The embedding if it is in memory; never waits for a disk."""
        with self._lock:
            return self._held.get(key)

    def put(self, key: str, embedding: ImageEmbedding) -> None:
        """Keep an embedding; what was not used for the longest time goes."""
        self._hold(key, embedding)
        size = _bytes(embedding)
        if self._folder is None or size > self._most_disk:
            return
        try:
            embedding.save(self._path(key))
        except OSError as error:
            log(_WARNING, "embedding not kept on disk", reason=type(error).__name__)
            return
        self._note(key, size)

    def _hold(self, key: str, embedding: ImageEmbedding) -> None:
        with self._lock:
            if key not in self._held:
                self.memory_bytes += _bytes(embedding)
            self._held[key] = embedding
            self._held.move_to_end(key)
            while self.memory_bytes > self._most_memory:
                _, oldest = self._held.popitem(last=False)
                self.memory_bytes -= _bytes(oldest)

    def _note(self, key: str, size: int) -> None:
        """A file is there; the oldest go."""
        gone = []
        with self._lock:
            self.disk_bytes += size - self._files.pop(key, 0)
            self._files[key] = size
            while self.disk_bytes > self._most_disk:
                oldest, bytes_of = self._files.popitem(last=False)
                self.disk_bytes -= bytes_of
                gone.append(oldest)
        for oldest in gone:
            with suppress(OSError):
                self._path(oldest).unlink(missing_ok=True)

    def _load(self, key: str) -> ImageEmbedding | None:
        with self._lock:
            known = key in self._files
        if not known:
            return None
        path = self._path(key)
        try:
            embedding = ImageEmbedding.load(path)
            path.touch()  # the next start goes by it
        except (OSError, ValueError):  # gone or damaged: the picture is embedded again
            with self._lock:
                self.disk_bytes -= self._files.pop(key, 0)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        self._hold(key, embedding)
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
        return embedding

    def _look(self, folder: Path) -> None:
        """What an earlier server left, the last used last."""
        found = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            found = sorted(
                (path.stat().st_mtime, path.stem, path.stat().st_size) for path in folder.glob("*.safetensors")
            )
        except OSError as error:
            log(_WARNING, "cache folder cannot be used", reason=type(error).__name__)
            self._folder = None
        for _, key, size in found:
            self._note(key, size)

    def _path(self, key: str) -> Path:
        return (self._folder or Path()) / f"{key}.safetensors"


def _bytes(embedding: ImageEmbedding) -> int:
    return embedding.embeddings.nbytes
