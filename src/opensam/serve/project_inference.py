"""What needs both a folder of pictures and a model: embed and segment a picture by its id."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from opensam.serve.errors import responses
from opensam.serve.project import Project
from opensam.serve.project_route import ProjectRoute
from opensam.serve.routes import EVENTS, EmbeddingInfo, info_of, service_of, stream_masks


def project_inference_router(project: Project) -> APIRouter:
    """The routes; what goes wrong with the folder is answered as in all routes of a project."""
    router = APIRouter(route_class=ProjectRoute, tags=["annotation"])

    @router.post("/v1/images/{image_id}/embed", responses=responses(404, 413, 415, 422, 429, 503))
    async def embed(
        request: Request, image_id: str, priority: Annotated[str, Query(pattern="^(now|later)$")] = "now"
    ) -> EmbeddingInfo:
        """Look at a picture of the folder; "later" is for what is fetched ahead."""
        content = await asyncio.to_thread(project.read_bytes, image_id)
        return info_of(*await service_of(request).embed(content, priority == "later"))

    @router.post(
        "/v1/images/{image_id}/generate",
        response_class=StreamingResponse,
        responses=responses(404, 413, 415, 422, 429, 503) | EVENTS,
    )
    async def generate(request: Request, image_id: str) -> Response:
        """The masks of everything in a picture of the folder, as server-sent events."""
        content = await asyncio.to_thread(project.read_bytes, image_id)
        name = project.picture(image_id).file_name
        return await stream_masks(service_of(request), content, name, {})

    return router
