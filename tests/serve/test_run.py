"""A real server on loopback: what a test client in the same thread cannot show."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from tests.serve.serving import make_app, png, running, small_predictor

from opensam.amg import MaskGenerator
from opensam.client import Client, ClientError
from opensam.serve.run import listen, url_of


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(make_app(max_bytes=100_000, body_seconds=1)) as number:
        yield number


@pytest.fixture
def client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}", timeout=30)


def talk(port: int, *parts: bytes, pause: float = 0) -> bytes:
    """What the server answers to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        for part in parts:
            one.sendall(part)
            time.sleep(pause)
        received = b""
        while b"}" not in received and (more := one.recv(65536)):
            received += more
    return received


HEAD = b"POST /v1/embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nConnection: close\r\n"


def test_the_client_gives_what_the_predictor_gives(client: Client) -> None:
    predictor = small_predictor()
    picture = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    embedding, wanted = client.embed(picture), predictor.embed(picture)
    assert embedding.original_size == (50, 70)
    np.testing.assert_array_equal(client.embeddings(embedding), wanted.embeddings.numpy())
    got, expected = client.predict(embedding, [(30, 20)]), predictor.predict(wanted, [(30, 20)])
    np.testing.assert_array_equal(got.masks, expected.masks)
    np.testing.assert_allclose(got.iou_predictions, expected.iou_predictions, rtol=1e-5)
    np.testing.assert_allclose(got.low_res_masks, expected.low_res_masks, rtol=1e-3, atol=1e-3)
    again = client.predict(embedding, [(30, 20)], mask_input=got.best.low_res_mask)
    assert again.masks.shape == (1, 50, 70)
    assert client.predict(embedding, boxes=[(0, 0, 20, 20), (5, 5, 40, 40)]).masks.shape == (2, 3, 50, 70)


def test_the_client_generates_and_hears_of_progress(client: Client) -> None:
    steps: list[tuple[int, int]] = []
    settings = {"points_per_side": 5, "pred_iou_thresh": 0, "stability_score_thresh": 0.2}
    records = client.generate(png(), lambda done, total: steps.append((done, total)), **settings)
    assert records == MaskGenerator(small_predictor(), **settings).generate(png())
    assert steps[-1] == (25, 25)


def test_the_client_says_what_the_server_said(client: Client) -> None:
    embedding = client.embed(png())
    with pytest.raises(ClientError, match="inside the picture") as error:
        client.predict(embedding, [(1000, 20)])
    assert error.value.status == 422
    with pytest.raises(ClientError, match="at most"):
        client.embed(bytes(5_000_000))
    with pytest.raises(ClientError, match="points_per"):
        client.generate(png(), points_per_slide=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ClientError, match="opensam serve"):
            Client(f"http://127.0.0.1:{free.getsockname()[1]}").models()


def test_a_body_without_a_length_stops_at_the_limit(port: int) -> None:
    chunk = b"fffff\r\n" + bytes(0xFFFFF) + b"\r\n"
    answer = talk(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_given_up(port: int) -> None:
    assert talk(port, HEAD + b"Content-Length: 1000\r\n\r\nabc").startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_in_the_middle_of_a_body_harms_nobody(port: int, client: Client) -> None:
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
    assert client.embed(png()).original_size == (60, 80)


def test_work_ends_when_nobody_listens_any_more() -> None:
    app = make_app()
    generations = app.state.service.generations
    with running(app) as port:

        def leave(done: int, total: int) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            Client(f"http://127.0.0.1:{port}").generate(png(), leave, points_per_side=100)
        until = time.monotonic() + 20
        while generations.depth and time.monotonic() < until:
            time.sleep(0.02)
        assert generations.depth == 0


def test_shutdown_ends_long_work_and_tells_its_client() -> None:
    app = make_app()
    begun, errors = threading.Event(), []

    def ask(port: int) -> None:
        try:
            Client(f"http://127.0.0.1:{port}").generate(png(), lambda *_: begun.set(), points_per_side=100)
        except ClientError as error:
            errors.append(str(error))

    with running(app) as port:
        thread = threading.Thread(target=ask, args=(port,))
        thread.start()
        assert begun.wait(20)
    thread.join(20)
    assert errors == ["the work was stopped; try again in a moment"]


def test_a_queue_that_is_full_makes_the_client_come_again() -> None:
    app = make_app(queue=1)
    service = app.state.service
    may, original = threading.Event(), service.predictor.embed
    service.encoder._embed = lambda content: (may.wait(20), original(content))[1]
    with running(app) as port:
        client = Client(f"http://127.0.0.1:{port}")
        answers: list[object] = []
        threads = [threading.Thread(target=lambda n=n: answers.append(client.embed(png(n)))) for n in range(3)]
        for thread in threads:
            thread.start()
        while service.metrics.render().count('status="429"') == 0:
            time.sleep(0.02)
        may.set()
        for thread in threads:
            thread.join(30)
    assert len(answers) == 3


def test_a_taken_port_is_one_sentence_and_the_usual_one_gives_way() -> None:
    with listen("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"127.0.0.1:{number} is taken"):
            listen("127.0.0.1", number)
        assert url_of(taken, "127.0.0.1", "x") == f"http://127.0.0.1:{number}/?token=x"
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
    with pytest.raises(ValueError, match="cannot be used here"):
        listen("203.0.113.1", 0)


def test_the_log_is_json_when_asked() -> None:
    import logging

    from opensam.serve.logs import JsonLines, TextLines

    record = logging.LogRecord("opensam.serve", logging.INFO, "", 0, "request", None, None)
    record.facts = {"status": 200}
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["status"], line["level"]) == ("request", 200, "info")
    assert TextLines().format(record).endswith("info request status=200")
