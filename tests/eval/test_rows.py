"""CSV files that people hand in."""

import pytest

from opensam.eval.rows import read_rows


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def test_cells_come_by_name_with_their_line(tmp_path):
    table = read_rows(write(tmp_path / "a.csv", "image, group\n\nx , 'y'\n\"p,q\",z\n"), ("image",))
    assert table.columns == ("image", "group")
    assert [(row.line, row.cells) for row in table.rows] == [
        (3, {"image": "x", "group": "'y'"}),
        (4, {"image": "p,q", "group": "z"}),
    ]
    assert table.at(table.rows[1]) == f"{tmp_path / 'a.csv'} line 4"


def test_the_mark_of_spreadsheets_is_no_part_of_a_name(tmp_path):
    assert read_rows(write(tmp_path / "a.csv", "image\nx\n", "utf-8-sig"), ("image",)).columns == ("image",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected a column image in the header of .*a.csv, got an empty line"),
        ("image;group\nx;y\n", "expected a column image in the header of .*a.csv, got image;group"),
        ("image,,b\nx,y,z\n", "a name for every column"),
        ("image,b,b\nx,y,z\n", "once, got b twice"),
        ("image,b\nx\n", "expected 2 cells in .*a.csv line 2 as in its header, got 1"),
        ("image,b\nx,y\n\nx,y,z\n", "expected 2 cells in .*a.csv line 4 as in its header, got 3"),
        ("image,b\n", "expected lines below the header of .*a.csv, got none"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(text, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        read_rows(write(tmp_path / "a.csv", text), ("image",))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*no.csv"):
        read_rows(tmp_path / "no.csv", ())
    with pytest.raises(ValueError, match=r"a.csv as UTF-8"):
        read_rows(write(tmp_path / "a.csv", "image\nä\n", "latin-1"), ())
