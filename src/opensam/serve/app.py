"""The application: routes, what surrounds them, and what begins and ends with them.

observe     request ids, logs, metrics, headers; 500 where all else fails
security    other names, other pages, no token: refused
routes      inference; `project` adds the annotation of a folder; `pages` what a browser shows
service     model, queues, caches and threads behind them
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING

from fastapi import FastAPI

from opensam.predictor import Predictor
from opensam.serve import errors, pages
from opensam.serve.observe import Observe
from opensam.serve.routes import router
from opensam.serve.security import HEADERS, Guard
from opensam.serve.service import Service
from opensam.serve.settings import ServeConfig

if TYPE_CHECKING:
    from opensam.serve.project import Project

_DESCRIPTION = "Segment anything: embed a picture once, then ask for masks as often as you like."


def create_app(predictor: Predictor, config: ServeConfig | None = None, project: "Project | None" = None) -> FastAPI:
    """The application of `opensam serve`, and with a project that of `opensam annotate`.

    Args:
        predictor: of the model that answers.
        config: limits and sizes; the defaults if None.
        project: a folder of pictures to annotate.
    """
    config = config or ServeConfig()
    service = Service(predictor, config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    app = FastAPI(
        title="opensam",
        version=metadata.version("opensam"),
        description=_DESCRIPTION,
        docs_url=None,  # these load scripts from elsewhere; `pages` has one that does not
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    errors.install(app)
    app.include_router(router)
    if project is not None:
        from opensam.serve.project import project_router
        from opensam.serve.project_inference import project_inference_router

        app.include_router(project_inference_router(project))
        app.include_router(project_router(project))
    pages.install(app, annotator=project is not None)
    app.add_middleware(Guard, token=config.token, hosts=config.hosts)
    app.add_middleware(Observe, metrics=service.metrics, headers=HEADERS)
    return app
