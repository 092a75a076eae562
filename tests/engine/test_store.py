"""What the store promises: versions, one winner, nothing acknowledged lost; on SQLite, and on PostgreSQL if there."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql

from opensam.engine.store import (
    ConflictError,
    Content,
    DiskFullError,
    Label,
    NotFoundError,
    Picture,
    Store,
    StoreError,
)
from opensam.masks import encode_rle

PICTURE = Picture("p1", "farm/cow.jpg", width=30, height=20)


def box(x0, y0, x1, y1, size=(20, 30)):
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def content(mask=None, **changes):
    rle = encode_rle(box(3, 2, 9, 5) if mask is None else mask)
    values = {"label": "cow", "predicted_iou": 0.9, "stability_score": 0.8, "prompt": {"box": [3, 2, 9, 5]}}
    return Content(rle, **(values | {"source": "interactive", "author": "somebody"} | changes))


# ---- the databases -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """The URL of a server that runs as long as the tests; postgres refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found or not shutil.which("setpriv"):
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql")
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed")
    programs, folder = found[-1].parent, tmp_path_factory.mktemp("postgresql")
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        for one in [folder, *folder.parents][
            : len(folder.relative_to("/tmp").parts) if folder.is_relative_to("/tmp") else 1
        ]:
            one.chmod(0o755)
        shutil.chown(folder, 65534, 65534)
    data = folder / "data"
    made = subprocess.run(
        [*user, programs / "initdb", "-D", data, "-U", "opensam", "-A", "trust", "-N"], capture_output=True
    )
    if made.returncode:
        pytest.skip(f"PostgreSQL cannot be set up here: {made.stderr.decode()[-200:]}")
    options = [f"unix_socket_directories={folder}", "listen_addresses=", "shared_buffers=8MB"]
    arguments = [part for option in options for part in ("-c", option)]
    server = subprocess.Popen([*user, programs / "postgres", "-D", data, *arguments], stderr=subprocess.DEVNULL)
    url = f"postgresql+psycopg://opensam@/postgres?host={folder}"
    try:
        for _ in range(200):
            engine = sql.create_engine(url)
            try:
                engine.connect().close()
                break
            except sql.exc.OperationalError:
                threading.Event().wait(0.05)
            finally:
                engine.dispose()
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path / "annotations.sqlite"
    address = request.getfixturevalue("postgresql")
    engine = sql.create_engine(address)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return address


@pytest.fixture
def store(url):
    with Store(url) as opened:
        yield opened


# ---- annotations ---------------------------------------------------------------------------------------------------


def test_what_was_added_is_read_as_it_was(url):
    with Store(url) as store:
        added, new = store.add("a", PICTURE, content(), now=5.0)
    with Store(url) as store:
        assert store.annotations("p1") == [added]
        assert store.annotation("a") == added
        assert store.count() == 1
    assert new
    assert added.content == content()
    assert (added.version, added.bbox, added.area) == (1, [3, 2, 6, 3], 18)
    assert (added.created, added.changed) == (5.0, 5.0)


def test_a_request_made_twice_saves_once(store):
    first, _ = store.add("a", PICTURE, content(), now=1.0)
    assert store.add("a", PICTURE, content(), now=2.0) == (first, False)
    changed = store.update("a", 1, content(label="calf"), now=3.0)
    assert changed.version == 2
    assert store.update("a", 1, content(label="calf"), now=4.0) == changed


def test_an_id_that_is_taken_is_a_conflict(store):
    store.add("a", PICTURE, content(), now=1.0)
    with pytest.raises(ConflictError) as caught:
        store.add("a", PICTURE, content(label="pig"), now=2.0)
    assert caught.value.current.content.label == "cow"
    with pytest.raises(ConflictError):
        store.add("a", Picture("p2", "b.jpg", 30, 20), content(), now=2.0)


def test_a_change_of_an_old_version_is_a_conflict_that_shows_the_last(store):
    store.add("a", PICTURE, content(), now=1.0)
    store.update("a", 1, content(box(0, 0, 1, 1)), now=2.0)
    for change in (lambda: store.update("a", 1, content(label="pig"), now=3.0), lambda: store.remove("a", 1, now=3.0)):
        with pytest.raises(ConflictError) as caught:
            change()
        assert (caught.value.current.version, caught.value.current.area) == (2, 1)
    assert store.annotation("a").changed == 2.0


def test_a_deleted_annotation_is_gone_and_comes_back_under_its_id(store):
    store.add("a", PICTURE, content(), now=1.0)
    store.add("b", PICTURE, content(box(0, 0, 1, 1)), now=1.0)
    store.remove("a", 1, now=2.0)
    assert [one.id for one in store.annotations("p1")] == ["b"]
    with pytest.raises(NotFoundError):
        store.annotation("a")
    with pytest.raises(NotFoundError):
        store.remove("a", 2, now=3.0)
    with pytest.raises(ConflictError) as caught:
        store.update("a", 1, content(label="pig"), now=3.0)
    assert caught.value.current is None
    again, new = store.add("a", PICTURE, content(), now=4.0)
    assert new
    assert again.version == 3  # whoever still holds version 1 is told of it
    assert [one.id for one in store.annotations("p1")] == ["a", "b"]  # where it was


def test_what_never_was_cannot_be_changed(store):
    with pytest.raises(NotFoundError):
        store.update("a", 1, content(), now=1.0)
    with pytest.raises(NotFoundError):
        store.remove("a", 1, now=1.0)


def test_a_mask_must_fit_its_picture(store):
    with pytest.raises(ValueError, match=r"picture's size \[20, 30\]"):
        store.add("a", PICTURE, content(box(0, 0, 2, 2, size=(30, 20))), now=1.0)
    with pytest.raises(ValueError, match="runs fill"):
        store.add("a", PICTURE, Content({"size": [20, 30], "counts": "52203"}), now=1.0)
    store.add("a", PICTURE, content(), now=1.0)
    with pytest.raises(ValueError, match="size"):
        store.update("a", 1, content(box(0, 0, 2, 2, size=(30, 20))), now=1.0)


def test_a_picture_that_changed_its_size_keeps_its_masks_apart(store):
    store.add("a", PICTURE, content(), now=1.0)
    larger = Picture("p1", "farm/cow.jpg", width=60, height=40)
    with pytest.raises(ValueError, match="60 x 40 pixels now"):
        store.add("b", larger, content(box(0, 0, 1, 1, size=(40, 60))), now=2.0)
    store.remove("a", 1, now=3.0)
    added, _ = store.add("b", larger, content(box(0, 0, 1, 1, size=(40, 60))), now=4.0)
    assert added.content.segmentation["size"] == [40, 60]


def test_many_are_added_together_or_not_at_all(store):
    other = Picture("p2", "b.jpg", 30, 20)
    twice = {"b": content(), "c": content(), "d": content(box(0, 0, 2, 2))}
    store.add("a", PICTURE, content(), now=1.0)
    saved = store.add_all([(PICTURE, twice), (other, {"e": content()})], [Label("cow", "#000000")], now=2.0)
    assert saved == [1, 1]
    assert [one.id for one in store.annotations("p1")] == ["a", "d"]
    assert store.labels() == (1, [Label("cow", "#000000")])
    wrong = content(box(0, 0, 1, 1, size=(5, 5)))
    with pytest.raises(ValueError, match="size"):
        store.add_all([(PICTURE, {"f": content(box(5, 5, 7, 7))}), (other, {"g": wrong})], [], now=3.0)
    assert store.count() == 3


# ---- pictures and labels -------------------------------------------------------------------------------------------


def test_pictures_have_states(store):
    other = Picture("p2", "b.jpg", 8, 8)
    assert store.states(["p1", "p2"]) == {}
    store.add("a", PICTURE, content(), now=1.0)
    store.set_state(other, "done", now=1.0)
    assert store.states(["p1", "p2", "p3"]) == {"p1": ("in_progress", 1), "p2": ("done", 0)}
    store.set_state(PICTURE, "done", now=2.0)
    store.add("b", PICTURE, content(box(0, 0, 1, 1)), now=3.0)
    assert store.states(["p1"]) == {"p1": ("done", 2)}


def test_all_that_is_saved_comes_by_file_name_whatever_the_pages(store, monkeypatch):
    monkeypatch.setattr("opensam.engine.store.statements.PAGE", 2)
    for name in "edcba":
        picture = Picture(f"p{name}", f"{name}.jpg", 30, 20)
        store.add(name, picture, content(), now=1.0)
    store.set_state(Picture("pf", "f.jpg", 4, 4), "done", now=1.0)
    store.set_state(Picture("pg", "g.jpg", 4, 4), "new", now=1.0)
    store.remove("c", 1, now=2.0)
    found = [(one.picture.file_name, one.state, [mask.id for mask in one.annotations]) for one in store.saved()]
    assert [name for name, _, _ in found] == ["a.jpg", "b.jpg", "d.jpg", "e.jpg", "f.jpg"]
    assert found[0] == ("a.jpg", "in_progress", ["a"])
    assert found[-1] == ("f.jpg", "done", [])


def test_labels_are_replaced_and_renamed_by_version(store):
    store.add("a", PICTURE, content(label="cow"), now=1.0)
    store.add("b", PICTURE, content(box(0, 0, 1, 1), label="pig"), now=1.0)
    store.add("c", PICTURE, content(box(0, 0, 2, 1), label=None), now=1.0)
    assert store.labels() == (0, [])
    swapped = [Label("pig", "#000000", "1"), Label("cow", "#ffffff")]
    assert store.replace_labels(swapped, 0, {"cow": "pig", "pig": "cow"}, now=2.0) == (1, swapped)
    assert [one.content.label for one in store.annotations("p1")] == ["pig", "cow", None]
    assert [one.version for one in store.annotations("p1")] == [2, 2, 1]
    assert store.replace_labels(swapped, 0, {}, now=3.0) == (1, swapped)  # the same again
    with pytest.raises(ConflictError) as caught:
        store.replace_labels([], 0, {}, now=3.0)
    assert caught.value.current == (1, swapped)
    assert store.used_labels() == {"pig", "cow", None}
    with pytest.raises(ValueError, match="twice"):
        store.replace_labels([swapped[0], swapped[0]], 1, {}, now=3.0)
    with pytest.raises(ValueError, match="'sheep' in the list"):
        store.replace_labels(swapped, 1, {"cow": "sheep"}, now=3.0)


# ---- several at once -----------------------------------------------------------------------------------------------


def test_of_two_who_change_one_annotation_exactly_one_wins(url):
    with Store(url) as first, Store(url) as second:
        first.add("a", PICTURE, content(), now=1.0)
        for version in range(1, 16):
            outcomes, start = [], threading.Barrier(2)

            def change(store, name, version=version, outcomes=outcomes, start=start):
                start.wait()
                try:
                    outcomes.append(store.update("a", version, content(label=f"{name}{version}"), now=2.0))
                except ConflictError as error:
                    outcomes.append(error.current)

            threads = [threading.Thread(target=change, args=one) for one in ((first, "x"), (second, "y"))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # Both saw the winner, one as its answer and one as its conflict.
            assert outcomes == [first.annotation("a")] * 2
            assert outcomes[0].version == version + 1


ADDER = """
import sys
from pathlib import Path
from opensam.engine.store import Content, Picture, Store
url, name = sys.argv[1:]
with Store(url if "://" in url else Path(url)) as store:
    for one in ["shared", *(f"{name}-{number}" for number in range(10))]:
        rle = {"size": [20, 30], "counts": "n13a0000000000R="}
        store.add(one, Picture("p1", "cow.jpg", 30, 20), Content(rle), now=1.0)
"""


def test_many_who_open_a_new_store_and_write_at_once_lose_nothing(url):
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, str(url), f"w{number}"]) for number in range(4)]
    assert [adder.wait() for adder in adders] == [0] * 4
    with Store(url) as store:
        assert store.count() == 4 * 10 + 1  # and one that all of them wrote


WRITER = """
import sys
from pathlib import Path
from opensam.engine.store import Content, Picture, Store
url = sys.argv[1]
store = Store(url if "://" in url else Path(url))
for number in range(100_000):
    rle = {"size": [20, 30], "counts": "n13a0000000000R="}
    store.add(f"a{number}", Picture("p1", "cow.jpg", 30, 20), Content(rle), now=float(number))
    print(number, flush=True)
"""


def test_every_write_that_was_acknowledged_is_there_after_kill_9(url):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(url)], stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline() for _ in range(30)]
    process.kill()
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    complete = [int(line) for line in acknowledged if line.endswith("\n")]
    with Store(url) as store:
        found = {one.id for one in store.annotations("p1")}
    assert len(complete) >= 30
    assert {f"a{number}" for number in complete} <= found
    assert len(found) <= len(complete) + 1  # one may have been on its way


# ---- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_opensam_is_not_touched(tmp_path):
    file = tmp_path / "a.sqlite"
    Store(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE opensam SET value = 7 WHERE name = 'layout'")
        connection.commit()
    with pytest.raises(StoreError, match="layout 7 of a newer opensam; update"):
        Store(file)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "URL of SQLAlchemy"),
        ("sqlite://", "store that lasts"),
        ("sqlite:////nowhere/at/all.sqlite", "cannot open the annotations in /nowhere/at/all.sqlite.*--store"),
        ("postgresql+psycopg://x:secret@127.0.0.1:1/none", "cannot open the annotations"),
    ],
)
def test_a_store_that_cannot_be_opened_is_said_in_one_sentence(url, sentence):
    with pytest.raises(StoreError, match=sentence) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_is_refused_and_kept(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_bytes(b"my notes, not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(file)
    assert file.read_bytes().startswith(b"my notes")


def test_a_full_disk_is_said_and_what_was_saved_stays(tmp_path):
    store = Store(tmp_path / "a.sqlite")
    sql.event.listen(store._database.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=34"))
    store.close()
    noise = np.random.default_rng(0).random((20, 30)) < 0.5
    acknowledged = []

    def fill():
        while True:
            acknowledged.append(store.add(f"a{len(acknowledged)}", PICTURE, content(noise), now=1.0))

    with pytest.raises(DiskFullError, match="make room"):
        fill()
    saved = len(acknowledged)
    assert saved > 3
    assert store.count() == saved
    store.close()
    with Store(tmp_path / "a.sqlite") as again:  # with room, it goes on
        again.add("more", PICTURE, content(noise), now=1.0)
        assert again.count() == saved + 1


def test_a_store_that_vanished_acknowledges_nothing(tmp_path):
    folder = tmp_path / "hidden"
    folder.mkdir()
    store = Store(folder / "a.sqlite")
    store.add("a", PICTURE, content(), now=1.0)
    folder.rename(tmp_path / "moved")
    for action in (lambda: store.add("b", PICTURE, content(), now=1.0), lambda: store.annotations("p1")):
        with pytest.raises(StoreError, match="vanished") as caught:
            action()
        assert str(tmp_path) not in str(caught.value)
    folder.mkdir()
    with pytest.raises(StoreError, match="vanished"):
        store.add("b", PICTURE, content(), now=1.0)
    assert list(folder.iterdir()) == []
    folder.rmdir()
    (tmp_path / "moved").rename(folder)
    store.add("b", PICTURE, content(), now=1.0)
    assert store.count() == 2
    store.close()


def test_another_process_that_writes_for_long_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("opensam.engine.store.connection.BUSY_SECONDS", 0.05)
    with Store(tmp_path / "a.sqlite") as store, closing(sqlite3.connect(tmp_path / "a.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process is writing"):
            store.add("a", PICTURE, content(), now=1.0)
        assert store.count() == 0  # readers do not wait
        other.rollback()
        store.add("a", PICTURE, content(), now=1.0)


def test_names_that_mean_something_in_a_url_are_only_names(tmp_path):
    file = tmp_path / "100%?a=b#c d.sqlite"
    Store(file).close()
    assert file.is_file()


def test_writes_reach_the_disk_before_they_are_acknowledged(tmp_path):
    with Store(tmp_path / "a.sqlite") as store, store._database.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
