"""Indexed tars."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.data.layouts import MASK, picture, record, write_shard

from opensam.data.sa1b import ShardError
from opensam.data.tars import LabelledTars, Tars, index_tar
from opensam.masks import decode_rle

MEMBERS = {"b.png": picture(), "b.json": record("b"), "./a.json": record("a"), "./a.png": picture()}


def test_pictures_and_records_are_found_in_any_order(tmp_path: Path) -> None:
    extra = {"._b.png": b"left by a Mac", "notes.txt": b"other files are left alone"}
    tars = LabelledTars("farm", [write_shard(tmp_path / "farm.tar", MEMBERS | extra)])
    assert [tars.key(i) for i in range(len(tars))] == ["b", "a"]
    for i in range(2):
        source = tars.read(i)
        assert source.picture == picture()
        assert (decode_rle(source.masks[0]) == MASK).all()


def test_an_index_entry_takes_tens_of_bytes(tmp_path: Path) -> None:
    index = index_tar(write_shard(tmp_path / "sa.tar", {"sa_11186000.jpg": picture(), "sa_11186000.json": record("a")}))
    assert index.itemsize <= 43


def test_several_tars_are_one_data_set(tmp_path: Path) -> None:
    shards = [write_shard(tmp_path / f"x-{n}.tar", {f"{n}.png": picture(), f"{n}.json": record("a")}) for n in "012"]
    tars = LabelledTars("x", shards)
    assert [tars.read(i).name for i in range(3)] == ["0", "1", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such file names")
def test_names_that_are_no_utf8_are_kept_apart(tmp_path: Path) -> None:
    members = {}
    for raw in (b"caf\xe9", b"caf\xe8"):
        name = os.fsdecode(raw)
        members |= {f"{name}.png": picture(), f"{name}.json": record("a")}
    tars = LabelledTars("x", [write_shard(tmp_path / "x.tar", members)])
    assert [tars.read(i).name for i in range(2)] == ["caf\\xe9", "caf\\xe8"]


BROKEN = {
    "empty": ({}, "expected pictures"),
    "no record": ({"a.png": picture(), "b.png": picture(), "b.json": record("b")}, "a without a record"),
    "no picture": ({"a.json": record("a")}, "a without a picture"),
    "same name in two folders": ({"x/a.png": picture(), "y/a.png": picture()}, "'a' twice"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_tar_that_is_no_data_set_is_refused_when_it_is_opened(tmp_path: Path, broken: str) -> None:
    members, sentence = BROKEN[broken]
    with pytest.raises(ShardError, match=sentence) as error:
        LabelledTars("bad", [write_shard(tmp_path / "bad.tar", members)])
    assert "bad.tar" in str(error.value)


def test_one_name_in_two_tars_of_a_data_set_is_refused(tmp_path: Path) -> None:
    shards = [write_shard(tmp_path / f"x-{n}.tar", MEMBERS) for n in "01"]
    with pytest.raises(ShardError, match="the tars of x, got 'a' twice"):
        LabelledTars("x", shards)


@pytest.mark.parametrize("broken", ["compressed", "cut short", "no tar"])
def test_a_damaged_tar_is_refused_by_name(tmp_path: Path, broken: str) -> None:
    shard = write_shard(tmp_path / "bad.tar", MEMBERS, "w:gz" if broken == "compressed" else "w")
    if broken == "cut short":
        shard.write_bytes(shard.read_bytes()[:700])
    if broken == "no tar":
        shard.write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(ShardError, match=r"readable uncompressed tar, got .*bad\.tar"):
        LabelledTars("bad", [shard])


def test_pictures_alone_need_no_records(tmp_path: Path) -> None:
    tars = Tars("x", [write_shard(tmp_path / "x.tar", {"a.png": picture(), "b.png": b"1", "b.json": b"{"})])
    assert [tars.picture(i) for i in range(len(tars))] == [picture(), b"1"]
