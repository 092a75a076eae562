"""What the tests of the server share: a small model, pictures, an application, and a server on loopback."""

import copy
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from tests.conftest import build_sam

from opensam.predictor import Predictor
from opensam.serve.app import create_app
from opensam.serve.run import server
from opensam.serve.settings import ServeConfig

Json = dict[str, str]
PNG = {"content-type": "image/png"}


@cache
def small_predictor() -> Predictor:
    return Predictor(copy.deepcopy(build_sam(0)).float())


def png(seed: int = 0, size: tuple[int, int] = (60, 80)) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def make_app(**settings: object) -> FastAPI:
    return create_app(small_predictor(), ServeConfig.of(settings))


def client_of(app: FastAPI, **arguments: object) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False, **arguments)


@contextmanager
def running(app: FastAPI) -> Iterator[int]:
    """A real server on loopback; yields its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        one = server(app)
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not one.started:
                time.sleep(0.005)
            yield listening.getsockname()[1]
        finally:
            app.state.service.begin_shutdown()
            one.should_exit = True
            thread.join()
