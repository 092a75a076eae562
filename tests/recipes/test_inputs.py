"""Which pictures a job has, what they are called, and their numbers."""

import os
from pathlib import Path

import pytest
from tests.data.layouts import picture, write, write_shard

from opensam.recipes.inputs import find_pictures

OUT = Path("nowhere/out")


def names(*paths: Path, out: Path = OUT) -> list[tuple[int, str]]:
    return [(one.number, one.file_name(one.read())) for one in find_pictures(paths, out)]


def test_a_folder_is_listed_by_the_bytes_of_its_paths_without_what_is_hidden_or_no_picture(tmp_path: Path) -> None:
    files = ["b.png", "a/z.JPG", "a/é.png", "a.webp", "C.png", ".hidden/c.png", ".d.png", "notes.txt", "a/movie.mp4"]
    write(tmp_path, dict.fromkeys(files, b"x"))
    inputs = find_pictures([tmp_path], OUT)
    assert [one.file_name(b"") for one in inputs] == ["C.png", "a.webp", "a/z.JPG", "a/é.png", "b.png"]
    assert [one.number for one in inputs] == [1, 2, 3, 4, 5]
    assert [one.stem for one in inputs] == ["C", "a", "a/z", "a/é", "b"]
    assert inputs.others == 2
    assert inputs[3].path == tmp_path / "a/z.JPG"


def test_several_folders_give_their_names_and_single_pictures_come_first(tmp_path: Path) -> None:
    write(tmp_path, {"x/a.png": b"1", "y/a.png": b"2", "z/c.png": b"3", "z/b.png": b"4"})
    paths = [tmp_path / "y", tmp_path / "z/c.png", tmp_path / "x", tmp_path / "z/b.png"]
    assert names(*paths) == [(1, "b.png"), (2, "c.png"), (3, "x/a.png"), (4, "y/a.png")]
    assert find_pictures(paths, OUT).digest() == find_pictures(paths[::-1], OUT).digest()


def test_tars_give_the_name_of_the_data_set_and_pictures_the_suffix_of_what_they_are(tmp_path: Path) -> None:
    write_shard(tmp_path / "set-001.tar", {"c.jpg": picture(), "c.json": b"{}", "readme.txt": b"x"})
    write_shard(tmp_path / "set-000.tar", {"deep/b.png": picture(), "a.png": picture()})
    write_shard(tmp_path / "sa_7.tar", {"d.png": picture()})
    assert names(tmp_path) == [(1, "sa_7/d.png"), (2, "set/b.png"), (3, "set/a.png"), (4, "set/c.png")]
    assert names(tmp_path / "sa_7.tar") == [(1, "sa_7/d.png")]
    assert find_pictures([tmp_path], OUT)[4].read() == picture()


def test_the_folder_of_the_job_is_not_listed_where_it_lies_among_the_pictures(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": b"x", "masks/a/0.png": b"x", "masks2/b.png": b"x"})
    assert names(tmp_path, out=tmp_path / "masks") == [(1, "a.png"), (2, "masks2/b.png")]
    with pytest.raises(ValueError, match="expected another folder than that of the pictures as --out, got"):
        find_pictures([tmp_path], tmp_path / "masks/..")


def test_another_list_of_pictures_has_another_digest(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": b"x", "b.png": b"x"})
    before = find_pictures([tmp_path], OUT).digest()
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    assert find_pictures([tmp_path], OUT).digest() != before


@pytest.mark.parametrize("other", ["a.jpg", "A.png"])
def test_pictures_whose_masks_would_have_one_name_are_refused(tmp_path: Path, other: str) -> None:
    write(tmp_path, {"a.png": b"x", other: b"x", "b.png": b"x"})
    with pytest.raises(ValueError, match=r"differ in more than the suffix or the case of letters, got [aA] twice"):
        find_pictures([tmp_path], OUT)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, r"expected a picture, a folder or a tar, got .*photos, which does not exist; check the path"),
        ({"photos/.keep": ""}, r"expected pictures \(\.bmp, .*\), got none in .*photos; check the path"),
        ({"photos/notes.txt": ""}, r"expected pictures \(.*\), got none among 1 files in .*photos"),
        ({"photos/a.tar": b"no tar"}, r"expected a readable uncompressed tar, got .*a\.tar"),
    ],
)
def test_where_there_is_nothing_to_do_it_says_so(tmp_path: Path, files: dict[str, bytes | str], sentence: str) -> None:
    write(tmp_path, files)
    with pytest.raises(ValueError, match=sentence):
        find_pictures([tmp_path / "photos"], OUT)


def test_names_that_are_no_unicode_are_written_as_numbers(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    (one,) = find_pictures([tmp_path], OUT)
    assert (one.stem, one.read()) == ("\\xff", b"x")
