"""The routes of a project: what a browser gets, and what it is told when something is wrong."""

import io
import json
import uuid

import numpy as np
import pytest
import sqlalchemy as sql
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import ExifTags, Image

from opensam import image
from opensam.engine.store import Store, StoreError
from opensam.masks import decode_rle, encode_rle
from opensam.serve import errors
from opensam.serve.project import Project, open_project, project_router

COLOURS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encoded(form="PNG", colours=COLOURS, mode=None, **options):
    stream = io.BytesIO()
    picture = Image.fromarray(colours)
    (picture.convert(mode) if mode else picture).save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "farm").mkdir(parents=True)
    for name in ("a10.png", "a2.png", "farm/cow.png"):
        (tmp_path / "photos" / name).write_bytes(encoded())
    return tmp_path / "photos"


@pytest.fixture
def project(folder):
    opened = open_project(folder)
    yield opened
    opened.store.close()


def client_of(project):
    app = FastAPI()
    errors.install(app)
    app.include_router(project_router(project))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(project):
    return client_of(project)


@pytest.fixture
def first(client):
    """The id of a2.png."""
    return client.get("/v1/images").json()["images"][0]["id"]


def mask(x0=3, y0=4, x1=20, y1=9):
    inside = np.zeros((48, 64), dtype=bool)
    inside[y0:y1, x0:x1] = True
    return inside


def body(inside=None, **changes):
    values = {
        "segmentation": encode_rle(mask() if inside is None else inside),
        "label": "cow",
        "predicted_iou": 0.9,
        "stability_score": 0.95,
        "prompt": {"point_coords": [[5.5, 6.0]], "point_labels": [1]},
        "source": "interactive",
    }
    return values | changes


def add(client, image_id, inside=None, **changes):
    sent = body(inside, id=str(uuid.uuid4())) | changes
    return client.post(f"/v1/images/{image_id}/annotations", json=sent)


def sentence(answer, status):
    """The detail of an error, which is one sentence without places on the disk."""
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert "\n" not in detail
    assert "/tmp" not in detail
    assert "Traceback" not in detail
    return detail


# ---- pictures ------------------------------------------------------------------------------------------------------


def test_pictures_are_listed_in_natural_order_with_their_state(client, first):
    add(client, first)
    found = client.get("/v1/images").json()
    assert [item["file_name"] for item in found["images"]] == ["a2.png", "a10.png", "farm/cow.png"]
    assert found["images"][0] == {
        "id": first, "file_name": "a2.png", "width": 64, "height": 48, "state": "in_progress", "annotations": 1,
        "problem": None,
    }  # fmt: skip
    part = client.get("/v1/images?offset=1&limit=1").json()
    assert (part["total"], [item["file_name"] for item in part["images"]]) == (3, ["a10.png"])
    assert client.get(f"/v1/images/{first}").json() == found["images"][0]
    info = client.get("/v1/project").json()
    assert info == {"name": "photos", "labels_version": 0, "images": 3, "annotations": 1, "read_only": False}


def test_an_id_is_that_of_the_name_alone(client, first, folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    again = open_project(tmp_path / "elsewhere")
    assert client_of(again).get("/v1/images").json()["images"][0]["id"] == first
    again.store.close()


def test_a_state_is_kept(client, first):
    assert client.patch(f"/v1/images/{first}", json={"state": "done"}).json()["state"] == "done"
    assert client.get(f"/v1/images/{first}").json()["state"] == "done"
    sentence(client.patch(f"/v1/images/{first}", json={"state": "finished"}), 422)
    sentence(client.patch(f"/v1/images/{first}", json={"state": "done", "width": 3}), 422)


def test_an_unreadable_picture_is_listed_with_the_reason(client, folder, first):
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "empty.png").write_bytes(b"")
    items = {item["file_name"]: item for item in client.get("/v1/images").json()["images"]}
    assert "format that Pillow knows" in items["broken.jpg"]["problem"]
    assert "empty" in items["empty.png"]["problem"]
    assert str(folder) not in json.dumps(items)
    assert (items["broken.jpg"]["width"], items["a2.png"]["problem"]) == (0, None)
    for path in ("file", "thumbnail", "annotations"):
        assert "broken.jpg" in sentence(client.get(f"/v1/images/{items['broken.jpg']['id']}/{path}"), 422)
    sentence(add(client, items["broken.jpg"]["id"]), 422)


def test_pictures_that_come_and_go_are_noticed(client, folder, first):
    (folder / "a2.png").unlink()
    for path in ("", "/file", "/thumbnail", "/annotations"):
        assert "a2.png is no longer in the folder" in sentence(client.get(f"/v1/images/{first}{path}"), 404)
    sentence(add(client, first), 404)
    (folder / "b.png").write_bytes(encoded())
    assert client.get("/v1/images").json()["total"] == 3
    sentence(client.get(f"/v1/images/{first}"), 404)


def test_a_picture_that_changes_is_measured_and_sent_anew(client, folder, first):
    old = client.get(f"/v1/images/{first}/file")
    add(client, first)
    (folder / "a2.png").write_bytes(encoded(colours=COLOURS[:20]))
    assert client.get(f"/v1/images/{first}").json()["height"] == 20
    new = client.get(f"/v1/images/{first}/file", headers={"If-None-Match": old.headers["ETag"]})
    assert (new.status_code, new.content) == (200, (folder / "a2.png").read_bytes())
    assert "masks of another size" in sentence(client.get(f"/v1/images/{first}/annotations"), 409)
    assert "picture's size" in sentence(add(client, first), 422)
    assert "put the old picture back" in sentence(add(client, first, mask()[:20]), 422)
    (folder / "a2.png").write_bytes(encoded())
    assert len(client.get(f"/v1/images/{first}/annotations").json()["annotations"]) == 1


@pytest.mark.parametrize(
    "image_id", ["0" * 24, "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cx", "a2.png", "%00", "x" * 5000]
)
def test_an_id_leads_to_listed_pictures_only(client, image_id):
    for path in ("", "/file", "/thumbnail", "/annotations"):
        assert client.get(f"/v1/images/{image_id}{path}").status_code in (404, 405)


def test_a_browser_may_keep_what_has_not_changed(client, first):
    for path in ("file", "thumbnail"):
        answer = client.get(f"/v1/images/{first}/{path}")
        again = client.get(f"/v1/images/{first}/{path}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (answer.status_code, again.status_code, again.content) == (200, 304, b"")


def oriented(form):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(form, exif=exif)


# What is sent as it is, and what a browser would show otherwise than we read it.
KINDS = {
    "plain.jpg": (encoded("JPEG"), "image/jpeg", True),
    "turned.jpg": (oriented("JPEG"), "image/jpeg", True),
    "grey.jpg": (encoded("JPEG", mode="L"), "image/jpeg", True),
    "plain.png": (encoded(), "image/png", True),
    "plain.webp": (encoded("WEBP"), "image/webp", True),
    "plain.bmp": (encoded("BMP"), "image/bmp", True),
    "turned.png": (oriented("PNG"), "image/png", False),
    "cmyk.jpg": (encoded("JPEG", mode="CMYK"), "image/png", False),
    "plain.tif": (encoded("TIFF"), "image/png", False),
    "clear.png": (encoded(mode="RGBA", colours=COLOURS), "image/png", True),
    "deep.png": (encoded(colours=COLOURS[..., 0].astype(np.uint16) * 200), "image/png", False),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_browser_is_sent_what_it_shows_as_we_read_it(project, client, name):
    content, kind, as_it_is = KINDS[name]
    if name == "clear.png":  # with pixels that are not there
        picture = Image.fromarray(np.dstack([COLOURS, COLOURS[..., 0]]))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        content, as_it_is = stream.getvalue(), False
    (project.pictures.folder / name).write_bytes(content)
    items = client.get("/v1/images").json()["images"]
    item = next(one for one in items if one["file_name"] == name)
    answer = client.get(f"/v1/images/{item['id']}/file")
    assert answer.headers["Content-Type"] == kind
    assert (answer.content == content) is as_it_is
    expected = image.read(content)
    np.testing.assert_array_equal(image.read(answer.content), expected)
    assert (item["height"], item["width"]) == expected.shape[:2]
    assert project.read_bytes(item["id"]) == content
    small = Image.open(io.BytesIO(client.get(f"/v1/images/{item['id']}/thumbnail").content))
    assert small.size == (item["width"], item["height"])


def test_a_thumbnail_is_small_kept_and_made_again_when_the_picture_changes(project, client, folder):
    (folder / "large.jpg").write_bytes(encoded("JPEG", colours=np.repeat(np.repeat(COLOURS, 20, 0), 20, 1)))
    item = next(one for one in client.get("/v1/images").json()["images"] if one["file_name"] == "large.jpg")
    answer = client.get(f"/v1/images/{item['id']}/thumbnail")
    assert Image.open(io.BytesIO(answer.content)).size == (320, 240)
    kept = folder / ".opensam" / "thumbnails" / f"{item['id']}.jpg"
    assert kept.read_bytes() == answer.content
    (folder / "large.jpg").write_bytes(encoded("JPEG", colours=COLOURS))
    changed = client.get(f"/v1/images/{item['id']}/thumbnail").content
    assert Image.open(io.BytesIO(changed)).size == (64, 48)
    assert kept.read_bytes() == changed


def test_a_picture_with_too_many_pixels_is_not_unpacked(client, folder, monkeypatch):
    monkeypatch.setattr(image, "MAX_PIXELS", 1000)
    (folder / "bomb.png").write_bytes(encoded(colours=COLOURS))
    item = client.get("/v1/images").json()["images"][-2]
    assert "more than 1000 pixels" in item["problem"]
    sentence(client.get(f"/v1/images/{item['id']}/file"), 422)


# ---- adding pictures -----------------------------------------------------------------------------------------------


def upload(client, *files):
    return client.post("/v1/images", files=[("image", file) for file in files])


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("new.png", "new.png"),
        ("../../../etc/cron.d/x.png", "x.png"),
        ("C:\\Windows\\x.png", "x.png"),
        (".hidden.png", "hidden.png"),
        ("a b; rm -rf *.png", "a b_ rm -rf _.png"),
        ("no suffix", "no suffix.png"),
        ("script.html", "script.png"),
        ("ä漢.PNG", "ä漢.PNG"),
        ("..", "picture.png"),
        ("y" * 400 + ".png", "y" * 150 + ".png"),
    ],
)
def test_an_added_picture_gets_a_safe_name_in_the_folder(client, folder, name, saved):
    before = {path.name for path in folder.parent.rglob("*")}
    answer = upload(client, (name, encoded(colours=COLOURS[::-1])))
    assert answer.status_code == 201
    assert answer.json()["images"][0]["file_name"] == saved
    assert {path.name for path in folder.parent.rglob("*")} - before - {".opensam"} == {saved}
    assert (folder / saved).read_bytes() == encoded(colours=COLOURS[::-1])


def test_adding_never_writes_over_a_picture_and_the_same_again_adds_nothing(client, folder):
    other = encoded(colours=COLOURS[::-1])
    names = [
        upload(client, ("a2.png", content)).json()["images"][0]["file_name"] for content in (other, encoded(), other)
    ]
    assert names == ["a2-2.png", "a2.png", "a2-2.png"]
    assert (folder / "a2.png").read_bytes() == encoded()
    assert client.get("/v1/images").json()["total"] == 4


def test_of_several_the_good_ones_are_added(client, folder):
    files = [("good.png", encoded(colours=COLOURS[1:])), ("cut.png", encoded()[:100]), ("x.gif", encoded("GIF"))]
    answer = upload(client, *files).json()
    assert [item["file_name"] for item in answer["images"]] == ["good.png"]
    assert "cut.png" in answer["skipped"][0]
    assert "got GIF" in answer["skipped"][1]
    assert {path.name for path in folder.iterdir()} == {"a10.png", "a2.png", "farm", "good.png", ".opensam"}
    assert "cut.png" in sentence(upload(client, files[1]), 422)
    sentence(client.post("/v1/images", content=b"\x89PNG", headers={"Content-Type": "image/png"}), 422)
    sentence(client.post("/v1/images", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}), 400)


def test_a_full_disk_adds_no_half_picture(client, folder, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("opensam.serve.folder.os.fsync", full)
    assert "disk is full" in sentence(upload(client, ("new.png", encoded(colours=COLOURS[::-1]))), 507)
    assert {path.name for path in folder.iterdir()} == {"a10.png", "a2.png", "farm", ".opensam"}


def test_a_folder_that_cannot_be_written_to_takes_no_pictures_but_annotations_elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("opensam.serve.folder.os.access", lambda *_: False)
    with Store(tmp_path / "elsewhere.sqlite") as store:
        client = client_of(Project(folder, store))
        item = client.get("/v1/images").json()["images"][0]
        assert client.get("/v1/project").json()["read_only"]
        assert "cannot be written to" in sentence(upload(client, ("new.png", encoded())), 403)
        assert add(client, item["id"]).status_code == 201
    assert not (folder / ".opensam").exists()


def test_a_folder_in_which_nothing_can_be_saved_says_to_keep_annotations_elsewhere(folder, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(StoreError, match=r"Read-only file system; keep them elsewhere, as with --store sqlite:///"):
        open_project(folder)
    with pytest.raises(ValueError, match="expected a folder of pictures"):
        open_project(folder / "a2.png")


def test_a_folder_that_vanishes_is_said_and_nothing_is_lost(client, folder, tmp_path, first):
    kept = add(client, first).json()
    folder.rename(tmp_path / "moved")
    for path in ("/v1/images", f"/v1/images/{first}", f"/v1/images/{first}/file", "/v1/labels", "/v1/export/coco"):
        assert "vanished" in sentence(client.get(path), 503)
    sentence(add(client, first), 503)
    sentence(client.put(f"/v1/annotations/{kept['id']}", json=body(version=1)), 503)
    sentence(upload(client, ("new.png", encoded())), 503)
    (tmp_path / "moved").rename(folder)
    assert client.get(f"/v1/images/{first}/annotations").json() == {"annotations": [kept]}


# ---- annotations ---------------------------------------------------------------------------------------------------


def test_an_annotation_is_saved_as_it_came_with_box_and_area_counted(client, first):
    answer = add(client, first)
    assert answer.status_code == 201
    saved = answer.json()
    assert {key: saved[key] for key in body()} == body()
    assert (saved["bbox"], saved["area"], saved["version"], saved["image_id"]) == ([3, 4, 17, 5], 85, 1, first)
    assert client.get(f"/v1/images/{first}/annotations").json() == {"annotations": [saved]}


def test_the_same_annotation_sent_again_is_saved_once(client, first):
    sent = body(id=str(uuid.uuid4()))
    path = f"/v1/images/{first}/annotations"
    answers = [client.post(path, json=sent) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    taken = client.post(path, json=sent | {"label": "pig"})
    assert "expected a new id" in sentence(taken, 409)
    assert taken.json()["current"] == answers[0].json()


def test_two_tabs_do_not_overwrite_each_other(client, first):
    saved = add(client, first).json()
    path = f"/v1/annotations/{saved['id']}"
    mine = client.put(path, json=body(label="calf", version=1))
    assert (mine.status_code, mine.json()["version"], mine.json()["label"]) == (200, 2, "calf")
    assert client.put(path, json=body(label="calf", version=1)).json() == mine.json()  # its answer was lost
    theirs = client.put(path, json=body(label="pig", version=1))
    assert "somebody else" in sentence(theirs, 409)
    assert theirs.json()["current"] == mine.json()
    assert client.delete(path, params={"version": 1}).json()["current"] == mine.json()


def test_a_deleted_annotation_is_gone_for_everybody_and_can_come_back(client, first):
    sent = body(id=str(uuid.uuid4()))
    path, within = f"/v1/annotations/{sent['id']}", f"/v1/images/{first}/annotations"
    client.post(within, json=sent)
    assert client.delete(path, params={"version": 1}).status_code == 204
    sentence(client.delete(path, params={"version": 1}), 404)
    gone = client.put(path, json=body(version=1))
    assert "deleted by somebody else" in sentence(gone, 409)
    assert gone.json()["current"] is None
    back = client.post(within, json=sent)
    assert (back.status_code, back.json()["version"]) == (201, 3)
    sentence(client.put(f"/v1/annotations/{uuid.uuid4()}", json=body(version=1)), 404)


WRONG = {
    "no mask": {"segmentation": None},
    "a mask of another size": {"segmentation": encode_rle(np.ones((64, 48), dtype=bool))},
    "runs that are too long": {"segmentation": {"size": [48, 64], "counts": "000o0"}},
    "runs that are too short": {"segmentation": {"size": [48, 64], "counts": "11"}},
    "no runs": {"segmentation": {"size": [48, 64], "counts": ""}},
    "runs that go round": {"segmentation": {"size": [48, 64], "counts": "oooooooooooooo1" * 4}},
    "other characters": {"segmentation": {"size": [48, 64], "counts": "\u00e4~\ud800"}},
    "a side of zero": {"segmentation": {"size": [0, 64], "counts": "0"}},
    "a side beyond all": {"segmentation": {"size": [10**30, 64], "counts": "0"}},
    "three sides": {"segmentation": {"size": [48, 64, 1], "counts": "0"}},
    "a key too many": {"area": 4},
    "an empty label": {"label": ""},
    "a long label": {"label": "x" * 201},
    "a label with a null": {"label": "a\x00b"},
    "a label of half a character": {"label": "\ud800"},
    "no number": {"predicted_iou": "high"},
    "labels for other points": {"prompt": {"point_coords": [[1, 2]], "point_labels": []}},
    "a label that is none": {"prompt": {"point_coords": [[1, 2]], "point_labels": [7]}},
    "a box of three": {"prompt": {"box": [1, 2, 3]}},
    "another source": {"source": "magic"},
    "an id that is none": {"id": "../../x"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_annotation_is_refused_and_not_saved(client, first, wrong):
    content = json.dumps(body(id=str(uuid.uuid4())) | WRONG[wrong])
    json_type = {"Content-Type": "application/json"}
    answer = client.post(f"/v1/images/{first}/annotations", content=content, headers=json_type)
    sentence(answer, 422)
    assert client.get("/v1/project").json()["annotations"] == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400), (b"", 422), (b"[]", 422), (b"[" * 100_000, 400), (b'{"id": NaN}', 422), (b"\xff\xfe", 400),
        (json.dumps(body(id=str(uuid.uuid4()))).replace("0.9,", "1e999,").encode(), 422),
        (b'"' + b"x" * (17 << 20) + b'"', 413),
    ],
    ids=["cut", "empty", "list", "deep", "nan", "no text", "infinite", "huge"],
)  # fmt: skip
def test_json_that_is_none_or_too_much_is_refused(client, first, content, status):
    path = f"/v1/images/{first}/annotations"
    sentence(client.post(path, content=content, headers={"Content-Type": "application/json"}), status)

    def pieces():  # without a length that is known before
        yield from (content[start : start + (1 << 20)] for start in range(0, len(content), 1 << 20))

    sentence(client.post(path, content=pieces(), headers={"Content-Type": "application/json"}), status)


@pytest.mark.parametrize("version", ["", "x", "-1", str(10**30), "1.5"])
def test_a_version_is_a_number_in_bounds(client, first, version):
    saved = add(client, first).json()
    sentence(client.delete(f"/v1/annotations/{saved['id']}", params={"version": version}), 422)
    for path in (f"/v1/images?offset={version or -1}", f"/v1/images?limit={version or 0}"):
        sentence(client.get(path), 422)


def test_a_full_disk_saves_nothing_and_keeps_what_was_saved(project, client, first):
    sql.event.listen(project.store._database.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=34"))
    project.store.close()
    noise = np.random.default_rng(1).random((48, 64)) < 0.5
    answers = [add(client, first, noise, label=f"l{number}") for number in range(60)]
    assert "disk is full" in sentence(answers[-1], 507)
    saved = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(saved) > 3
    found = client.get(f"/v1/images/{first}/annotations").json()["annotations"]
    assert [one["id"] for one in found] == saved


def test_a_mask_of_a_large_picture_goes_through_whole(client, folder):
    rng = np.random.default_rng(2)
    (folder / "wide.png").write_bytes(encoded(colours=np.zeros((700, 900, 3), dtype=np.uint8)))
    item = client.get("/v1/images").json()["images"][-1]
    noise = rng.random((700, 900)) < 0.5
    assert add(client, item["id"], noise).status_code == 201
    (found,) = client.get(f"/v1/images/{item['id']}/annotations").json()["annotations"]
    np.testing.assert_array_equal(decode_rle(found["segmentation"]), noise)


# ---- labels --------------------------------------------------------------------------------------------------------


def labels(*names):
    return [{"name": name, "color": "#0a0b0c", "shortcut": name[0]} for name in names]


def test_labels_are_saved_by_version_and_renamed_everywhere(client, first):
    add(client, first)
    assert client.get("/v1/labels").json() == {"version": 0, "labels": []}
    saved = client.put("/v1/labels", json={"version": 0, "labels": labels("cow", "pig")})
    assert saved.json() == {"version": 1, "labels": labels("cow", "pig")} == client.get("/v1/labels").json()
    other = client.put("/v1/labels", json={"version": 0, "labels": labels("sheep")})
    assert "somebody else" in sentence(other, 409)
    assert other.json()["current"] == saved.json()
    renamed = {"version": 1, "labels": labels("calf", "pig"), "renamed": {"cow": "calf"}}
    assert client.put("/v1/labels", json=renamed).json()["version"] == 2
    (found,) = client.get(f"/v1/images/{first}/annotations").json()["annotations"]
    assert (found["label"], found["version"]) == ("calf", 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": labels("cow", "cow")},
        {"labels": [{"name": "cow", "color": "red"}]},
        {"labels": [{"name": "", "color": "#000000"}]},
        {"labels": labels("cow"), "renamed": {"pig": "sheep"}},
        {"labels": labels("cow"), "renamed": {"pig": 3}},
        {"labels": labels("cow") * 2001},
        {"labels": "cow"},
        {"version": -1},
        {"labels": labels("cow"), "colour": 1},
    ],
)
def test_a_list_that_makes_no_sense_is_refused(client, wrong):
    sentence(client.put("/v1/labels", json={"version": 0, "labels": []} | wrong), 422)
    assert client.get("/v1/labels").json() == {"version": 0, "labels": []}


def test_a_server_that_starts_again_has_everything(project, client, folder, first):
    saved = add(client, first).json()
    client.put("/v1/labels", json={"version": 0, "labels": labels("cow")})
    again = open_project(folder)  # beside the other: two servers on one folder
    other = client_of(again)
    assert other.get(f"/v1/images/{first}/annotations").json() == {"annotations": [saved]}
    assert other.get("/v1/labels").json()["labels"] == labels("cow")
    assert other.delete(f"/v1/annotations/{saved['id']}", params={"version": 1}).status_code == 204
    assert client.get(f"/v1/images/{first}/annotations").json() == {"annotations": []}
    again.store.close()
