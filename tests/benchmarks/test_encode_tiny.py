"""The benchmark of the TinyViT encoder writes what it measured, and nothing if the sides differ."""

import json

import pytest

from benchmarks import encode_tiny

SHORT = ["--device", "cpu", "--image-size", "64", "--repeats", "1", "--precision", "float32", "bf16", "--out"]


def test_a_short_run_writes_times_and_errors_of_every_side(tmp_path):
    encode_tiny.main([*SHORT, str(tmp_path)])
    figures = json.loads((tmp_path / "encode_tiny_cpu.json").read_text())["medians"]
    assert list(figures) == ["plain float32", "plain bf16", "inference float32", "inference bf16"]
    assert figures["plain float32"]["relative_error"] == 0
    assert 0 < figures["inference float32"]["relative_error"] < 1e-5 < figures["inference bf16"]["relative_error"]
    assert "| inference bf16 |" in (tmp_path / "encode_tiny_cpu.md").read_text()


def test_sides_that_differ_are_no_result(tmp_path, monkeypatch):
    monkeypatch.setitem(encode_tiny.WORST_ERROR, "float32", 1e-12)
    with pytest.raises(ValueError, match="expected the embeddings of the plain network"):
        encode_tiny.main([*SHORT, str(tmp_path)])
    assert not list(tmp_path.iterdir())
