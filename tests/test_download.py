"""Downloads, against a real HTTP server on this machine that can be made to misbehave."""

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opensam.models.download import CHUNK, DownloadError, fetch

CONTENT = bytes(range(256)) * (3 * CHUNK // 256) + b"the end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT the way its server is told to."""

    server: "Server"

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        if self.path != "/model.pth":
            self.send_error(404)
            return
        start = 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(CONTENT):
                self.send_error(416)
                return
        self.send_response(206 if asked and server.ranges else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT)
        if server.break_after:
            end = start + server.break_after.pop(0)
        for position in range(start, end, CHUNK):
            time.sleep(server.delay)
            self.wfile.write(CONTENT[position : min(end, position + CHUNK)])
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Silence."""


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []  # the Range of each
        self.ranges = True
        self.break_after: list[int] = []  # bytes, per connection; after those all is well
        self.delay = 0.0  # seconds before each chunk

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.pth"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def left_in(folder: Path) -> list[str]:
    """What a user sees beside the empty lock file."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_with_progress(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "model.pth"
    seen: list[tuple[int, int | None]] = []
    fetch(server.url, path, SHA256, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left_in(path.parent) == ["model.pth"]
    assert len(seen) == 4
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(server.url, tmp_path / "model.pth", SHA256)
    assert server.requests == [None]


def test_a_file_put_there_by_hand_is_used_and_its_folder_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"by hand")
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert server.requests == []


def test_a_wrong_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"expected .* to have sha256 {'0' * 64}, got {SHA256}.* by hand"):
        fetch(server.url, tmp_path / "model.pth", "0" * 64)
    assert left_in(tmp_path) == []


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after = [100, CHUNK + 7]
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert server.requests == [None, "bytes=100-", f"bytes={CHUNK + 107}-"]
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_download_that_was_given_up_goes_on_the_next_time(server: Server, tmp_path: Path) -> None:
    server.break_after = [100, 0]
    with pytest.raises(DownloadError, match=r"the connection broke off; try again \(what has arrived is kept\)"):
        fetch(server.url, tmp_path / "model.pth", SHA256)
    assert left_in(tmp_path) == ["model.pth.part"]  # nothing under the final name
    seen: list[tuple[int, int | None]] = []
    fetch(server.url, tmp_path / "model.pth", SHA256, lambda done, total: seen.append((done, total)))
    assert server.requests[-1] == "bytes=100-"
    assert seen[0][0] == 100 + CHUNK
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert (tmp_path / "model.pth").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["model.pth"]


def test_a_part_that_is_already_whole_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pth.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_part_of_something_else_is_deleted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pth.part").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="sha256"):
        fetch(server.url, tmp_path / "model.pth", SHA256)
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.break_after = [100]
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert server.requests == [None, "bytes=100-"]
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_a_server_that_never_gets_further_is_given_up(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.break_after = [100] * 10
    with pytest.raises(DownloadError, match="the connection broke off"):
        fetch(server.url, tmp_path / "model.pth", SHA256)
    assert len(server.requests) == 2


def test_a_file_that_is_not_there_names_the_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="HTTP Error 404"):
        fetch(server.url.replace("model", "other"), tmp_path / "model.pth", SHA256)
    assert left_in(tmp_path) == []


def test_without_a_network_one_sentence_says_what_to_do(server: Server, tmp_path: Path) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError) as caught:
        fetch(url, tmp_path / "model.pth", SHA256)
    sentence = str(caught.value)
    assert "Connection refused" in sentence
    assert f"download {url} by hand and give that file as checkpoint" in sentence
    assert "\n" not in sentence
    assert left_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(DownloadError, match="taken"):
        fetch(server.url, tmp_path / "taken" / "model.pth", SHA256)


def test_an_interrupted_download_leaves_no_lock_behind(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.url, tmp_path / "model.pth", SHA256, interrupt)
    fetch(server.url, tmp_path / "model.pth", SHA256)
    assert server.requests[1] == f"bytes={CHUNK}-"
    assert (tmp_path / "model.pth").read_bytes() == CONTENT


def test_of_several_at_once_one_downloads(server: Server, tmp_path: Path) -> None:
    server.delay = 0.05
    server.break_after = [CHUNK]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(fetch, server.url, tmp_path / "model.pth", SHA256) for _ in range(8)]
        for one in waiting:
            one.result()
    assert (tmp_path / "model.pth").read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={CHUNK}-"]
