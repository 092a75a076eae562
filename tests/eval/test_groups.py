"""CSV files of groups, and the masks that they are about."""

import numpy as np
import pytest
from tests.eval.synthetic_eval import disk, picture, rectangle, write_shard

from opensam.data.dataset import InMemory, Source
from opensam.data.specs import open_datasets
from opensam.eval.groups import find_masks, match_masks, read_groups
from opensam.masks import encode_rle

SIZE = (60, 80)
MASKS = [rectangle(SIZE, 10, 8, 29, 39), disk(SIZE, (60, 30), 9), rectangle(SIZE, 11, 8, 30, 39)]


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def memory(name, **images):
    sources = [Source(name, key, b"", tuple(encode_rle(mask) for mask in masks)) for key, masks in images.items()]
    return InMemory(name, sources)


def test_numbers_boxes_and_groups_are_read(tmp_path):
    table = read_groups(
        write(tmp_path / "a.csv", "dataset,image,mask,age,skin tone", "d,x/a.jpg,1,young,", ",b,0,old,3")
    )
    assert table.attributes == ("age", "skin tone")
    assert [(one.line, one.dataset, one.image, one.mask, one.groups) for one in table.members] == [
        (2, "d", "x/a", 1, {"age": "young"}),
        (3, None, "b", 0, {"age": "old", "skin tone": "3"}),
    ]
    boxed = read_groups(write(tmp_path / "b.csv", "image,x,y,w,h,age,note", "a,1.5,2,3,4,young,?"), ["age"])
    assert (boxed.members[0].box, boxed.members[0].mask, boxed.attributes) == ((1.5, 2, 3, 4), None, ("age",))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["image,age", "a,young"], "either a column mask or the columns x, y, w, h in .*a.csv, got image, age"),
        (["image,x,y,w,age", "a,1,1,1,young"], "either a column mask or the columns x, y, w, h"),
        (["image,mask,x,y,w,h,age", "a,1,1,1,1,1,young"], "either a column mask or the columns x, y, w, h"),
        (["image,mask", "a,1"], "a column per attribute in .*a.csv beside image, mask, got none"),
        (["image,mask,age", "a,1,"], "groups in the column age of .*a.csv, got empty cells only"),
        (["image,mask,age", "a,first,young"], "number of a mask, from 0, in .*a.csv line 2, got 'first'"),
        (["image,mask,age", "a,-1,young"], "line 2, got '-1'"),
        (["image,mask,age", ",1,young"], "name of an image in .*a.csv line 2"),
        (["image,mask,age", "a,1,young", "a.png,1,old"], "got lines 2 and 3 about the same one"),
        (["image,x,y,w,h,age", "a,1,1,1,e,young"], "numbers as x, y, w, h in .*a.csv line 2"),
        (["image,x,y,w,h,age", "a,1,1,0,4,young"], "w and h above 0 in .*a.csv line 2"),
        (["image,x,y,w,h,age", "a,1,1,nan,4,young"], "w and h above 0 in .*a.csv line 2"),
        (["image,mask,age", *(f"a,{n},{n}" for n in range(51))], "at most 50 groups .* got 51 in age"),
    ],
)
def test_a_csv_that_makes_no_sense_is_refused_with_its_line(lines, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_groups(write(tmp_path / "a.csv", *lines))


@pytest.mark.parametrize("name", ["ages", "mask"])
def test_an_attribute_that_is_no_column_of_groups_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=rf"attribute that is a column of .*a.csv \(age\), got {name}"):
        read_groups(write(tmp_path / "a.csv", "image,mask,age", "a,1,young"), [name])


@pytest.mark.parametrize(
    ("box", "number"),
    [
        ("10,8,20,32", 0),  # its sides
        ("10,8,19,31", 0),  # SA-1B: a pixel short
        ("11,8,20,32", 2),  # nearer to the other one
        ("12.4,8,20,32", None),
        ("10,8,20,34", None),
    ],
)
def test_a_box_finds_the_mask_whose_sides_are_within_a_pixel(box, number, tmp_path):
    table = read_groups(write(tmp_path / "a.csv", "image,x,y,w,h,age", f"a,{box},young"))
    found, left = match_masks(table, table.members, [encode_rle(mask) for mask in MASKS])
    assert list(found) == ([] if number is None else [number])
    assert len(left) == (number is None)


@pytest.mark.parametrize(
    ("box", "fits"), [("104,100,400,200", True), ("105,100,400,200", False), ("100,103,400,200", False)]
)
def test_the_margin_of_a_large_box_is_one_percent_of_its_side(box, fits, tmp_path):
    table = read_groups(write(tmp_path / "a.csv", "image,x,y,w,h,age", f"a,{box},young"))
    found, _ = match_masks(table, table.members, [encode_rle(rectangle((600, 800), 100, 100, 499, 299))])
    assert bool(found) == fits


def test_a_number_beyond_the_masks_and_two_boxes_of_one_mask_are_refused(tmp_path):
    masks = [encode_rle(mask) for mask in MASKS]
    table = read_groups(write(tmp_path / "a.csv", "image,mask,age", "a,3,young"))
    with pytest.raises(ValueError, match=r"from 0 to 2 of a in .*a.csv line 2, got 3"):
        match_masks(table, table.members, masks)
    table = read_groups(write(tmp_path / "b.csv", "image,x,y,w,h,age", "a,10,8,20,32,young", "a,10,8,20,31.5,old"))
    with pytest.raises(ValueError, match=r"lines 2 and 3 of .*b.csv about mask 0 of a"):
        match_masks(table, table.members, masks)


def test_masks_are_found_in_their_data_sets(tmp_path):
    table = read_groups(write(tmp_path / "a.csv", "dataset,image,mask,age", "two,a,1,old", "one,a,0,young", ",b,2,old"))
    datasets = [memory("one", a=MASKS, c=MASKS), memory("two", a=MASKS, b=MASKS)]
    found = find_masks(table, datasets)
    assert {item.key: list(members) for item, members in found.members.items()} == {
        "one/a": [0],
        "two/a": [1],
        "two/b": [2],
    }
    assert [item.place for item in found.members] == [(0, 0), (1, 0), (1, 1)]
    assert found.left == {}


def test_an_image_of_two_data_sets_needs_a_column(tmp_path):
    table = read_groups(write(tmp_path / "a.csv", "image,mask,age", "a,1,old"))
    with pytest.raises(ValueError, match=r"a of .*a.csv line 2 in one data set, got it in one and two; add a column"):
        find_masks(table, [memory("one", a=MASKS), memory("two", a=MASKS)])


def test_lines_without_a_mask_end_all_or_are_listed(tmp_path):
    lines = ["a,10,8,20,32,young", "a,50,8,20,32,old", "nobody,1,1,1,1,old"]
    table = read_groups(write(tmp_path / "a.csv", "image,x,y,w,h,age", *lines))
    with pytest.raises(ValueError, match=r"a.csv line 3: its box fits no mask of one/a \(2 such .*--skip-bad"):
        find_masks(table, [memory("one", a=MASKS)])
    found = find_masks(table, [memory("one", a=MASKS)], skip=True)
    assert [list(members) for members in found.members.values()] == [[0]]
    assert found.left == {"a.csv line 3": "its box fits no mask of one/a", "a.csv line 4": "nobody is not in one"}
    with pytest.raises(ValueError, match="is not in other"):
        find_masks(table, [memory("other", z=MASKS)], skip=True)


def test_names_are_those_of_data_sets_on_disk(tmp_path):
    write_shard(tmp_path / "data" / "people-000.tar", [(picture(MASKS[:2]), MASKS[:2])])
    datasets = [dataset for dataset, _ in open_datasets([str(tmp_path / "data")])]
    table = read_groups(write(tmp_path / "a.csv", "dataset,image,mask,age", "people,people-000_0.png,1,old"))
    (item,) = find_masks(table, datasets).members
    assert np.array_equal(item.place, (0, 0))
