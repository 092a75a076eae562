import asyncio
import threading
from collections.abc import Iterator

import pytest
import torch
from fastapi import HTTPException

from opensam.geometry import Resize
from opensam.image import ImageError
from opensam.predictor import ImageEmbedding
from opensam.serve.embeddings import EmbeddingCache
from opensam.serve.encoder import Encoder
from opensam.serve.metrics import Metrics


class Gate:
    """Embeds one picture after the other, each when it may."""

    def __init__(self) -> None:
        self.may, self.seen, self.busy = threading.Semaphore(0), [], threading.Semaphore(0)

    def __call__(self, content: bytes) -> ImageEmbedding:
        self.seen.append(content)
        self.busy.release()
        self.may.acquire()
        if content == b"broken":
            raise ImageError("it is broken.")
        return ImageEmbedding(torch.zeros(1, 2, 2, 2), Resize((4, 4), 64), "gate")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def encoder(gate: Gate) -> Iterator[Encoder]:
    metrics = Metrics()
    one = Encoder(gate, EmbeddingCache(None, 1000, 0, metrics), queue=2, threads=1, metrics=metrics)
    yield one
    for _ in range(20):
        gate.may.release()
    one.close()


def begin(encoder: Encoder, gate: Gate) -> None:
    """One picture is in work, so that others wait."""
    encoder.submit("first", b"first")
    gate.busy.acquire()


def test_requests_for_one_picture_are_one_job(encoder: Encoder, gate: Gate) -> None:
    futures = [encoder.submit("a", b"a") for _ in range(5)]
    gate.may.release()
    assert len({id(future.result(5)) for future in futures}) == 1
    assert encoder.submit("a", b"a").result(5) is futures[0].result()
    assert gate.seen == [b"a"]


def test_what_somebody_waits_for_comes_before_what_is_fetched_ahead(encoder: Encoder, gate: Gate) -> None:
    begin(encoder, gate)
    futures = [encoder.submit("later", b"later", later=True), encoder.submit("now", b"now")]
    for _ in range(3):
        gate.may.release()
    for future in futures:
        future.result(5)
    assert gate.seen == [b"first", b"now", b"later"]


def test_a_picture_that_was_fetched_ahead_is_hurried_when_somebody_wants_it(encoder: Encoder, gate: Gate) -> None:
    begin(encoder, gate)
    ahead = [encoder.submit(name, name.encode(), later=True) for name in ("a", "b")]
    encoder.submit("b", b"b")
    for _ in range(3):
        gate.may.release()
    for future in ahead:
        future.result(5)
    assert gate.seen == [b"first", b"b", b"a"]


def test_a_full_queue_refuses_and_says_when_to_come_again(encoder: Encoder, gate: Gate) -> None:
    begin(encoder, gate)
    for name in ("a", "b"):
        encoder.submit(name, name.encode())
    with pytest.raises(HTTPException) as refused:
        encoder.submit("c", b"c")
    assert refused.value.status_code == 429
    assert int(refused.value.headers["Retry-After"]) >= 1
    assert encoder.submit("a", b"a") is not None  # joining is no new work


def test_what_is_fetched_ahead_makes_room(encoder: Encoder, gate: Gate) -> None:
    begin(encoder, gate)
    kept, dropped = (encoder.submit(name, name.encode(), later=True) for name in ("a", "b"))
    wanted = encoder.submit("c", b"c")
    with pytest.raises(HTTPException):
        dropped.result(5)
    for _ in range(3):
        gate.may.release()
    assert wanted.result(5)
    assert kept.result(5)


def test_a_client_that_goes_away_does_not_end_the_work_of_others(encoder: Encoder, gate: Gate) -> None:
    async def ask() -> ImageEmbedding:
        gone, stays = (asyncio.create_task(encoder.embed("a", b"a")) for _ in range(2))
        await asyncio.to_thread(gate.busy.acquire)
        gone.cancel()
        gate.may.release()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(ask()).model_name == "gate"
    assert gate.seen == [b"a"]


def test_a_damaged_picture_is_an_error_for_who_asked_and_nobody_else(encoder: Encoder, gate: Gate) -> None:
    futures = [encoder.submit("broken", b"broken"), encoder.submit("a", b"a")]
    for _ in range(2):
        gate.may.release()
    with pytest.raises(ImageError):
        futures[0].result(5)
    assert futures[1].result(5)


def test_closing_finishes_what_runs_and_refuses_the_rest(encoder: Encoder, gate: Gate) -> None:
    begin(encoder, gate)
    first, waiting = encoder.submit("first", b"first"), encoder.submit("a", b"a")
    closing = threading.Thread(target=encoder.close)
    closing.start()
    with pytest.raises(HTTPException):
        waiting.result(5)
    gate.may.release()
    closing.join(5)
    assert first.result(5)
    with pytest.raises(HTTPException):
        encoder.submit("b", b"b")
