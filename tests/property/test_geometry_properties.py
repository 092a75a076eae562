"""Properties of Resize that hold for every picture."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from opensam.geometry import Resize

sides = st.integers(1, 20000)
resizes = st.builds(Resize, st.tuples(sides, sides), st.sampled_from([64, 256, 512, 1000, 1024, 1536]))
fractions = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(resizes, fractions)
def test_there_and_back_is_the_same_point(resize, fraction):
    height, width = resize.original_size
    points = np.array([[fraction[0] * width, fraction[1] * height]])
    given = points.copy()
    moved = resize.apply_coords(points)
    assert (moved >= 0).all()
    assert (moved <= np.array(resize.input_size[::-1]) * (1 + 1e-12)).all()
    np.testing.assert_allclose(resize.restore_coords(moved), points, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(points, given)


@given(resizes, fractions, fractions)
def test_there_and_back_is_the_same_box_in_float32(resize, corner, other):
    height, width = resize.original_size
    frame = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = torch.tensor([[*corner, *other]], dtype=torch.float32) * frame
    given = boxes.clone()
    back = resize.restore_boxes(resize.apply_boxes(boxes))
    assert back.dtype == torch.float32
    # 1e-3 px up to pictures of 8192 px; beyond, float32 itself is coarser.
    torch.testing.assert_close(back, boxes, rtol=0, atol=max(1e-3, 4e-7 * max(height, width)))
    assert torch.equal(boxes, given)


@given(resizes)
def test_the_picture_fills_the_square_and_keeps_its_shape(resize):
    height, width = resize.input_size
    assert max(height, width) == resize.image_size
    assert min(height, width) >= 1
    for side, original in zip(resize.input_size, resize.original_size, strict=True):
        assert abs(side - original * resize.scale) <= 0.5 or side == 1
