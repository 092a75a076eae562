"""Whatever fits the OpenAPI description, and what does not, is answered without a 5xx."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hypothesis
import schemathesis
from hypothesis import HealthCheck, settings
from tests.serve.serving import make_app, png, small_predictor

APP = make_app(max_grid_points=64, memory_bytes=8 << 20, hosts=["testserver"])
EMBEDDING = small_predictor().embed(png())
APP.state.service.cache.held = lambda key: EMBEDDING  # every id is held, or all predictions were 404


@asynccontextmanager
async def _stays(_: object) -> AsyncIterator[None]:
    yield


APP.router.lifespan_context = _stays  # schemathesis begins and ends the application for every case
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
@settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[hypothesis.Phase.generate],
    derandomize=True,
)  # fmt: skip
def test_nothing_that_fits_the_description_is_a_5xx(case: schemathesis.Case) -> None:
    response = case.call()
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert isinstance(response.json()["detail"], str)


def test_all_of_inference_is_described() -> None:
    names = APP.openapi()["paths"]
    assert {"/v1/embed", "/v1/predict", "/v1/generate", "/v1/models", "/healthz", "/metrics"} <= names.keys()
