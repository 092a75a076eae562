"""Automatic masks of a picture, one picture at a time, told step by step."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opensam.amg import PRESETS, AmgConfig, MaskGenerator, preset_of
from opensam.predictor import ImageEmbedding, Predictor
from opensam.records import ImageInfo, ImageRecord
from opensam.serve.errors import busy, one_line, unavailable
from opensam.serve.logs import log
from opensam.serve.settings import ServeConfig

_BEAT = 5.0  # seconds after which a stream says that it is alive; proxies cut silent ones
_ERROR = 40


class _StoppedError(Exception):
    """The client went away, or the server ends."""


class Generations:
    """Runs automatic segmentation in a thread of its own.

    Args:
        predictor: of the model.
        config: limits.
    """

    def __init__(self, predictor: Predictor, config: ServeConfig) -> None:
        self._predictor, self._config = predictor, config
        self._pool = ThreadPoolExecutor(1, "generate")
        self._stops: set[threading.Event] = set()
        self._closed = False

    @property
    def depth(self) -> int:
        """How many wait or run."""
        return len(self._stops)

    def settings(self, overrides: Mapping[str, Any]) -> AmgConfig:
        """The settings of a request: those that suit the model, changed.

        Raises:
            ValueError: a setting is unknown or out of range, or asks for too many points.
        """
        changes = dict(overrides)
        side, most = changes.get("points_per_side"), self._config.max_grid_points
        # Before a grid is made, or even checked.
        if isinstance(side, int | float) and side > most:
            raise ValueError(f"expected at most {most} points in all, got {side} along a side; lower points_per_side")
        config = PRESETS[preset_of(self._predictor.sam.name)].changed(**changes)
        if (points := _points(config)) > most:
            raise ValueError(
                f"expected at most {most} points in all, got {points}; lower points_per_side or crop_n_layers"
            )
        return config.changed(points_per_batch=min(config.points_per_batch, 256))

    def admit(self) -> threading.Event:
        """A place in the queue; set the event to give it up, and pass it to `stream`.

        Raises:
            HTTPException: 429 there is none; 503 the server is shutting down.
        """
        if self._closed:
            raise unavailable("the server is shutting down; try again in a moment", 5)
        if len(self._stops) > self._config.generate_queue:
            raise busy("too many automatic segmentations at once; try again later", 20 * len(self._stops))
        stop = threading.Event()
        self._stops.add(stop)
        return stop

    async def stream(
        self, content: bytes, embedding: ImageEmbedding, config: AmgConfig, info: ImageInfo, stop: threading.Event
    ) -> AsyncIterator[bytes]:
        """Server-sent events: progress, then a result or an error. Work ends when nobody listens any more."""
        events: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def send(event: str, facts: Mapping[str, Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, _event(event, facts))

        work = self._pool.submit(self._run, content, embedding, config, info, stop, send)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), _BEAT)
                except TimeoutError:
                    event = b": waiting\n\n"
                yield event
                if event.startswith((b"event: result", b"event: error")):
                    return
        finally:
            stop.set()
            work.cancel()
            self._stops.discard(stop)

    def close(self) -> None:
        """End what runs at its next step."""
        self._closed = True
        for stop in list(self._stops):
            stop.set()

    def join(self) -> None:
        """Wait until nothing runs."""
        self._pool.shutdown(cancel_futures=True)

    def _run(
        self,
        content: bytes,
        embedding: ImageEmbedding,
        config: AmgConfig,
        info: ImageInfo,
        stop: threading.Event,
        send: Any,
    ) -> None:
        def progress(done: int, total: int) -> None:
            if stop.is_set():
                raise _StoppedError
            send("progress", {"done": done, "total": total})

        try:
            if stop.is_set():
                raise _StoppedError
            records = MaskGenerator(self._predictor, config).generate(content, progress, embedding)
            send("result", ImageRecord(image=info, annotations=records).to_dict())
        except _StoppedError:
            send("error", {"detail": "the work was stopped; try again in a moment"})
        except ValueError as error:
            send("error", {"detail": one_line(error)})
        except Exception as error:
            log(_ERROR, "automatic masks failed", error)
            send("error", {"detail": "something went wrong in the server; its log says more"})


def _points(config: AmgConfig) -> int:
    """Clicks over all crops: layer i has (2^i)^2 of them."""
    if config.point_grids is not None:
        return sum(len(grid) * 4**layer for layer, grid in enumerate(config.point_grids))
    side, factor = config.points_per_side or 0, config.crop_n_points_downscale_factor
    return sum(max(1, side // factor**layer) ** 2 * 4**layer for layer in range(config.crop_n_layers + 1))


def _event(event: str, facts: Mapping[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(facts, separators=(',', ':'))}\n\n".encode()
