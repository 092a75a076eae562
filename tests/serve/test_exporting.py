"""What is exported: by programs that read it, whole, and without being in memory."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from opensam.data.folders import YoloFolder
from opensam.engine.store import Content, Label, Store
from opensam.masks import decode_rle, encode_rle
from opensam.records import read_image_record
from opensam.serve.exporting import export
from opensam.serve.open_project import Project

SIZE = (24, 36)
NAMES = ("cow.jpg", "cow.png", "farm/cow.png", "ä 漢.png")


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


RING = box(2, 2, 14, 14) & ~box(5, 5, 9, 9)
MASKS = {
    "cow.jpg": [(RING, "cow"), (box(1, 1, 4, 4) | box(20, 15, 30, 20), "pig")],
    "cow.png": [(np.random.default_rng(3).random(SIZE) < 0.5, None)],
    "farm/cow.png": [(box(35, 23, 36, 24), "cow"), (box(0, 0, 36, 24), "unlisted")],
}


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / 'my "photos" ä'
    (folder / "farm").mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", SIZE[::-1]).save(folder / name)
    with Store(tmp_path / "a.sqlite") as store:
        opened = Project(folder, store, clock=lambda: 1.0)
        pictures = {entry.file_name: opened.pictures.picture(entry) for entry in opened.pictures.entries()}
        for name, masks in MASKS.items():
            for number, (mask, label) in enumerate(masks):
                prompt = {"point_coords": [[3.0, 3.0], [9.0, 9.0]], "point_labels": [1, 0]}
                content = Content(encode_rle(mask), label, 0.5, 0.25, prompt, "interactive", "somebody")
                store.add(f"{name}-{number}", pictures[name], content, now=1.0)
        store.set_state(pictures["ä 漢.png"], "done", now=1.0)
        store.replace_labels([Label("pig", "#000000"), Label("none", "#000000"), Label("cow", "#000000")], 0, {}, 1.0)
        yield opened


def content(project, form):
    return b"".join(export(project, form).content)


def unzipped(project, form):
    with zipfile.ZipFile(io.BytesIO(content(project, form))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
def test_pycocotools_reads_the_same_pixels(project, tmp_path):
    (tmp_path / "coco.json").write_bytes(content(project, "coco"))
    found = COCO(tmp_path / "coco.json")
    names = {category["id"]: category["name"] for category in found.loadCats(found.getCatIds())}
    assert names == {1: "pig", 2: "none", 3: "cow", 4: "unlisted", 5: "object"}
    images = {one["file_name"]: one for one in found.loadImgs(found.getImgIds())}
    assert list(images) == sorted(NAMES)  # one that is done and has no masks too
    for name, one in images.items():
        annotations = found.loadAnns(found.getAnnIds(imgIds=one["id"]))
        expected = MASKS.get(name, [])
        assert [names[annotation["category_id"]] for annotation in annotations] == [
            label or "object" for _, label in expected
        ]
        for annotation, (mask, _) in zip(annotations, expected, strict=True):
            np.testing.assert_array_equal(found.annToMask(annotation).astype(bool), mask)
            assert annotation["area"] == mask.sum()


def test_records_of_sa1b_have_everything(project):
    files = unzipped(project, "sa1b")
    assert sorted(files) == ["cow.jpg.json", "cow.png.json", "farm/cow.json", "ä 漢.json"]
    record = read_image_record(files["cow.jpg.json"])
    assert record.image.file_name == "cow.jpg"
    np.testing.assert_array_equal(decode_rle(record.annotations[0].segmentation), RING)
    assert record.annotations[0].point_coords == [[3.0, 3.0]]  # those that say where it is
    assert [mask.category for mask in record.annotations] == ["cow", "pig"]
    assert len({mask.id for name in files for mask in read_image_record(files[name]).annotations}) == 5


def test_yolo_numbers_classes_as_the_labels_stand(project, tmp_path):
    files = unzipped(project, "yolo")
    assert b'names:\n  0: "pig"\n  1: "none"\n  2: "cow"\n  3: "unlisted"\n  4: "object"\n' in files["data.yaml"]
    assert [line.split()[0] for line in files["labels/cow.jpg.txt"].decode().splitlines()] == ["2", "0"]
    for folder in ("images/farm", "labels/farm"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    (tmp_path / "set/labels/farm/cow.txt").write_bytes(files["labels/farm/cow.txt"])
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "set/images/farm/cow.png")
    masks = YoloFolder(tmp_path / "set").masks(0)
    for rle, (mask, _) in zip(masks, MASKS["farm/cow.png"], strict=True):
        np.testing.assert_array_equal(decode_rle(rle), mask)


def test_labelme_label_maps_and_images_have_a_file_for_each_picture(project):
    labelme = unzipped(project, "labelme")
    assert [shape["label"] for shape in json.loads(labelme["cow.jpg.json"])["shapes"]] == ["cow", "pig", "pig"]
    labels = unzipped(project, "labelmap")
    assert sorted(labels) == ["cow.jpg.png", "cow.png.png", "farm/cow.png", "ä 漢.png"]
    assert np.unique(np.asarray(Image.open(io.BytesIO(labels["cow.jpg.png"])))).tolist() == [0, 1, 2]
    images = unzipped(project, "png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(images["cow.jpg/0.png"]))) > 0, RING)


def test_an_export_is_the_same_twice_and_named_for_any_system(project):
    for form in ("coco", "sa1b", "yolo", "labelme", "labelmap", "png"):
        assert content(project, form) == content(project, form)
    disposition = export(project, "coco").disposition
    assert disposition.startswith(
        "attachment; filename=\"my _photos_ _-coco.json\"; filename*=UTF-8''my%20%22photos%22%20%C3%A4"
    )
    disposition.encode("ascii")


def test_an_empty_project_exports_empty_files(tmp_path):
    with Store(tmp_path / "a.sqlite") as store:
        project = Project(tmp_path, store)
        found = json.loads(content(project, "coco"))
        assert found == {"annotations": [], "images": [], "categories": [{"id": 1, "name": "object"}]}
        assert unzipped(project, "sa1b") == {}


def test_pictures_are_read_from_the_store_while_the_file_is_sent(project, monkeypatch):
    pages = []
    saved = Store.saved

    def counted(self):
        for one in saved(self):
            pages.append(one)
            yield one

    monkeypatch.setattr(Store, "saved", counted)
    monkeypatch.setattr("opensam.serve.exporting._BLOCK", 1)
    blocks = export(project, "sa1b").content
    next(blocks)
    assert len(pages) == 1
    rest = b"".join(blocks)
    assert len(pages) == 4
    assert rest


def test_a_label_that_comes_up_during_an_export_is_of_the_next(project, monkeypatch):
    monkeypatch.setattr("opensam.serve.exporting._BLOCK", 1)
    blocks = export(project, "yolo").content
    start = next(blocks)
    late = project.store.annotation("farm/cow.png-0")
    changed = Content(late.content.segmentation, "brand new")
    project.store.update(late.id, 1, changed, now=2.0)
    with zipfile.ZipFile(io.BytesIO(start + b"".join(blocks))) as archive:
        assert len(archive.read("labels/farm/cow.txt").splitlines()) in (1, 2)
    assert b"brand new" in unzipped(project, "yolo")["data.yaml"]
