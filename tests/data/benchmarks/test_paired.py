"""Pictures and labels that belong together by their names."""

from pathlib import Path

import pytest
from tests.data.benchmarks.kinds import DRAWN, labelled, noise
from tests.data.layouts import write

from opensam.data.benchmarks.labels import regions
from opensam.data.benchmarks.paired import Paired
from opensam.masks import decode_rle

FIRST = labelled(DRAWN[0])


def paired(
    root: Path, pictures: str, labels: str | tuple[str, ...], only: str = "", listed: str | None = None
) -> Paired:
    return Paired("farm", root, pictures=pictures, labels=labels, read=regions, only=only, listed=listed)


def test_names_with_brackets_and_braces_are_names(tmp_path: Path) -> None:
    write(tmp_path, {"in/a[1]{0}*.png": noise(), "out/a[1]{0}*.png": FIRST, "out/a1{0}x.png": FIRST})
    for labels in ("out/{0}.png", "out/{0}.*"):
        data = paired(tmp_path, "in/*.png", labels)
        assert data.key(0) == "in/a[1]{0}*"
        assert len(data.read(0).masks) == 2


def test_folders_may_be_none_one_or_many(tmp_path: Path) -> None:
    places = ("a", "x/b", "x/y/c")
    write(tmp_path, {f"in/{place}.jpg": noise(".jpg") for place in places})
    write(tmp_path, {f"out/{place}.png": FIRST for place in places})
    data = paired(tmp_path, "in/**/*.jpg", "out/{0}{1}.png")
    assert [data.key(i) for i in range(3)] == ["in/a", "in/x/b", "in/x/y/c"]
    assert all((decode_rle(data.masks(i)[1]) == DRAWN[0][1]).all() for i in range(3))


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"in/a.bmp": noise(".bmp"), "in/Thumbs.db": b"", "in/.hidden.png": b"", "out/a.png": FIRST})
    assert len(paired(tmp_path, "in/*.*", "out/{0}.*")) == 1


def test_some_pictures_can_be_chosen_by_path_or_list(tmp_path: Path) -> None:
    write(tmp_path, {f"in/{name}.png": noise() for name in "abc"} | {f"out/{name}.png": FIRST for name in "abc"})
    write(tmp_path, {"some.txt": "c\na\n", "more.txt": "a\nd\n"})
    chosen = paired(tmp_path, "in/*.png", "out/{0}.png", only="in/[bc]")
    assert [chosen.key(i) for i in range(len(chosen))] == ["in/b", "in/c"]
    listed = paired(tmp_path, "in/*.png", "out/{0}.png", listed="some.txt")
    assert [listed.key(i) for i in range(len(listed))] == ["in/a", "in/c"]
    with pytest.raises(ValueError, match=r"the picture d, which .*more\.txt lists"):
        paired(tmp_path, "in/*.png", "out/{0}.png", listed="more.txt")
    with pytest.raises(ValueError, match=r"cannot read .*none\.txt: No such file"):
        paired(tmp_path, "in/*.png", "out/{0}.png", listed="none.txt")


def test_one_missing_label_is_an_error_of_its_picture_alone(tmp_path: Path) -> None:
    write(tmp_path, {"in/a.png": noise(), "in/b.png": noise(), "out/a.png": FIRST})
    data = paired(tmp_path, "in/*.png", "out/{0}.png")
    assert len(data.masks(0)) == 2
    with pytest.raises(ValueError, match=r"expected the labels .*out/b\.png of .*in/b\.png, got none"):
        data.masks(1)
