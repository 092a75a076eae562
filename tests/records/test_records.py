"""Records: the JSON of SA-1B in, the same bytes out."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from opensam.masks import deepest_point
from opensam.records import ImageRecord, MaskRecord, RecordError, read_image_record

TRAIN = Path(__file__).parents[3] / "shared" / "data" / "train"

# Written by hand: a 4 x 6 picture, its middle 2 x 3 pixels inside; a mask with a category, and one without.
MASK = {
    "id": 7,
    "segmentation": {"size": [4, 6], "counts": "5220007"},
    "bbox": [1.0, 1.0, 3.0, 2.0],
    "area": 6,
    "point_coords": [[1, 1]],
    "predicted_iou": 1.0125,
    "stability_score": 0.96,
    "crop_box": [0, 0, 6, 4],
}
RECORD = {
    "image": {"image_id": 1, "width": 6, "height": 4, "file_name": "sa_1.jpg"},
    "annotations": [MASK, MASK | {"id": 8, "category": "Käse"}],
}


@pytest.fixture
def mask():
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 1:4] = True
    return mask


def as_bytes(record):
    return json.dumps(record, separators=(",", ":")).encode()


def changed(**fields):
    return as_bytes(RECORD | {"annotations": [MASK | fields]})


def test_record_reads_as_typed_values(mask):
    record = read_image_record(as_bytes(RECORD))
    assert (record.image.width, record.image.height, record.image.file_name) == (6, 4, "sa_1.jpg")
    first, second = record.annotations
    np.testing.assert_array_equal(first.mask, mask)
    assert (first.category, second.category) == (None, "Käse")
    assert (first.area, first.predicted_iou, first.point_coords) == (6, 1.0125, [[1, 1]])


def test_record_comes_back_as_the_same_bytes_and_the_same_dict(tmp_path):
    path = tmp_path / "sa_1.json"
    path.write_bytes(as_bytes(RECORD))
    record = read_image_record(path)
    assert record.to_json() == as_bytes(RECORD)
    assert record.to_dict() == RECORD
    assert read_image_record(str(path)) == record


def test_spaces_and_order_of_keys_do_not_matter():
    shuffled = {key: RECORD[key] for key in reversed(RECORD)}
    shuffled["annotations"] = [dict(reversed(mask.items())) for mask in RECORD["annotations"]]
    assert read_image_record(json.dumps(shuffled, indent=2).encode()).to_json() == as_bytes(RECORD)


def test_unknown_keys_pass_through():
    record = RECORD | {"info": {"version": 2}, "annotations": [MASK | {"iscrowd": 0}]}
    assert read_image_record(as_bytes(record)).to_dict() == record


def test_mask_record_computes_what_follows_from_the_mask(mask):
    record = MaskRecord.from_mask(
        mask, 7, predicted_iou=1.0125, stability_score=0.96, point_coords=[deepest_point(mask)]
    )
    assert record.to_dict() == MASK
    assert list(record.to_dict()) == list(MASK)
    np.testing.assert_array_equal(record.mask, mask)


def test_mask_record_of_one_pixel_and_of_none():
    mask = np.zeros((4, 6), dtype=bool)
    assert MaskRecord.from_mask(mask, 1, predicted_iou=0, stability_score=0).bbox == [0, 0, 0, 0]
    mask[2, 5] = True
    assert MaskRecord.from_mask(mask, 1, predicted_iou=0, stability_score=0).bbox == [5, 2, 1, 1]


def test_mask_record_takes_scores_and_points_from_numpy(mask):
    record = MaskRecord.from_mask(
        mask,
        np.int64(7),
        predicted_iou=np.float32(0.5),
        stability_score=np.float64(0.25),
        point_coords=np.array([[1, 2]]),
        crop_box=np.array([1, 0, 3, 4]),
        category="cheese",
    )
    content = json.loads(json.dumps(record.to_dict()))
    assert content["point_coords"] == [[1, 2]]
    assert content["crop_box"] == [1, 0, 3, 4]
    assert (content["predicted_iou"], content["category"]) == (0.5, "cheese")


def test_a_score_that_is_not_a_number_is_refused(mask):
    with pytest.raises(ValueError, match="finite number"):
        MaskRecord.from_mask(mask, 1, predicted_iou=float("nan"), stability_score=1.0)
    with pytest.raises(ValueError, match="bool array of shape"):
        MaskRecord.from_mask(mask[None], 1, predicted_iou=1.0, stability_score=1.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file: Invalid JSON"),
        (b"\xff\xd8\xff\xe0 a JPEG", "the file: Invalid JSON"),
        (as_bytes(RECORD)[:-40], "the file: Invalid JSON"),
        (as_bytes(MASK), "image: Field required"),
        (as_bytes([RECORD]), "the file: Input should be an object"),
        (changed(area="six"), r"annotations\.0\.area: Input should be a valid integer"),
        (changed(bbox=[1, 2, 3]), r"annotations\.0\.bbox: List should have at least 4 items"),
        (
            changed(point_coords=[[1, 2, 3]]),
            r"annotations\.0\.point_coords\.0: List should have at most 2 items",
        ),
        (changed(segmentation={"counts": "0"}), r"annotations\.0\.segmentation\.size: Field required"),
        (
            changed(segmentation=[[1, 2, 3, 4]]),
            r"annotations\.0\.segmentation: Input should be an object",
        ),
        (
            changed(predicted_iou=float("nan")),
            r"annotations\.0\.predicted_iou: Input should be a finite number",
        ),
        (
            changed(segmentation={"size": [6, 4], "counts": "0"}),
            r"the file: expected masks of the picture's size \[4, 6\], got \[6, 4\] for the mask with id 7",
        ),
    ],
)
def test_what_is_no_record_is_refused_with_the_field(content, reason):
    with pytest.raises(RecordError, match=f"cannot read the given bytes as an SA-1B record: {reason}"):
        read_image_record(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read .*gone\.json: No such file or directory; check the path"):
        read_image_record(tmp_path / "gone.json")


@pytest.mark.skipif(not TRAIN.is_dir(), reason="needs the training shards of ../shared/data")
@pytest.mark.parametrize("shard", ["strawberries", "dishes", "bsds500", "retina"])
def test_real_records_come_back_byte_for_byte(shard):
    with tarfile.open(TRAIN / f"{shard}.tar") as tar:
        contents = [tar.extractfile(member).read() for member in tar if member.name.endswith(".json")][:20]
    assert contents
    for content in contents:
        record = read_image_record(content)
        assert isinstance(record, ImageRecord)
        assert record.to_json() == content
        theirs = record.annotations[0]
        ours = MaskRecord.from_mask(
            theirs.mask,
            theirs.id,
            predicted_iou=1.0,
            stability_score=1.0,
            point_coords=[deepest_point(theirs.mask)],
            category=theirs.category,
        )
        assert ours == theirs
