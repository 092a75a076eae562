"""CLIP from a folder: the same numbers as transformers, and nothing that was not asked for."""

import shutil

import numpy as np
import pytest
import torch
from tests.compose.stand_ins import SIDE, change_json, write_clip

from opensam.compose.clip import Preparation, check_folder, load_clip, read_preparation

TEXTS = ["a photo of a dog", "cat", "a photo of a very large red house"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, *write_clip(folder)


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "clip")


def pictures():
    rng = np.random.default_rng(0)
    sizes = [(SIDE, SIDE), (40, 60), (61, 33), (7, 90), (200, 199), (16, 16)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_embeddings_are_those_of_transformers(saved):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder, model, tokenizer = saved
    size = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)
    encoder = load_clip(folder)
    pixels = processor(images=pictures(), return_tensors="pt")["pixel_values"]
    prepared = np.stack([encoder.prepare(picture) for picture in pictures()])
    assert np.abs(pixels.numpy() - prepared).max() < 1e-5
    with torch.no_grad():
        expected = model(pixel_values=pixels, **tokenizer(TEXTS, padding=True, return_tensors="pt"))
    for found, embeddings in (
        (encoder.embed_images(pictures()), expected.image_embeds),
        (encoder.embed_texts(TEXTS), expected.text_embeds),
    ):
        assert torch.allclose(found, embeddings, atol=1e-5)
        assert torch.allclose(found.norm(dim=1), torch.ones(len(found)))
    assert not torch.allclose(expected.text_embeds[0], expected.text_embeds[1], atol=1e-2)  # else it shows nothing


def test_many_are_embedded_as_each_alone(saved):
    encoder = load_clip(saved[0])
    texts = [f"{'very ' * (number % 4)}{number}" for number in range(20)]
    assert torch.allclose(
        encoder.embed_texts(texts), torch.cat([encoder.embed_texts([one]) for one in texts]), atol=1e-5
    )
    images = pictures() * 3
    assert torch.allclose(encoder.embed_images(images), encoder.embed_images(pictures()).repeat(3, 1), atol=1e-5)
    assert encoder.embed_texts([]).shape == encoder.embed_images([]).shape == (0, 8)


def test_a_text_that_is_too_long_is_refused_not_cut(saved):
    with pytest.raises(ValueError, match=r"at most 40 tokens, got 52 in 'xxxx"):
        load_clip(saved[0]).embed_texts(["short", "x" * 50])


def test_weights_in_several_files_are_put_together(saved, folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:9], names[9:]), start=1):
        save_file({name: weights[name] for name in part}, folder / f"model-0000{number}-of-00002.safetensors")
    assert torch.equal(load_clip(folder).embed_texts(TEXTS), load_clip(saved[0]).embed_texts(TEXTS))


def test_weights_of_half_precision_are_computed_in_float32(saved, folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: weight.half() for name, weight in weights.items()}, folder / "model.safetensors")
    found = load_clip(folder).embed_texts(TEXTS)
    assert found.dtype == torch.float32
    assert torch.allclose(found, load_clip(saved[0]).embed_texts(TEXTS), atol=1e-2)


def only_bin(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_weights(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors")


def cut_short(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def other_sizes(folder):
    change_json(folder / "config.json", projection_dim=12)


def other_end(folder):
    text = {"vocab_size": 514, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 40, "eos_token_id": 7}
    change_json(folder / "config.json", text_config=text)


def other_model(folder):
    change_json(folder / "config.json", model_type="siglip")


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def no_json(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (only_bin, "expected model.safetensors in .*evaluation-text.md"),
        (without_weights, "expected all weights of CLIP in .*text_projection.weight"),
        (cut_short, "cannot load CLIP from"),
        (other_sizes, "cannot load CLIP from .*size mismatch"),
        (other_end, "expected the tokenizer of the model .*token 513.* looks for 7"),
        (other_model, "expected a CLIP model .*siglip"),
        (no_tokenizer, "expected tokenizer.json"),
        (no_json, "cannot read .*config.json"),
    ],
)
def test_a_folder_that_is_no_whole_clip_is_one_sentence(folder, damage, words):
    damage(folder)
    with pytest.raises(ValueError, match=words) as error:
        load_clip(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_the_name_of_a_hub_is_no_folder_and_says_how_to_get_one(tmp_path):
    with pytest.raises(ValueError, match=r"got .*openai/clip-vit-base-patch32; nothing is downloaded.*hf download"):
        check_folder(tmp_path / "openai/clip-vit-base-patch32")


def test_the_preparation_is_read_in_every_spelling(folder):
    plain = Preparation(SIDE, (SIDE, SIDE))
    assert read_preparation(folder) == plain
    both = {"height": 24, "width": 30}
    (folder / "processor_config.json").write_text('{"image_processor": {"size": {"shortest_edge": 40}}}')
    assert read_preparation(folder) == Preparation(40, (SIDE, SIDE))
    (folder / "preprocessor_config.json").write_text('{"size": 36, "crop_size": 32, "do_resize": true, "resample": 2}')
    assert read_preparation(folder) == Preparation(36, (32, 32), resample=2)
    change_json(
        folder / "preprocessor_config.json", size=both, crop_size=both, image_mean=[0, 0, 0], image_std=[1, 1, 1]
    )
    prepare = read_preparation(folder)
    assert prepare == Preparation((24, 30), (24, 30), 2, (0, 0, 0), (1, 1, 1))
    assert [prepare(picture).shape for picture in pictures()] == [(3, 24, 30)] * 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"do_center_crop": False}, "without do_center_crop"),
        ({"size": {"longest_edge": 224}}, "preparation of CLIP's pictures"),
        ({"image_mean": [0.5]}, "preparation of CLIP's pictures"),
    ],
)
def test_a_preparation_that_is_not_clips_is_refused(folder, values, words):
    (folder / "preprocessor_config.json").write_text("{}")
    change_json(folder / "preprocessor_config.json", **values)
    with pytest.raises(ValueError, match=words):
        read_preparation(folder)


def test_loading_says_nothing(saved, capfd):
    load_clip(saved[0]).embed_images(pictures())
    assert capfd.readouterr() == ("", "")
