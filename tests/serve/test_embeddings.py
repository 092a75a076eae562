import errno
from pathlib import Path

import pytest
import torch

from opensam.geometry import Resize
from opensam.predictor import ImageEmbedding
from opensam.serve.embeddings import EmbeddingCache, embedding_id
from opensam.serve.metrics import Metrics

SIZE = 32  # bytes of each embedding here


def embedding(value: float = 0) -> ImageEmbedding:
    return ImageEmbedding(torch.full((1, 2, 2, 2), float(value)), Resize((4, 4), 64), "model")


def cache(folder: Path | None, memory: int = 10 * SIZE, disk: int = 100 * SIZE) -> EmbeddingCache:
    return EmbeddingCache(folder, memory, disk, Metrics())


def test_the_id_depends_on_picture_and_model() -> None:
    ids = {embedding_id(b"a", "m"), embedding_id(b"b", "m"), embedding_id(b"a", "n"), embedding_id(b"am", "")}
    assert len(ids) == 4
    assert all(len(one) == 64 for one in ids)


def test_memory_is_bounded_and_the_longest_unused_goes() -> None:
    one = cache(None, memory=2 * SIZE)
    for key in ("a", "b"):
        one.put(key, embedding())
    one.get("a")
    one.put("c", embedding())
    assert [one.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    assert one.memory_bytes == 2 * SIZE


def test_what_left_memory_comes_back_from_disk(tmp_path: Path) -> None:
    one = cache(tmp_path, memory=SIZE)
    for number, key in enumerate("abc"):
        one.put(key, embedding(number))
    assert one.get("a").embeddings[0, 0, 0, 0] == 0
    assert one.get("b").embeddings[0, 0, 0, 0] == 1


def test_the_next_server_finds_what_was_kept(tmp_path: Path) -> None:
    cache(tmp_path).put("a", embedding(7))
    again = cache(tmp_path)
    assert again.get("a").embeddings[0, 0, 0, 0] == 7
    assert again.get("a").resize.original_size == (4, 4)


def test_the_disk_is_bounded_also_for_what_was_there_before(tmp_path: Path) -> None:
    one = cache(tmp_path, memory=0, disk=3 * SIZE)
    for key in "abcde":
        one.put(key, embedding())
    assert sorted(path.stem for path in tmp_path.glob("*.safetensors")) == ["c", "d", "e"]
    size = next(tmp_path.glob("*.safetensors")).stat().st_size  # with its header
    cache(tmp_path, disk=2 * size)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_damaged_file_is_a_miss(tmp_path: Path) -> None:
    cache(tmp_path).put("a", embedding())
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    again = cache(tmp_path)
    assert again.get("a") is None
    assert not (tmp_path / "a.safetensors").exists()


def test_a_file_that_vanished_is_a_miss(tmp_path: Path) -> None:
    one = cache(tmp_path, memory=0)
    one.put("a", embedding())
    (tmp_path / "a.safetensors").unlink()
    assert one.get("a") is None


def test_a_full_disk_costs_a_line_in_the_log_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ImageEmbedding, "save", full)
    one = cache(tmp_path)
    one.put("a", embedding())
    assert one.get("a") is not None
    assert "not kept on disk" in caplog.text


def test_a_folder_that_cannot_be_made_leaves_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = cache(tmp_path / "file" / "folder")
    one.put("a", embedding())
    assert one.get("a") is not None
