"""Files of LabelMe: ours give the masks back, those of the program its shapes."""

import json

import numpy as np
import pytest
from tests.records.examples import SIZE, awkward, box, only, picture_of

from opensam.data.labelme import read_labelme
from opensam.masks import decode_rle
from opensam.records.formats import FORMATS


def test_what_we_write_is_read_as_it_was():
    masks = [mask for name, mask in awkward().items() if name != "noise"]
    content = only(FORMATS["labelme"].files(picture_of(*masks, name="farm/a.jpg"), "a"), "a.json").encode()
    found = read_labelme(content, SIZE)
    assert (found.file_name, found.size, found.left_out) == ("a.jpg", SIZE, 0)
    assert len(found.masks) == len(masks)
    for (_, rle), mask in zip(found.masks, masks, strict=True):
        np.testing.assert_array_equal(decode_rle(rle), mask)


def test_shapes_of_one_group_are_one_object_and_points_none():
    square = {"label": "a", "shape_type": "polygon", "points": [[1, 1], [3, 1], [3, 3], [1, 3]], "group_id": 0}
    block = {"label": "a", "shape_type": "rectangle", "points": [[9, 9], [7, 7]], "group_id": 0}
    other = square | {"label": "b"}
    point = {"label": "c", "shape_type": "point", "points": [[3, 3]]}
    found = read_labelme(json.dumps({"shapes": [square, other, point, block]}).encode(), SIZE)
    assert [label for label, _ in found.masks] == ["a", "b"]
    assert (found.file_name, found.size, found.left_out) == ("", None, 1)
    np.testing.assert_array_equal(decode_rle(found.masks[0][1]), box(1, 1, 4, 4) | box(7, 7, 10, 10))


@pytest.mark.parametrize(
    "content",
    [
        {"shapes": [], "imageHeight": 3, "imageWidth": 3},
        {"shapes": [{"label": "a", "shape_type": "spiral", "points": [[1, 1]]}]},
        {"shapes": [{"label": "a", "shape_type": "mask", "points": [[1, 1]], "mask": "no image"}]},
        {"shapes": [{"label": "a", "shape_type": "circle", "points": [[1, 1], [1e400, 1]]}]},
        {"shapes": [{"shape_type": "polygon", "points": [[1, 1]]}]},
        {"shapes": 4},
        [],
        {},
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(ValueError, match=r"expected|the file is about a picture of 3 x 3 pixels, not 36 x 24"):
        read_labelme(json.dumps(content).encode(), SIZE)
