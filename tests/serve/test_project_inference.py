import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.serve.serving import PNG, client_of, png, small_predictor

from opensam.serve.app import create_app
from opensam.serve.project import open_project
from opensam.serve.settings import ServeConfig


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "broken.png").write_bytes(png()[:300])
    project = open_project(tmp_path)
    yield client_of(create_app(small_predictor(), ServeConfig(), project))
    project.store.close()


def id_of(client: TestClient, name: str) -> str:
    images = client.get("/v1/images").json()["images"]
    return next(one["id"] for one in images if one["file_name"] == name)


def test_a_picture_of_the_folder_has_the_embedding_of_its_file(client: TestClient) -> None:
    found = client.post(f"/v1/images/{id_of(client, 'a.png')}/embed?priority=later").json()
    assert found == client.post("/v1/embed", content=png(), headers=PNG).json()


def test_a_picture_of_the_folder_is_segmented(client: TestClient) -> None:
    text = client.post(f"/v1/images/{id_of(client, 'a.png')}/generate").text
    event, data = text.strip().split("\n\n")[-1].split("\n")
    assert event == "event: result"
    assert json.loads(data[6:])["image"]["file_name"] == "a.png"


@pytest.mark.parametrize("what", ["embed", "generate"])
def test_a_picture_that_is_not_there_is_a_404_and_a_damaged_one_says_so(
    client: TestClient, tmp_path: Path, what: str
) -> None:
    assert client.post(f"/v1/images/{'0' * 24}/{what}").status_code == 404
    gone = id_of(client, "a.png")
    (tmp_path / "a.png").unlink()
    answer = client.post(f"/v1/images/{gone}/{what}")
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text
    damaged = client.post(f"/v1/images/{id_of(client, 'broken.png')}/{what}").text
    assert "save or download it again" in damaged


def test_a_wrong_priority_is_refused(client: TestClient) -> None:
    assert client.post(f"/v1/images/{id_of(client, 'a.png')}/embed?priority=never").status_code == 422
