import base64
import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.serve.serving import PNG, client_of, make_app, png, small_predictor

from opensam.amg import MaskGenerator
from opensam.masks import decode_rle
from opensam.predictor import Predictor
from opensam.serve import pages


@pytest.fixture(scope="module")
def client() -> TestClient:
    return client_of(make_app())


@pytest.fixture(scope="module")
def embedding(client: TestClient) -> str:
    return client.post("/v1/embed", content=png(), headers=PNG).json()["id"]


def test_a_picture_has_the_id_of_its_content_and_model_however_it_is_sent(client: TestClient) -> None:
    predictor, content = small_predictor(), png()
    wanted = hashlib.sha256(content + b"\0" + predictor.model_name.encode()).hexdigest()
    as_body = client.post("/v1/embed", content=content, headers=PNG).json()
    as_form = client.post("/v1/embed", files={"image": ("photo.png", content, "image/png")}).json()
    assert as_body == as_form
    assert as_body == {
        "id": wanted, "model": predictor.model_name, "original_size": [60, 80], "image_size": 256,
    }  # fmt: skip


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "<f4"), ("float16", "<f2")])
def test_the_embedding_itself_can_be_fetched(client: TestClient, embedding: str, dtype: str, kind: str) -> None:
    answer = client.get(f"/v1/embeddings/{embedding}?dtype={dtype}")
    shape = [int(side) for side in answer.headers["x-shape"].split(",")]
    got = np.frombuffer(answer.content, dtype=kind).reshape(shape)
    wanted = small_predictor().embed(png()).embeddings.numpy().astype(kind)
    np.testing.assert_array_equal(got, wanted)


def test_predictions_are_those_of_the_predictor(client: TestClient, embedding: str) -> None:
    predictor = small_predictor()
    wanted = predictor.predict(predictor.embed(png()), point_coords=[[30, 20]])
    prompts = {"embedding": embedding, "point_coords": [[30, 20]], "low_res_masks": True}
    got = client.post("/v1/predict", json=prompts).json()["masks"]
    np.testing.assert_array_equal([decode_rle(one["segmentation"]) for one in got], wanted.masks)
    np.testing.assert_allclose([one["predicted_iou"] for one in got], wanted.iou_predictions, rtol=1e-6)
    np.testing.assert_allclose([one["stability_score"] for one in got], wanted.stability_score, rtol=1e-6)
    assert [one["area"] for one in got] == wanted.masks.sum((1, 2)).tolist()
    low_res = np.frombuffer(base64.b64decode(got[0]["low_res_mask"]), dtype="<f2").reshape(got[0]["low_res_shape"])
    np.testing.assert_array_equal(low_res, wanted.low_res_masks[0].astype("<f2"))


def test_prompts_with_an_axis_have_answers_with_one(client: TestClient, embedding: str) -> None:
    def ask(**prompts: object) -> dict[str, list[object]]:
        return client.post("/v1/predict", json={"embedding": embedding, **prompts}).json()

    singles = [ask(point_coords=[point])["masks"] for point in ([30, 20], [5, 50])]
    several = ask(point_coords=[[[30, 20]], [[5, 50]]])["prompts"]
    for single, one in zip(singles, several, strict=True):
        assert [mask["segmentation"] for mask in single] == [mask["segmentation"] for mask in one]
    assert ask(boxes=[[0, 0, 40, 40]]) == {"prompts": [ask(boxes=[0, 0, 40, 40])["masks"]]}


def test_an_earlier_mask_refines(client: TestClient, embedding: str) -> None:
    predictor = small_predictor()
    first = predictor.predict(predictor.embed(png()), point_coords=[[30, 20]])
    logits = first.best.low_res_mask.astype("<f2")
    wanted = predictor.predict(predictor.embed(png()), [[30, 20]], mask_input=logits.astype(np.float32))
    prompts = {"point_coords": [[30, 20]], "mask_input": base64.b64encode(logits.tobytes()).decode()}
    got = client.post("/v1/predict", json={"embedding": embedding, **prompts}).json()["masks"]
    np.testing.assert_array_equal([decode_rle(one["segmentation"]) for one in got], wanted.masks)


def test_masks_can_be_left_out(client: TestClient, embedding: str) -> None:
    prompts = {"embedding": embedding, "point_coords": [[30, 20]], "segmentations": False}
    assert "segmentation" not in client.post("/v1/predict", json=prompts).json()["masks"][0]


WRONG_PROMPTS = [
    ({"point_coords": [[100, 20]]}, "inside the picture, 80 wide"),
    ({"point_coords": [[1e400, 20]]}, "finite"),
    ({"point_coords": [[1, 2], [3]]}, "point_coords"),
    ({"point_coords": []}, "point_coords"),
    ({"point_coords": [[1, 2]], "point_labels": [7]}, "point labels"),
    ({"point_coords": [[[1, 2]]], "point_labels": [1]}, "axis P"),
    ({"point_coords": [[[1, 2]]] * 65}, "at most 64 prompts"),
    ({"point_coords": [[1, 2]] * 257}, "at most 256 points"),
    ({"boxes": [9, 9, 3, 3]}, "x0 < x1"),
    ({"mask_input": "!"}, "base64"),
    ({"mask_input": "AAAA"}, "float16"),
    ({}, "expected"),
    ({"clicks": [[1, 2]]}, "clicks"),
]


@pytest.mark.parametrize(("prompts", "word"), WRONG_PROMPTS)
def test_wrong_prompts_are_told_in_one_sentence(
    client: TestClient, embedding: str, prompts: dict[str, object], word: str
) -> None:
    body = json.dumps({"embedding": embedding, **prompts}).replace("Infinity", "1e400")
    answer = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"null", b""])
def test_what_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["detail"]


def test_an_unknown_embedding_is_a_404(client: TestClient) -> None:
    assert client.post("/v1/predict", json={"embedding": "0" * 64, "boxes": [0, 0, 9, 9]}).status_code == 404
    assert client.get(f"/v1/embeddings/{'0' * 64}").status_code == 404
    assert client.get("/v1/embeddings/..%2f..%2fetc").status_code in (404, 422)


def bomb() -> bytes:
    stream = BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = [
    (b"", "image/png", 400),
    (b"<svg/>", "image/svg+xml", 415),
    (b"%!PS-Adobe-3.0 EPSF-3.0", "image/png", 415),  # Pillow would start Ghostscript
    (png(), "text/plain", 415),
    (png()[:200], "image/png", 422),
    (png()[:20], "image/png", 422),
    (bomb(), "image/png", 413),
]


@pytest.mark.parametrize(("content", "kind", "status"), PICTURES, ids=range(len(PICTURES)))
@pytest.mark.parametrize("path", ["/v1/embed", "/v1/generate"])
def test_what_is_no_picture_is_refused(client: TestClient, path: str, content: bytes, kind: str, status: int) -> None:
    answer = client.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert "/" not in answer.json()["detail"].replace("image/", "").replace("multipart/form-data", "")


def test_a_form_without_a_picture_is_refused(client: TestClient) -> None:
    assert client.post("/v1/embed", files={"photo": ("a.png", png(), "image/png")}).status_code == 422
    assert client.post("/v1/embed", content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1)])
def test_thin_pictures_are_pictures(client: TestClient, size: tuple[int, int]) -> None:
    answer = client.post("/v1/embed", content=png(size=size), headers=PNG)
    assert answer.json()["original_size"] == list(size)


def test_limits_hold_for_large_bodies(tmp_path: Path) -> None:
    client = client_of(make_app(max_bytes=1000, max_json=500, max_pixels=100))
    form = {"image": ("a.png", bytes(100_000), "image/png")}
    assert client.post("/v1/embed", files=form).status_code == 413
    assert client.post("/v1/embed", content=(bytes(1000) for _ in range(100)), headers=PNG).status_code == 413
    body = b'{"embedding": "' + b"0" * 1000 + b'"}'
    assert client.post("/v1/predict", content=body, headers={"content-type": "application/json"}).status_code == 413
    assert client.post("/v1/embed", content=png(size=(20, 6)), headers=PNG).status_code == 413
    assert client.app.state.service.held.bytes == 0


def test_uploads_held_at_once_are_bounded() -> None:
    answer = client_of(make_app(max_waiting_bytes=1000)).post("/v1/embed", content=png(), headers=PNG)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_generate_tells_progress_and_then_the_record(client: TestClient) -> None:
    settings = {"points_per_side": 5, "pred_iou_thresh": 0, "stability_score_thresh": 0.2}
    form = {"image": ("a.png", png(), "image/png")}
    answer = client.post("/v1/generate", files=form, data={"config": json.dumps(settings)})
    events = [event.split("\n", 1) for event in answer.text.strip().split("\n\n")]
    progress = [json.loads(data[6:]) for name, data in events if name == "event: progress"]
    assert progress[-1] == {"done": 25, "total": 25}
    assert events[-1][0] == "event: result"
    record = json.loads(events[-1][1][6:])
    wanted = MaskGenerator(small_predictor(), **settings).generate(png())
    assert record["annotations"] == [one.to_dict() for one in wanted]
    assert len(wanted) > 0


def test_generate_looks_at_a_picture_only_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.post("/v1/embed", content=png(), headers=PNG).status_code == 200
    embed, seen = Predictor.embed, []
    monkeypatch.setattr(Predictor, "embed", lambda self, image: seen.append(1) or embed(self, image))
    for config in ('{"points_per_side": 2}', '{"points_per_side": 2, "crop_n_layers": 1}'):
        form = {"image": ("a.png", png(), "image/png")}
        answer = client.post("/v1/generate", files=form, data={"config": config})
        assert "event: result" in answer.text
    assert len(seen) == 4  # the crops


@pytest.mark.parametrize(
    "config",
    ["{", "[1]", '{"points": 1}', '{"points_per_side": 1000000000000}', '{"points_per_side": 64, "crop_n_layers": 6}'],
)
def test_wrong_settings_of_generate_are_refused(client: TestClient, config: str) -> None:
    answer = client.post("/v1/generate", files={"image": ("a.png", png(), "image/png")}, data={"config": config})
    assert answer.status_code == 422


def test_models_tell_what_answers(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert found["models"][0]["image_size"] == 256


def test_metrics_count_requests_by_route() -> None:
    client = client_of(make_app())
    key = client.post("/v1/embed", content=png(), headers=PNG).json()["id"]
    for _ in range(2):
        client.get(f"/v1/embeddings/{key}")
    text = client.get("/metrics").text
    assert 'method="GET",route="/v1/embeddings/{embedding_id}",status="200"} 2' in text
    assert "opensam_encode_seconds_count 1" in text
    assert "opensam_embedding_memory_bytes 262144" in text


def test_what_nobody_expected_is_a_500_with_an_id_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    monkeypatch.setattr(app.state.service.cache, "get", lambda key: 1 / 0)
    answer = client_of(app).get(f"/v1/embeddings/{'0' * 64}")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    assert "division" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_unknown_addresses_and_methods_are_told(client: TestClient) -> None:
    assert client.get("/v2").json() == {"detail": "there is nothing at this address; see /docs for what there is"}
    assert client.delete("/v1/models").status_code == 405


def test_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "/v1/predict" in page
    assert "point_coords" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_without_the_built_app_a_page_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "static_folder", lambda: tmp_path)
    app = make_app()
    assert "opensam annotate" in client_of(app).get("/").text
