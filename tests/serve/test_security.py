import pytest
from tests.serve.serving import PNG, client_of, make_app, png

from opensam.serve.security import is_loopback

TOKEN = "a-long-secret"


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert client_of(make_app()).get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"])
def test_other_names_are_refused(host: str) -> None:
    answer = client_of(make_app()).get("/healthz", headers={"host": host})
    assert answer.status_code == 403
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_named_hosts_are_answered() -> None:
    client = client_of(make_app(hosts=["sam.example"]))
    assert client.get("/healthz", headers={"host": "sam.example"}).status_code == 200
    # behind a proxy that keeps the name to itself
    assert client.post("/v1/embed", content=png(), headers={**PNG, "origin": "https://sam.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
                {"sec-fetch-site": "cross-site"}]
)  # fmt: skip
def test_other_pages_are_refused(headers: dict[str, str]) -> None:
    client = client_of(make_app())
    assert client.post("/v1/embed", content=png(), headers={**PNG, **headers}).status_code == 403


def test_pages_of_this_server_are_answered() -> None:
    client = client_of(make_app())
    headers = {**PNG, "origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/embed", content=png(), headers=headers).status_code == 200


def test_every_answer_has_the_headers_of_an_isolated_page() -> None:
    for path in ("/", "/v1/models", "/nothing"):
        headers = client_of(make_app()).get(path).headers
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"cookie": "opensam_token=wrong"},
                {"authorization": "Bearer \xff"}, {"cookie": "\x01=;;=opensam_token"}]
)  # fmt: skip
def test_without_the_token_nothing_is_answered_but_health(headers: dict[str, str]) -> None:
    client = client_of(make_app(token=TOKEN))
    coded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.get("/v1/models", headers=coded)
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert client.get("/healthz", headers=coded).status_code == 200


def test_the_token_is_taken_as_header_or_once_in_the_address() -> None:
    client = client_of(make_app(token=TOKEN))
    assert client.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    answer = client.get(f"/docs?token={TOKEN}&x=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs?x=1")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert client.get("/v1/models").status_code == 200  # the cookie
    other = client_of(make_app(token=TOKEN))
    elsewhere = other.get(f"http://127.0.0.1//evil.example?token={TOKEN}", follow_redirects=False)
    assert elsewhere.headers["location"] == "/evil.example"
    assert other.post(f"/v1/embed?token={TOKEN}", content=png(), headers=PNG, follow_redirects=False).status_code == 200


def test_the_log_has_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "opensam.serve")
    client_of(make_app(token=TOKEN)).get(f"/v1/models?token={TOKEN}")
    assert "request" in caplog.text
    assert TOKEN not in caplog.text + repr([record.__dict__ for record in caplog.records])


def test_loopback_is_known() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", ""))
