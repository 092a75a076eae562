"""Properties of records that hold for every content."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from opensam.records import ImageInfo, ImageRecord, MaskRecord, read_image_record

numbers = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def records(draw):
    height, width = draw(array_shapes(min_dims=2, max_dims=2, max_side=12))
    annotations = [
        MaskRecord.from_mask(
            draw(arrays(bool, (height, width))),
            mask_id,
            predicted_iou=draw(st.floats(allow_nan=False, allow_infinity=False)),
            stability_score=draw(st.floats(0, 1)),
            point_coords=draw(st.lists(st.tuples(numbers, numbers), max_size=3)),
            crop_box=draw(st.none() | st.tuples(numbers, numbers, numbers, numbers)),
            category=draw(st.none() | texts),
        )
        for mask_id in range(draw(st.integers(0, 3)))
    ]
    image = ImageInfo(image_id=draw(st.integers(0, 2**53)), width=width, height=height, file_name=draw(texts))
    return ImageRecord(image=image, annotations=annotations)


@given(records())
def test_write_read_write_gives_the_same_bytes(record):
    content = record.to_json()
    again = read_image_record(content)
    assert again == record
    assert again.to_json() == content
