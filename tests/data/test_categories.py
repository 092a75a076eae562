"""What masks show: SA-1B records in tars and folders, COCO annotations, and data that do not say."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from opensam.data.categories import Categories
from opensam.data.coco import Coco
from opensam.data.dataset import Part
from opensam.data.specs import open_datasets
from opensam.data.synthetic import Synthetic
from opensam.masks import encode_rle
from opensam.records import ImageInfo, ImageRecord, MaskRecord

SIZE = (20, 30)
PICTURES = {"a": ["dog", None], "b": ["cat", "dog", "cat"], "c": []}


def mask(number):
    pixels = np.zeros(SIZE, dtype=bool)
    pixels[2 : 6 + number, 3 + number : 20] = True
    return pixels


def png():
    content = io.BytesIO()
    Image.new("RGB", SIZE[::-1]).save(content, "PNG")
    return content.getvalue()


def members():
    for number, (name, categories) in enumerate(PICTURES.items()):
        records = [
            MaskRecord.from_mask(mask(i), i, predicted_iou=1.0, stability_score=1.0, category=category)
            for i, category in enumerate(categories)
        ]
        info = ImageInfo(image_id=number, width=SIZE[1], height=SIZE[0], file_name=f"{name}.png")
        yield f"{name}.png", png()
        yield f"{name}.json", ImageRecord(image=info, annotations=records).to_json()


@pytest.fixture(params=["tar", "folder"])
def records(request, tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    for name, content in members():
        (folder / name).write_bytes(content)
    if request.param == "tar":
        with tarfile.open(tmp_path / "pets.tar", "w") as tar:
            tar.add(folder, "")
        folder = tmp_path / "pets.tar"
    ((dataset, _),) = open_datasets([str(folder)])
    return dataset


def test_masks_of_records_come_with_their_categories(records):
    categories = Categories(records)
    assert categories.names == ("cat", "dog")
    for i in range(len(records)):
        expected = PICTURES[records.key(i)]
        assert categories.masks(i) == list(zip(records.masks(i), expected, strict=True))


def test_a_part_has_its_pictures_and_the_names_of_the_whole(records):
    row = [records.key(i) for i in range(len(records))].index("a")
    categories = Categories(Part(Part(records, [0, row]), [1]))
    assert categories.names == ("cat", "dog")
    assert [name for _, name in categories.masks(0)] == ["dog", None]


def polygon(number):
    x, y = 3 + number, 2
    return [[x, y, x + 9, y, x + 9, y + 9, x, y + 9]]


def coco(folder, categories, annotations):
    (folder / "images").mkdir(exist_ok=True)
    pictures = [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}]
    for picture in pictures:
        (folder / "images" / picture["file_name"]).write_bytes(png())
    file = folder / "some.json"
    file.write_text(json.dumps({"categories": categories, "images": pictures, "annotations": annotations}))
    return Coco(file, folder / "images")


def test_masks_of_coco_come_with_the_listed_names(tmp_path):
    rows = [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": polygon(0), "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "segmentation": encode_rle(mask(0)), "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 90, "segmentation": [[1, 1, 5, 5]], "iscrowd": 0},
        {"id": 4, "image_id": 7, "category_id": 8, "segmentation": polygon(4), "iscrowd": 0},
        {"id": 5, "image_id": 7, "category_id": 99, "segmentation": polygon(6), "iscrowd": 0},
    ]
    listed = [{"id": 3, "name": "wine glass"}, {"id": 8, "name": "Käse"}, {"id": 90, "name": "point"}]
    dataset = coco(tmp_path, listed, rows)
    categories = Categories(dataset)
    assert categories.names == ("Käse", "point", "wine glass")
    found = categories.masks(0)
    assert [one for one, _ in found] == list(dataset.masks(0))
    # The second is a crowd, the third no area; 99 is not listed.
    assert [name for _, name in found] == ["wine glass", "Käse", None]


def test_annotations_without_a_list_of_names_have_none(tmp_path):
    categories = Categories(coco(tmp_path, "none", [{"id": 1, "image_id": 7, "segmentation": polygon(0)}]))
    assert categories.names == ()
    assert [name for _, name in categories.masks(0)] == [None]


def test_a_list_of_names_that_cannot_be_read_names_the_file(tmp_path):
    dataset = coco(tmp_path, [{"id": 1, "name": "dog"}], [{"id": 1, "image_id": 7, "segmentation": polygon(0)}])
    content = dataset.annotations.read_bytes()
    dataset.annotations.write_bytes(content.replace(b"dog", b"d\xffg"))
    with pytest.raises(ValueError, match=r"list of categories in UTF-8 in .*some\.json"):
        Categories(dataset)


def test_data_that_do_not_say_what_they_show_have_no_names():
    dataset = Synthetic(2, 0)
    categories = Categories(dataset)
    assert categories.names == ()
    assert categories.masks(1) == [(one, None) for one in dataset.masks(1)]
