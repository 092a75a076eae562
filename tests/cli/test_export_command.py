"""`opensam export`: its words, and what it says when they are wrong."""

import pytest
import torch
from typer.testing import CliRunner

from opensam.cli import app
from opensam.models import checkpoints
from opensam.models.sam import Sam, SamConfig
from opensam.models.vit import ViTConfig

CONFIG = SamConfig(image_encoder=ViTConfig(embed_dim=16, depth=1, num_heads=1, global_attn_indexes=(0,), image_size=64))


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "small.safetensors"
    checkpoints.save(Sam(CONFIG, "small"), path)
    return path


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_a_folder_for_transformers(checkpoint, tmp_path):
    done = run("transformers", "--checkpoint", checkpoint, "--out", tmp_path / "hub")
    assert done.exit_code == 0, done.output
    assert {file.name for file in (tmp_path / "hub").iterdir()} == {
        "config.json", "model.safetensors", "opensam.json", "preprocessor_config.json",
    }  # fmt: skip


def test_a_file_for_the_official_code_is_named_after_the_model(checkpoint, tmp_path):
    done = run("torch", "--checkpoint", checkpoint, "--out", tmp_path / "pth")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "pth" / "small.pth")
    assert (tmp_path / "pth" / "small.pth").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["onnx", "tiny", "more"], "expected at most a format of onnx, transformers, torch and one model"),
        (["coreml"], "expected the name of a model, got 'coreml'"),
        (["tiny", "--precision", "float32,int2"], "expected --precision of float32, fp16, int8, got int2"),
        (["transformers", "tiny", "--out", "hub"], "expected the weights of a sam_vit_"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_code_2(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_embedded_model_passes_its_check_against_torch(tmp_path):
    done = run("--out", tmp_path / "onnx")
    assert done.exit_code == 0, done.output
    assert "| float32 |" in done.stdout
    assert (tmp_path / "onnx" / "decoder.onnx").is_file()
