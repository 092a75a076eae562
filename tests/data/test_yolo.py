import numpy as np
import pytest

from opensam.data.yolo import read_yolo, read_yolo_names
from opensam.masks import decode_rle


def test_a_line_is_a_class_and_a_polygon_in_shares():
    text = "2 0 0 0.5 0 0.5 1 0 1\n\n0 0.5 0.5 0.1 0.1\nx 0 0 1 0 1 0.5 0 0.5 0.98\n"
    masks = read_yolo(text, (10, 20))
    assert [mask.number for mask in masks] == [2, -1]  # the second line is a box
    expected = np.zeros((10, 20), dtype=bool)
    expected[:, :10] = True
    np.testing.assert_array_equal(decode_rle(masks[0].rle), expected)
    assert decode_rle(masks[1].rle)[:5].all()


@pytest.mark.parametrize("line", ["0 0 0 hello 0 1 1", "0 0 0 7 0 1 1", "0 nan 0 0.5 0 1 1"])
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError, match="got line 2"):
        read_yolo(f"\n{line}", (10, 20))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('names:\n  0: "a: b"\n  1: cow\nnc: 2\n', {0: "a: b", 1: "cow"}),
        ("train: x\nnames:\n- cow\n- 'it''s'\nval: y\n", {0: "cow", 1: "it's"}),
        ("names: [cow, 'big dog', \"a, b\"]\n", {0: "cow", 1: "big dog", 2: "a, b"}),
        ("names:\n  5: cow\n\n  7: pig\n", {5: "cow", 7: "pig"}),
        ("nc: 3\n", {}),
        ("names: {0: cow}\n", {}),
        ("", {}),
    ],
)
def test_names_of_classes_in_every_way_that_is_in_use(text, names):
    assert read_yolo_names(text) == names
