"""The routes of inference: models, embed, predict, generate, the decoder for browsers, health and metrics."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from opensam.models import zoo
from opensam.predictor import ImageEmbedding
from opensam.records import ImageInfo
from opensam.serve.errors import one_line, responses
from opensam.serve.pictures import PICTURE_BODY, LimitedRoute, check_picture, read_json_field, read_picture
from opensam.serve.predictions import PredictAnswer, PredictRequest
from opensam.serve.service import Service

EmbeddingId = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
"""For OpenAPI: the answer is bytes."""


class EmbeddingInfo(BaseModel):
    """An embedding that the server holds.

    Attributes:
        id: for /v1/predict and /v1/embeddings; the same picture and model give the same.
        model: that made it.
        original_size: [H, W] of the picture, upright.
        image_size: side of the model's square.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "3f2a91c0" * 8,
                    "model": "tiny_vit-1024-3f2a91c07b",
                    "original_size": [750, 1000],
                    "image_size": 1024,
                }
            ]
        }
    )

    id: str
    model: str
    original_size: tuple[int, int]
    image_size: int


class ModelInfo(BaseModel):
    """A model that answers."""

    name: str
    image_size: int
    description: str
    license: str


class DecoderInfo(BaseModel):
    """Where the decoder for browsers is; the address changes with the model."""

    url: str


class Models(BaseModel):
    """What answers here."""

    default: str
    models: list[ModelInfo]
    decoder: DecoderInfo


class Health(BaseModel):
    """Whether the server answers."""

    status: str


router = APIRouter(route_class=LimitedRoute)


def service_of(request: Request) -> Service:
    """What the routes work with."""
    return request.app.state.service


def info_of(key: str, embedding: ImageEmbedding) -> EmbeddingInfo:
    """What a client learns of an embedding."""
    resize = embedding.resize
    return EmbeddingInfo(
        id=key, model=embedding.model_name, original_size=resize.original_size, image_size=resize.image_size
    )


@router.get("/healthz", tags=["server"])
async def health() -> Health:
    """Whether the server answers."""
    return Health(status="ok")


@router.get("/metrics", tags=["server"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counts, times and sizes as Prometheus reads them."""
    return PlainTextResponse(service_of(request).metrics.render(), media_type="text/plain; version=0.0.4")


@router.get("/v1/models", tags=["inference"])
async def models(request: Request) -> Models:
    """The model that answers, and its decoder for browsers."""
    service = service_of(request)
    sam = service.predictor.sam
    known = {spec.name: spec for spec in zoo.list_models()}.get(sam.name)
    info = ModelInfo(
        name=sam.name,
        image_size=sam.image_size,
        description=known.description if known else "weights of your own",
        license=known.license if known else "unknown",
    )
    decoder = DecoderInfo(url=f"/v1/decoder.safetensors?v={service.decoder.key}")
    return Models(default=sam.name, models=[info], decoder=decoder)


@router.get("/v1/decoder.safetensors", tags=["inference"], response_class=Response, responses=responses(422) | FILE)
def decoder_file(request: Request, v: str = "") -> Response:
    """The weights of the mask decoder, for programs that decode by themselves; /v1/models has the address to keep."""
    decoder = service_of(request).decoder
    keep = "public, max-age=31536000, immutable" if v == decoder.key else "no-cache"
    return Response(decoder.content, media_type="application/octet-stream", headers={"Cache-Control": keep})


@router.post(
    "/v1/embed",
    tags=["inference"],
    responses=responses(400, 413, 415, 422, 429, 503),
    openapi_extra=PICTURE_BODY,
)
async def embed(request: Request, priority: Annotated[str, Query(pattern="^(now|later)$")] = "now") -> EmbeddingInfo:
    """Look at a picture: the expensive step, once per picture. "later" is for what is fetched ahead."""
    content, _ = await read_picture(request)
    key, embedding = await service_of(request).embed(content, priority == "later")
    return info_of(key, embedding)


@router.get(
    "/v1/embeddings/{embedding_id}",
    tags=["inference"],
    response_class=Response,
    responses=responses(404, 422) | FILE,
)
async def embedding_bytes(
    request: Request, embedding_id: EmbeddingId, dtype: Annotated[str, Query(pattern="^float(16|32)$")] = "float32"
) -> Response:
    """The embedding itself: little-endian, its shape (1, 256, h, w) in X-Shape."""
    embedding = await service_of(request).embedding(embedding_id)
    array = embedding.embeddings.float().cpu().numpy()
    content = np.ascontiguousarray(array, dtype="<f2" if dtype == "float16" else "<f4").tobytes()
    headers = {
        "X-Shape": ",".join(map(str, array.shape)),
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.post("/v1/predict", tags=["inference"], responses=responses(400, 404, 413, 422, 429, 503))
async def predict(request: Request, prompts: PredictRequest) -> PredictAnswer:
    """Masks for clicks, boxes or an earlier mask, best first."""
    return JSONResponse(await service_of(request).predict(prompts))  # type: ignore[return-value]  # large: not read again


def _generate_body() -> dict[str, Any]:
    form = PICTURE_BODY["requestBody"]["content"]["multipart/form-data"]["schema"]
    config = {"type": "string", "description": 'JSON of settings, such as {"points_per_side": 16}'}
    schema = {**form, "properties": {**form["properties"], "config": config}}
    content = {**PICTURE_BODY["requestBody"]["content"], "multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "events: progress {done, total}, then result (an SA-1B record) or error {detail}",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/v1/generate",
    tags=["inference"],
    response_class=StreamingResponse,
    responses=responses(400, 413, 415, 422, 429, 503) | EVENTS,
    openapi_extra=_generate_body(),
)
async def generate(request: Request) -> Response:
    """The masks of everything in a picture, as server-sent events."""
    content, fields = await read_picture(request)
    overrides = read_json_field(fields["config"], "config") if "config" in fields else {}
    return await stream_masks(service_of(request), content, "picture", overrides)


async def stream_masks(service: Service, content: bytes, name: str, overrides: dict[str, Any]) -> Response:
    """The events of automatic segmentation; what can be refused is refused before they begin.

    Raises:
        HTTPException: no picture, too large, wrong settings, or too much to do.
    """
    height, width = check_picture(content, service.config)
    try:
        config = service.generations.settings(overrides)
    except ValueError as error:
        raise HTTPException(422, one_line(error)) from None
    _, embedding = await service.embed(content)
    stop = service.generations.admit()
    info = ImageInfo(image_id=0, width=width, height=height, file_name=name)
    return StreamingResponse(
        service.generations.stream(content, embedding, config, info, stop),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},  # nginx would hold the events back
    )
