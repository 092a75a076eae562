"""Ask a server of `opensam serve` from Python, in the words of `opensam.Predictor`.

client = opensam.Client("http://127.0.0.1:8765")
embedding = client.embed("photo.jpg")
prediction = client.predict(embedding, point_coords=[(500, 375)])
prediction.best.mask  # (H, W) bool
"""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from opensam import image as images
from opensam.masks import decode_rle
from opensam.predictor import Prediction
from opensam.predictor.prediction import stack
from opensam.records import MaskRecord

_AGAIN = (429, 503)
_LONGEST_WAIT = 30.0


class ClientError(ValueError):
    """An answer that is none: what the server said in one sentence, or that there is no server.

    Attributes:
        status: of HTTP; None where no answer came.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class RemoteEmbedding:
    """An image embedding that a server holds.

    Attributes:
        id: under which it does.
        model: that made it.
        original_size: (H, W) of the picture.
        image_size: side of the model's square.
    """

    id: str
    model: str
    original_size: tuple[int, int]
    image_size: int


class Client:
    """A server's model. It holds no connection and serves many threads.

    Args:
        url: of the server.
        token: that it asks for.
        timeout: seconds without a byte after which an answer is given up.
        retries: how often a request is made again that the server had no time for; it says how long to wait.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8765", token: str | None = None, timeout: float = 120, retries: int = 5
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected an address such as http://127.0.0.1:8765, got {url!r}")
        self._secure, self._place = parts.scheme == "https", parts.netloc.rpartition("@")[2]
        self._prefix, self._timeout, self._retries = parts.path.rstrip("/"), timeout, retries
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def models(self) -> dict[str, Any]:
        """What answers: {"default", "models", "decoder"}. Raises ClientError."""
        return json.loads(self._ask("GET", "/v1/models").read())

    def embed(self, image: images.Source) -> RemoteEmbedding:
        """Let the server look at a picture; the same one again costs nothing.

        Args:
            image: anything `opensam.image.read` takes. A file goes as it is, anything else as PNG.

        Raises:
            ClientError: the server does not take it, or there is none.
            ValueError: it is no picture (`opensam.image.ImageError`).
        """
        found = json.loads(self._ask("POST", "/v1/embed", _content(image), "application/octet-stream").read())
        return RemoteEmbedding(found["id"], found["model"], tuple(found["original_size"]), found["image_size"])

    def embeddings(self, embedding: RemoteEmbedding) -> NDArray[np.float32]:
        """The numbers themselves, (1, 256, h, w). Raises ClientError."""
        with self._ask("GET", f"/v1/embeddings/{embedding.id}?dtype=float32") as answer:
            shape = [int(side) for side in (answer.headers["X-Shape"] or "").split(",")]
            return np.frombuffer(answer.read(), dtype="<f4").reshape(shape).astype(np.float32)

    def predict(
        self,
        embedding: RemoteEmbedding,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        *,
        multimask_output: bool | None = None,
    ) -> Prediction:
        """Masks for one prompt or for P prompts, as `Predictor.predict` gives them.

        Low-resolution masks travel in half precision.

        Raises:
            ClientError: a prompt is not as described there, the server does not hold the embedding any more (status
                404: embed again), or there is no server.
        """
        prompts = {"point_coords": point_coords, "point_labels": point_labels, "boxes": boxes}
        request = {name: np.asarray(value).tolist() for name, value in prompts.items() if value is not None}
        request |= {"embedding": embedding.id, "low_res_masks": True}
        if mask_input is not None:
            logits = np.asarray(mask_input, dtype="<f2")
            request["mask_input"] = base64.b64encode(logits.tobytes()).decode()
        if multimask_output is not None:
            request["multimask_output"] = multimask_output
        body = json.dumps(request).encode()
        found = json.loads(self._ask("POST", "/v1/predict", body, "application/json").read())
        if found.get("prompts") is not None:
            return stack([_prediction(masks) for masks in found["prompts"]])
        return _prediction(found["masks"])

    def generate(
        self, image: images.Source, progress: Callable[[int, int], None] | None = None, **overrides: Any
    ) -> list[MaskRecord]:
        """The masks of everything in a picture, as `MaskGenerator.generate` gives them.

        Args:
            image: as for `embed`.
            progress: called with the points that are done and all there are; what it raises ends the work on the
                server too.
            overrides: settings of `AmgConfig` in place of those that suit the model.

        Raises:
            ClientError: the server does not take it, or fails, or there is none.
        """
        body, kind = _form(_content(image), overrides)
        with self._ask("POST", "/v1/generate", body, kind) as answer:
            for event, facts in _events(answer):
                if event == "progress" and progress is not None:
                    progress(facts["done"], facts["total"])
                if event == "error":
                    raise ClientError(facts["detail"])
                if event == "result":
                    return [MaskRecord.model_validate(one) for one in facts["annotations"]]
        raise ClientError("the server ended before it was done; ask again")

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> http.client.HTTPResponse:
        for again in range(self._retries, -1, -1):
            answer = self._once(method, path, body, kind)
            if answer.status < 400:
                return answer
            with answer:
                detail = _detail(answer)
            wait = answer.headers.get("Retry-After", "")
            if answer.status not in _AGAIN or not wait.isdecimal() or not again:
                break
            time.sleep(min(_LONGEST_WAIT, float(wait)))
        raise ClientError(detail, answer.status)

    def _once(self, method: str, path: str, body: bytes | None, kind: str) -> http.client.HTTPResponse:
        connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = connect(self._place, timeout=self._timeout)
        headers = {**self._headers, "Connection": "close", **({"Content-Type": kind} if kind else {})}
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer says why
                connection.request(method, self._prefix + path, body, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ClientError(f"no answer from {self._place}: {reason}; is `opensam serve` running there?") from error


def _content(image: images.Source) -> bytes:
    """The bytes of an image file."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise images.ImageError(f"cannot read {image} as a picture: {error.strerror}; check the path.") from error
    stream = BytesIO()
    Image.fromarray(images.read(image)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _form(content: bytes, overrides: Mapping[str, Any]) -> tuple[bytes, str]:
    """A form with a picture and settings, and its content type."""
    boundary = "opensam-7d1f5c0e9b"
    while boundary.encode() in content:
        boundary += "0"
    parts = [('name="image"; filename="image"', content), ('name="config"', json.dumps(dict(overrides)).encode())]
    lines = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + part + b"\r\n"
        for head, part in parts
    )
    return lines + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events, each with its JSON."""
    event = ""
    for line in answer:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


def _detail(answer: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(answer.read())["detail"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"the server answered {answer.status} {answer.reason}; is it one of opensam?"


def _prediction(masks: list[dict[str, Any]]) -> Prediction:
    low_res = [
        np.frombuffer(base64.b64decode(one["low_res_mask"]), dtype="<f2").reshape(one["low_res_shape"]) for one in masks
    ]
    return Prediction(
        masks=np.stack([decode_rle(one["segmentation"]) for one in masks]),
        iou_predictions=np.array([one["predicted_iou"] for one in masks], dtype=np.float32),
        stability_score=np.array([one["stability_score"] for one in masks], dtype=np.float32),
        low_res_masks=np.stack(low_res).astype(np.float32),
    )
