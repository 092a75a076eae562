"""Pictures wait here to be embedded, in threads of their own beside the event loop.

Requests for one picture become one job, whoever asked first. A job outlives the client that asked for it: the next
one is likely to ask for the same. What somebody looks at comes before what is fetched ahead.
"""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from opensam.predictor import ImageEmbedding
from opensam.serve.embeddings import EmbeddingCache
from opensam.serve.errors import busy, unavailable
from opensam.serve.metrics import Metrics

_RECENT = 16  # pictures by which the next waiting time is guessed
_FIRST_GUESS = 2.0  # seconds for a picture, before there was one

Embed = Callable[[bytes], ImageEmbedding]


@dataclass
class _Job:
    key: str
    content: bytes
    later: bool
    future: "Future[ImageEmbedding]" = field(default_factory=Future)


class Encoder:
    """A bounded queue in front of threads that embed pictures.

    Args:
        embed: makes an embedding of the bytes of an image file; called in those threads.
        cache: where embeddings are looked for and put.
        queue: jobs that may wait. One that is fetched ahead makes room for one that somebody waits for.
        threads: how many.
        metrics: gets the times.
    """

    def __init__(self, embed: Embed, cache: EmbeddingCache, queue: int, threads: int, metrics: Metrics) -> None:
        self._embed, self._cache, self._most, self._metrics = embed, cache, queue, metrics
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._waiting: OrderedDict[str, _Job] = OrderedDict()
        self._running: dict[str, _Job] = {}
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"encoder-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Jobs that wait or run."""
        return len(self._waiting) + len(self._running)

    async def embed(self, key: str, content: bytes, later: bool = False) -> ImageEmbedding:
        """The embedding of a picture, from the cache or made now.

        Args:
            key: its id (`embedding_id`).
            content: the image file.
            later: whether nobody waits for it yet.

        Raises:
            HTTPException: 429 the queue is full; 503 the server is shutting down.
            ValueError: it cannot be read as a picture.
        """
        found = self._cache.held(key) or await asyncio.to_thread(self._cache.get, key)
        if found is not None:
            return found
        # Shielded: the job is not only for the client that may go away now.
        return await asyncio.shield(asyncio.wrap_future(self.submit(key, content, later)))

    def submit(self, key: str, content: bytes, later: bool = False) -> "Future[ImageEmbedding]":
        """Put a picture into the queue, or join those who wait for it already; raises as `embed`."""
        with self._wake:
            if self._closed:
                raise unavailable("the server is shutting down; try again in a moment", 5)
            job = self._running.get(key) or self._waiting.get(key)
            if job is not None:
                job.later = job.later and later
                return job.future
            job = _Job(key, content, later)
            if (found := self._cache.held(key)) is not None:  # the job ended a moment ago
                job.future.set_result(found)
                return job.future
            if len(self._waiting) >= self._most:
                self._make_room(later)
            self._waiting[key] = job
            self._wake.notify()
            return job.future

    def close(self) -> None:
        """Finish what runs, refuse what waits."""
        with self._wake:
            self._closed = True
            dropped = list(self._waiting.values())
            self._waiting.clear()
            self._wake.notify_all()
        for job in dropped:
            job.future.set_exception(unavailable("the server is shutting down; try again in a moment", 5))
        for thread in self._threads:
            thread.join()

    def _make_room(self, later: bool) -> None:
        """Drop what was fetched ahead last; else refuse."""
        ahead = None if later else next((job for job in reversed(self._waiting.values()) if job.later), None)
        seconds = sum(self._seconds) / len(self._seconds) if self._seconds else _FIRST_GUESS
        refusal = busy("the queue of pictures is full; try again later", self.depth * seconds / len(self._threads))
        if ahead is None:
            raise refusal
        del self._waiting[ahead.key]
        ahead.future.set_exception(refusal)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            started = time.perf_counter()
            try:
                embedding = self._embed(job.content)
                self._cache.put(job.key, embedding)
            except BaseException as error:
                self._done(job, started)
                job.future.set_exception(error)
            else:
                self._done(job, started)
                job.future.set_result(embedding)

    def _next(self) -> _Job | None:
        """What is wanted now in its order, then what is wanted later; None when there will be no more."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closed)
            job = next((job for job in self._waiting.values() if not job.later), None)
            job = job or next(iter(self._waiting.values()), None)
            if job is not None:
                del self._waiting[job.key]
                self._running[job.key] = job
            return job

    def _done(self, job: _Job, started: float) -> None:
        seconds = time.perf_counter() - started
        with self._lock:
            del self._running[job.key]
            self._seconds.append(seconds)
        self._metrics.observe("opensam_encode_seconds", seconds)
