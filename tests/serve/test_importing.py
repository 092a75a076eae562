"""What is imported: what was exported, what other programs wrote, and nothing of what is damaged."""

import base64
import io
import json
import zipfile

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from opensam.engine.store import Content, Label, Store
from opensam.masks import decode_rle, encode_rle
from opensam.serve import errors
from opensam.serve.importing import PALETTE
from opensam.serve.project import Project, project_router

SIZE = (24, 36)
NAMES = ("cow.jpg", "farm/a.png", "farm/b.png", "sea/b.png")


def box(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


RING = box(2, 2, 14, 14) & ~box(5, 5, 9, 9)
ISLANDS = box(1, 1, 4, 4) | box(20, 15, 30, 20)


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def open_client(folder, tmp_path):
    stores = []

    def opened(name="store"):
        stores.append(Store(tmp_path / f"{name}.sqlite"))
        project, app = Project(folder, stores[-1]), FastAPI()
        errors.install(app)
        app.include_router(project_router(project))
        return TestClient(app, raise_server_exceptions=False), project

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def client(open_client):
    return open_client()[0]


def send(client, form, *files):
    return client.post(f"/v1/import?format={form}", files=[("files", file) for file in files])


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def found(client):
    """Masks and labels by the name of the picture."""
    items = client.get("/v1/images").json()["images"]
    listed = {}
    for item in items:
        annotations = client.get(f"/v1/images/{item['id']}/annotations").json()["annotations"]
        if annotations:
            listed[item["file_name"]] = [(decode_rle(one["segmentation"]), one["label"], one) for one in annotations]
    return listed


def coco(
    annotations,
    images=({"id": 7, "file_name": "cow.jpg", "height": 24, "width": 36},),
    categories=({"id": 3, "name": "cow"},),
):
    annotations = [{"image_id": 7, "category_id": 3} | one for one in annotations]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations}).encode()


# ---- there and back ------------------------------------------------------------------------------------------------

MASKS = {"cow.jpg": [(RING, "cow"), (ISLANDS, "pig")], "sea/b.png": [(box(3, 3, 9, 20), None)]}


@pytest.mark.parametrize("form", ["coco", "sa1b", "yolo", "labelme", "labelmap"])
def test_an_export_gives_the_same_masks_in_another_project(open_client, form):
    (client, project), (other, _) = open_client("one"), open_client("two")
    pictures = {entry.file_name: project.pictures.picture(entry) for entry in project.pictures.entries()}
    for name, masks in MASKS.items():
        for number, (mask, label) in enumerate(masks):
            content = Content(encode_rle(mask), label, 0.5, 0.25, {}, "interactive", "somebody")
            project.store.add(f"{name}-{number}", pictures[name], content, now=1.0)
    project.store.replace_labels(
        [Label("pig", "#000000"), Label("unused", "#111111"), Label("cow", "#222222")], 0, {}, 1.0
    )
    exported = ("x.json" if form == "coco" else "x.zip", client.get(f"/v1/export/{form}").content)
    answer = send(other, form, exported)
    assert answer.json() == {"annotations": 3, "images": 2, "skipped": []}
    again = found(other)
    for name, masks in MASKS.items():
        for (mask, label, saved), (expected, name_of) in zip(again[name], masks, strict=True):
            overlap = (mask & expected).sum() / (mask | expected).sum()
            assert overlap >= (0.9 if form == "labelmap" else 1.0)
            assert label == (None if form == "labelmap" else name_of)
            assert saved["source"] == "automatic"
            scores = (saved["predicted_iou"], saved["stability_score"])
            assert scores == ((0.5, 0.25) if form in ("coco", "sa1b") else (1.0, 1.0))
    twice = send(other, form, exported).json()
    assert (twice["annotations"], twice["images"]) == (0, 0)
    assert sum("has this mask already" in sentence for sentence in twice["skipped"]) == 1


def test_new_labels_get_colours_that_differ(client):
    names = [f"kind {number}" for number in range(len(PALETTE) + 1)]
    taken = {"name": "kind 0", "color": PALETTE[1], "shortcut": "k"}
    client.put("/v1/labels", json={"version": 0, "labels": [taken]})
    annotations = [
        {"category_id": number, "segmentation": encode_rle(box(number, 0, number + 1, 5))}
        for number in range(len(names))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    assert send(client, "coco", ("a.json", coco(annotations, categories=categories))).json()["annotations"] == len(
        names
    )
    labels = client.get("/v1/labels").json()
    assert [label["name"] for label in labels["labels"]] == names
    assert labels["labels"][0] == taken
    assert len({label["color"] for label in labels["labels"]}) == len(PALETTE)
    assert labels["version"] == 2


# ---- formats -------------------------------------------------------------------------------------------------------


def test_coco_as_other_programs_write_it(client):
    annotations = [
        {"segmentation": [[2, 2, 10, 2, 10, 8, 2, 8]], "bbox": [0, 0, 1, 1], "iscrowd": 0},
        {"segmentation": {"size": [24, 36], "counts": [24, 24, 24 * 34]}},
        {"segmentation": {"size": [24, 36], "counts": [0, 24 * 36]}, "iscrowd": 1},
        {"segmentation": [], "bbox": [1, 2, 3, 4]},
        {"segmentation": encode_rle(np.zeros(SIZE, dtype=bool))},
        {"segmentation": encode_rle(RING), "category_id": 99},
        {"segmentation": encode_rle(RING), "image_id": 8},
    ]
    images = [
        {"id": 7, "file_name": "/data/somewhere/cow.jpg"},
        {"id": 8, "file_name": "missing.jpg"},
        {"id": 9, "file_name": "b.png"},
        {"id": 10, "file_name": "farm/a.png", "height": 5, "width": 5},
    ]
    answer = send(client, "coco", ("a.json", coco(annotations, images))).json()
    assert (answer["annotations"], answer["images"]) == (3, 1)
    assert answer["skipped"] == [
        "missing.jpg and 1 more: no picture of that name is in the folder, or several are",
        "farm/a.png: the file is about a picture of another size",
        "cow.jpg: a crowd is left out",
        "cow.jpg: a mere box is left out",
        "cow.jpg: an empty mask is left out",
    ]
    masks = found(client)["cow.jpg"]
    np.testing.assert_array_equal(masks[0][0], box(2, 2, 10, 8))
    np.testing.assert_array_equal(masks[1][0], box(1, 0, 2, 24))
    assert [label for _, label, _ in masks] == ["cow", "cow", None]


def test_labelme_shapes_and_groups(client):
    stream = io.BytesIO()
    Image.fromarray(np.full((3, 2), 255, dtype=np.uint8)).save(stream, "PNG")
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": [[1, 1], [4, 1], [4, 4], [1, 4]], "group_id": 5},
        {"label": "a", "shape_type": "rectangle", "points": [[10, 10], [12, 11]], "group_id": 5},
        {"label": "b", "shape_type": "circle", "points": [[20, 12], [23, 12]], "group_id": None},
        {
            "label": "c",
            "shape_type": "mask",
            "points": [[30, 2], [31, 4]],
            "mask": base64.b64encode(stream.getvalue()).decode(),
        },
        {"label": "d", "shape_type": "point", "points": [[3, 3]]},
    ]
    content = json.dumps({"shapes": shapes, "imagePath": "..\\photos\\a.png", "imageHeight": 24, "imageWidth": 36})
    answer = send(client, "labelme", ("x.zip", zipped({"set/farm/a.json": content}))).json()
    assert answer == {"annotations": 3, "images": 1, "skipped": ["farm/a.png: a point or a line is left out"]}
    (both, first, _), (disc, _, _), (part, _, _) = found(client)["farm/a.png"]
    np.testing.assert_array_equal(both, box(1, 1, 5, 5) | box(10, 10, 13, 12))
    assert first == "a"
    assert disc[12, 17:24].all()
    assert 29 <= disc.sum() <= 49  # with the pixels of its outline, as LabelMe draws it
    np.testing.assert_array_equal(part, box(30, 2, 32, 5))


def test_yolo_takes_names_from_data_yaml_or_from_the_labels(client):
    client.put("/v1/labels", json={"version": 0, "labels": [{"name": "pig", "color": "#000000"}]})
    line = "{} 0 0 0.5 0 0.5 0.5 0 0.5\n"
    assert send(client, "yolo", ("labels/cow.txt", line.format(0).encode())).json()["annotations"] == 1
    names = b"path: .\nnames:\n  0: cat\n  1: 'big dog'\nnc: 2\n"
    files = {"labels/farm/a.txt": line.format(1), "data.yaml": names, "images/farm/a.png": b"no matter", "._x.txt": "?"}
    assert send(client, "yolo", ("y.zip", zipped(files))).json() == {"annotations": 1, "images": 1, "skipped": []}
    assert send(client, "yolo", ("farm/b.txt", line.format(7).encode())).json()["annotations"] == 1
    masks = found(client)
    assert [label for masks in masks.values() for _, label, _ in masks] == ["pig", "big dog", "class 7"]
    np.testing.assert_array_equal(masks["farm/a.png"][0][0], box(0, 0, 18, 12))


def test_label_maps_have_a_mask_for_each_value(client):
    levels = np.zeros(SIZE, dtype=np.uint8)
    levels[2:5, 3:9], levels[10:12, 3:9] = 4, 9
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    small = io.BytesIO()
    Image.fromarray(levels[:9]).save(small, "PNG")
    answer = send(client, "labelmap", ("masks/cow.png", stream.getvalue()), ("farm/a.png", small.getvalue())).json()
    assert answer["annotations"] == 2
    assert "another size" in answer["skipped"][0]
    np.testing.assert_array_equal(found(client)["cow.jpg"][1][0], levels == 9)


# ---- what goes wrong -----------------------------------------------------------------------------------------------


def labelme(points):
    shape = {"shape_type": "polygon", "label": "a", "points": points}
    return json.dumps({"imagePath": "cow.jpg", "shapes": [shape]}).encode()


GOOD = {"segmentation": encode_rle(RING)}
DAMAGED = {
    "cut short": ("coco", coco([GOOD])[:-30]),
    "no JSON": ("coco", b"hello"),
    "a list": ("coco", b"[1, 2]"),
    "too deep": ("coco", b'{"images": ' + b"[" * 100_000),
    "no lists": ("coco", b"{}"),
    "nothing": ("coco", b""),
    "an annotation that is none": ("coco", coco([GOOD, {"segmentation": "x"}])),
    "runs that do not fill": ("coco", coco([GOOD, {"segmentation": {"size": [24, 36], "counts": "11"}}])),
    "runs of another size": ("coco", coco([GOOD, {"segmentation": encode_rle(box(0, 0, 1, 1, (5, 5)))}])),
    "an annotation of a list": ("coco", coco([GOOD]).replace(b'"image_id": 7', b'"image_id": [7]')),
    "another record": ("sa1b", b'{"image": {}, "annotations": []}'),
    "no shapes": ("labelme", b'{"imagePath": "cow.jpg"}'),
    "shapes of nothing": ("labelme", labelme([])),
    "points of text": ("labelme", labelme([["x", 1]])),
    "a damaged zip": ("sa1b", zipped({"a.json": b"{}" * 100})[:60]),
    "a zip of nothing": ("sa1b", zipped({})),
    "a zip with a damaged member": ("sa1b", zipped({"a.json": b"{}" * 100}).replace(b"{}{}", b"{}[}")),
    "another suffix": ("coco", None),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_of_a_damaged_file_nothing_is_taken(client, damage):
    form, content = DAMAGED[damage]
    name = "a.exe" if content is None else "cow.json"
    answer = send(client, form, (name, content or b"MZ"))
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert len(detail) < 500
    assert "/tmp" not in detail
    assert found(client) == {}
    assert client.get("/v1/labels").json()["labels"] == []


def test_a_damaged_file_does_not_stop_the_others(client):
    answer = send(client, "coco", ("bad.json", b"{"), ("good.json", coco([GOOD]))).json()
    assert answer["annotations"] == 1
    assert answer["skipped"][0].startswith("bad.json: ")


def test_names_lead_to_listed_pictures_only(client, folder):
    (folder.parent / "secret.json").write_text("{}")
    images = [{"id": 7, "file_name": "../../photos/cow.jpg"}, {"id": 8, "file_name": "/etc/passwd"}]
    files = {"/etc/evil.json": coco([GOOD], images), "../../x.json": coco([GOOD]), ".git/y.json": coco([GOOD])}
    before = sorted(folder.parent.rglob("*"))
    answer = send(client, "coco", ("x.zip", zipped(files))).json()
    assert answer["annotations"] == 1  # by the last part of its name, which one picture has
    assert answer["skipped"] == ["/etc/passwd: no picture of that name is in the folder, or several are"]
    assert sorted(folder.parent.rglob("*")) == before


def test_a_zip_that_unpacks_to_too_much_is_refused(client, monkeypatch):
    monkeypatch.setattr("opensam.serve.archives.MOST_BYTES", 1000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 100_000)
    answer = send(client, "coco", ("x.zip", stream.getvalue()))
    assert answer.status_code == 422
    assert "split it up" in answer.json()["detail"]


def test_an_unknown_format_and_no_files_are_refused(client):
    assert send(client, "gif", ("a.json", b"{}")).status_code == 422
    assert client.post("/v1/import?format=coco").status_code == 422
    assert client.post("/v1/import?format=coco", data={"files": "x"}).status_code == 422
    assert client.get("/v1/export/gif").status_code == 422


def test_labels_of_files_become_names_that_labels_can_have(client):
    name = "a\x00b\ud800" + "x" * 300
    content = coco([GOOD], categories=[{"id": 3, "name": name}])
    assert send(client, "coco", ("a.json", content)).json()["annotations"] == 1
    (label,) = client.get("/v1/labels").json()["labels"]
    assert label["name"].startswith("a b xx")
    assert len(label["name"]) == 200
    assert client.put("/v1/labels", json={"version": 1, "labels": [label]}).status_code == 200
