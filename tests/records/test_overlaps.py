"""Overlaps: what is compared as run lengths is what the pixels say."""

import json
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco
from tests.records.examples import SIZE, awkward, box, masks_of, picture_of

from opensam.masks import mask_iou
from opensam.records import ImageRecord, read_image_record
from opensam.records.overlaps import containment_tree, label_map, mask_iou_matrix, mask_nms

EMPTY = np.zeros(SIZE, dtype=bool)


def ids(masks):
    return [mask.id for mask in masks]


def tree(*masks, threshold=0.95):
    return [
        (getattr(mask, "parent", None), mask.level) for mask in containment_tree(masks_of(*masks), threshold=threshold)
    ]


def test_iou_of_each_pair_is_that_of_the_pixels():
    masks = [*awkward().values(), EMPTY]
    expected = mask_iou(np.stack(masks), np.stack(masks))
    np.testing.assert_allclose(mask_iou_matrix(masks_of(*masks)), expected, rtol=1e-6)
    assert mask_iou_matrix([]).shape == (0, 0)


def test_iou_of_more_masks_than_a_byte_can_count():
    masks = [box(n % 30, n % 7, n % 30 + 4, n % 7 + 9) for n in range(300)]
    expected = mask_iou(np.stack(masks), np.stack(masks))
    np.testing.assert_allclose(mask_iou_matrix(masks_of(*masks)), expected, rtol=1e-6)


def test_nms_keeps_the_better_of_two_that_overlap():
    masks = [box(0, 0, 10, 10), box(0, 0, 10, 9), box(0, 0, 10, 6), box(20, 0, 30, 10)]
    kept = mask_nms(masks_of(*masks, scores=[0.8, 0.9, 0.7, 0.95]), 0.7)
    assert ids(kept) == [4, 2, 3]  # 3 overlaps 2 with 0.67


def test_nms_compares_masks_where_boxes_are_equal():
    upper, lower = np.tri(24, 24, dtype=bool), ~np.tri(24, 24, dtype=bool)
    masks = [np.pad(one, ((0, 0), (0, 12))) for one in (upper, lower)]
    assert ids(mask_nms(masks_of(*masks), 0.1)) == [1, 2]


def test_nms_keeps_the_first_of_equals_and_what_only_a_removed_mask_overlaps():
    masks = [box(0, 0, 10, 10), box(2, 0, 12, 10), box(4, 0, 14, 10)]  # 1 and 2: 0.67, 1 and 3: 0.43
    assert ids(mask_nms(masks_of(*masks), 0.5)) == [1, 3]
    assert ids(mask_nms(masks_of(*masks, scores=[0.5, 0.6, 0.5]), 0.5)) == [2]
    assert ids(mask_nms(masks_of(*masks), 0.67)) == [1, 2, 3]


def test_nms_equals_the_plain_way_on_random_masks():
    rng = np.random.default_rng(5)
    corners = rng.integers(0, 14, (80, 2))
    masks = [box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, rng.integers(1, 12, (80, 2)), strict=True)]
    records = masks_of(*masks, scores=rng.integers(0, 9, 80).tolist())
    ious = mask_iou_matrix(records)
    kept = []
    for row in sorted(range(80), key=lambda row: -records[row].predicted_iou):
        if all(ious[row, other] <= 0.4 for other in kept):
            kept.append(row)
    assert 5 < len(kept) < 60
    assert ids(mask_nms(records, 0.4)) == [row + 1 for row in kept]


def test_label_map_shows_parts_on_their_wholes_whatever_the_order():
    whole, part, subpart = box(0, 0, 20, 20), box(2, 2, 12, 12), box(4, 4, 6, 6)
    labels = label_map(picture_of(part, subpart, whole))
    assert labels.shape == SIZE
    assert [labels[0, 0], labels[2, 2], labels[4, 4], labels[21, 0]] == [3, 1, 2, 0]
    np.testing.assert_array_equal(label_map(picture_of(subpart, whole, part)) == 2, labels == 3)


def test_label_map_gives_equal_masks_to_the_first():
    labels = label_map(picture_of(box(0, 0, 4, 4), box(0, 0, 4, 4), EMPTY, box(2, 0, 6, 4)))
    assert np.unique(labels).tolist() == [0, 1, 4]
    assert labels[0].tolist()[:7] == [1, 1, 1, 1, 4, 4, 0]


def test_label_map_has_every_pixel_that_a_mask_has():
    masks = list(awkward().values())
    labels = label_map(picture_of(*masks))
    np.testing.assert_array_equal(labels > 0, np.any(masks, axis=0))
    for label in np.unique(labels[labels > 0]):
        assert masks[label - 1][labels == label].all()
    assert not label_map(picture_of()).any()


def test_tree_names_wholes_parts_and_subparts():
    masks = [box(4, 4, 6, 6), box(0, 0, 20, 20), box(2, 2, 12, 12), box(25, 0, 30, 5), box(4, 4, 5, 5)]
    assert tree(*masks) == [(3, "subpart"), (None, "whole"), (2, "part"), (None, "whole"), (1, "subpart")]


def test_tree_counts_the_share_that_is_inside():
    masks = [box(0, 0, 20, 10), box(10, 0, 20, 20)]  # half of the smaller, 2 by 10, lies inside
    part = box(16, 8, 18, 18) & ~box(16, 10, 18, 18) | box(16, 10, 17, 12)
    assert tree(masks[0], part, threshold=0.66) == [(None, "whole"), (1, "part")]
    assert tree(masks[0], part, threshold=0.67) == [(None, "whole"), (None, "whole")]


def test_tree_chooses_the_smallest_parent_and_of_equals_the_first():
    masks = [box(0, 0, 20, 20), box(0, 0, 10, 10), box(0, 0, 10, 10), box(1, 1, 4, 4)]
    assert tree(*masks) == [(None, "whole"), (1, "part"), (1, "part"), (2, "subpart")]


def test_tree_of_empty_masks_and_of_none():
    assert tree(EMPTY, box(0, 0, 9, 9), EMPTY, threshold=0) == [(None, "whole")] * 3
    assert containment_tree([]) == []


def test_tree_is_written_into_the_record_and_read_again():
    record = picture_of(box(0, 0, 20, 20), box(2, 2, 12, 12))
    grown = ImageRecord(image=record.image, annotations=containment_tree(record.annotations))
    content = json.loads(grown.to_json())["annotations"]
    assert [(mask.get("parent"), mask["level"]) for mask in content] == [(None, "whole"), (1, "part")]
    again = read_image_record(grown.to_json())
    assert again == grown
    assert containment_tree(again.annotations) == again.annotations
    [alone] = containment_tree(again.annotations[1:])
    assert "parent" not in alone.to_dict()
    assert "level" not in record.annotations[0].to_dict()


def test_masks_of_20000_by_20000_pixels_are_compared_without_unpacking_them():
    side = 20_000
    runs = {"whole": [0, side * side], "half": [0, side * side // 2, side * side // 2]}
    masks = [huge(number, counts, side) for number, counts in enumerate(runs.values(), start=1)]
    tracemalloc.start()
    assert mask_iou_matrix(masks).tolist() == [[1, 0.5], [0.5, 1]]
    assert ids(mask_nms(masks, 0.4)) == [1]
    assert [mask.level for mask in containment_tree(masks)] == ["whole", "part"]
    assert tracemalloc.get_traced_memory()[1] < 1e6  # bytes; one mask has 4e8 pixels
    tracemalloc.stop()


def huge(number, runs, side):
    rle = coco.frPyObjects({"counts": runs, "size": [side, side]}, side, side)
    segmentation = {"size": [side, side], "counts": rle["counts"].decode()}
    return masks_of(box(0, 0, 1, 1))[0].model_copy(update={"id": number, "segmentation": segmentation})


@pytest.mark.parametrize("compare", [mask_iou_matrix, lambda masks: mask_nms(masks, 0.5), containment_tree])
def test_masks_of_two_pictures_and_damaged_masks_are_refused(compare):
    first, second = masks_of(box(0, 0, 4, 4), box(0, 0, 4, 4))
    [other] = masks_of(box(0, 0, 4, 4, size=(9, 9)))
    with pytest.raises(ValueError, match=r"masks of one picture, got sizes \[24, 36\] and \[9, 9\]"):
        compare([first, other.model_copy(update={"id": 2})])
    second.segmentation["counts"] = "5220007"
    with pytest.raises(ValueError, match="runs fill its size"):
        compare([first, second])


def test_thresholds_and_ids_that_make_no_sense_are_refused():
    masks = masks_of(box(0, 0, 4, 4))
    with pytest.raises(ValueError, match=r"iou_thresh as a share from 0 to 1, got 70"):
        mask_nms(masks, 70)
    with pytest.raises(ValueError, match=r"threshold as a share from 0 to 1, got nan"):
        containment_tree(masks, float("nan"))
    with pytest.raises(ValueError, match="different ids, got one twice"):
        containment_tree(masks * 2)
