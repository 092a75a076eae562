"""Whatever fits the OpenAPI description, and what does not, is answered without a 5xx."""

import hypothesis
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from tests.serve.serving import make_app, png

APP = make_app(max_grid_points=64, memory_bytes=8 << 20)
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
@settings(
    max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[hypothesis.Phase.generate],
    derandomize=True,
)  # fmt: skip
def test_nothing_that_fits_the_description_is_a_5xx(case: schemathesis.Case) -> None:
    response = case.call(headers={"host": "127.0.0.1"})
    if response.status_code == 503 and "/decoder/" in case.path:  # it was not made, and says so
        return
    not_a_server_error(None, response, case)
    if response.status_code >= 400:
        assert isinstance(response.json()["detail"], (str))


def test_an_embedding_that_is_there_is_described_too() -> None:
    names = APP.openapi()["paths"]
    assert {"/v1/embed", "/v1/predict", "/v1/generate", "/v1/models", "/healthz", "/metrics"} <= names.keys()
    assert png()
