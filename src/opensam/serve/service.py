"""What lives behind the routes, for as long as the server runs."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import HTTPException

from opensam import threads
from opensam.image import ImageError
from opensam.predictor import ImageEmbedding, Predictor
from opensam.serve import predictions
from opensam.serve.decoder import BrowserDecoder
from opensam.serve.embeddings import EmbeddingCache, embedding_id
from opensam.serve.encoder import Encoder
from opensam.serve.errors import busy, one_line, unavailable
from opensam.serve.generation import Generations
from opensam.serve.metrics import Metrics, resident_bytes
from opensam.serve.pictures import Held, check_picture
from opensam.serve.predictions import PredictRequest
from opensam.serve.settings import ServeConfig

Value = TypeVar("Value")

_METRICS = {
    "opensam_requests_total": "Requests answered",
    "opensam_request_seconds": "Seconds until a request was answered",
    "opensam_encode_seconds": "Seconds to embed a picture",
    "opensam_predict_seconds": "Seconds to predict masks",
    "opensam_embedding_cache_total": "Embeddings asked for, by where they were found",
}


class Service:
    """A model and everything around it: queues, caches, threads.

    Args:
        predictor: of the model.
        config: limits and sizes.
    """

    def __init__(self, predictor: Predictor, config: ServeConfig) -> None:
        self.predictor, self.config = predictor, config
        self.metrics, self.held = Metrics(), Held(config.max_waiting_bytes)
        folder = None if config.cache is None else config.cache / "embeddings"
        self.cache = EmbeddingCache(folder, config.memory_bytes, config.disk_bytes, self.metrics)
        self.encoder = Encoder(self._embed, self.cache, config.queue, config.encoders, self.metrics)
        self.generations = Generations(predictor, config)
        self.decoder = BrowserDecoder(predictor.sam)
        self._pool = ThreadPoolExecutor(config.predictors, "predict", initializer=threads.one_for_this)
        self._predicting = 0
        self._closing = threading.Event()
        self._describe()

    def begin_shutdown(self) -> None:
        """Take no new work, and end what would take long; from any thread."""
        self._closing.set()
        self.generations.close()

    def close(self) -> None:
        """Wait until nothing runs any more."""
        self.begin_shutdown()
        self.encoder.close()
        self.generations.join()
        self._pool.shutdown(cancel_futures=True)

    async def embed(self, content: bytes, later: bool = False) -> tuple[str, ImageEmbedding]:
        """The embedding of an uploaded picture, and its id.

        Raises:
            HTTPException: it is no picture, too large, damaged, or there is too much to do.
        """
        key = await asyncio.to_thread(embedding_id, content, self.predictor.model_name)
        if (found := self.cache.held(key)) is not None:
            return key, found
        await asyncio.to_thread(check_picture, content, self.config)
        try:
            return key, await self.encoder.embed(key, content, later)
        except ImageError as error:
            raise HTTPException(422, one_line(error)) from None

    async def embedding(self, key: str) -> ImageEmbedding:
        """A held embedding.

        Raises:
            HTTPException: 404 it is not held, or not any more.
        """
        found = self.cache.held(key) or await asyncio.to_thread(self.cache.get, key)
        if found is None:
            raise HTTPException(404, "no image embedding of this id is held; send the picture to /v1/embed again")
        return found

    async def predict(self, request: PredictRequest) -> dict[str, Any]:
        """Masks for prompts.

        Raises:
            HTTPException: an unknown embedding, wrong prompts, or too much to do.
        """
        embedding = await self.embedding(request.embedding)
        try:
            return await self._in_pool(lambda: predictions.answer(self.predictor, embedding, request, self.config))
        except ValueError as error:
            raise HTTPException(422, one_line(error)) from None

    async def _in_pool(self, work: Callable[[], Value]) -> Value:
        if self._closing.is_set():
            raise unavailable("the server is shutting down; try again in a moment", 5)
        if self._predicting >= self.config.predict_queue + self.config.predictors:
            raise busy("too many predictions at once; try again in a moment", 1)
        self._predicting += 1
        started = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._predicting -= 1
            self.metrics.observe("opensam_predict_seconds", time.perf_counter() - started)

    def _embed(self, content: bytes) -> ImageEmbedding:
        return self.predictor.embed(content)

    def _describe(self) -> None:
        for name, text in _METRICS.items():
            self.metrics.describe(name, text)
        gauge, cache = self.metrics.gauge, self.cache
        gauge("opensam_encode_queue", "Pictures that wait or are embedded", lambda: self.encoder.depth)
        gauge("opensam_predict_queue", "Predictions that wait or run", lambda: self._predicting)
        gauge("opensam_generate_queue", "Automatic segmentations that wait or run", lambda: self.generations.depth)
        gauge("opensam_embedding_memory_bytes", "Embeddings in memory", lambda: cache.memory_bytes)
        gauge("opensam_embedding_disk_bytes", "Embeddings on disk", lambda: cache.disk_bytes)
        gauge("opensam_upload_bytes", "Uploads held in memory", lambda: self.held.bytes)
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", resident_bytes)
