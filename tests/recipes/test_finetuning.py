"""Fine-tuning from pictures to weights, on a small ViT over squares of 64."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import opensam
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.recipes.finetuning import Outcome, finetuning, plan, run, save_official, set_trainable
from opensam.train.loop import Progress

pytest.importorskip("lightning_fabric")
VIT = ViTConfig(
    embed_dim=24, depth=2, num_heads=3, global_attn_indexes=(1,), image_size=64, window_size=3, out_chans=32
)
SMALL = SamConfig(image_encoder=VIT, prompt_embed_dim=32, decoder_mlp_dim=32, iou_head_hidden_dim=16)
KEYS = Path(__file__).parents[3] / "shared" / "golden" / "sam_vit_b_keys.txt"
SETTINGS = [
    *("steps=4", "accumulate=1", "masks_per_image=2", "log_every=1", "save_every=0", "validate_every=2", "patience=0"),
    *("segment.clicks=1", "precision=32-true", "scored=3", "scored_masks=1", "validated=1", "optim.warmup=1"),
]


def make_sam() -> Sam:
    torch.manual_seed(0)
    return Sam(SMALL, "small").eval()


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Ten pictures with a white rectangle each, as pictures and mask images."""
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for n in range(10):
        mask = np.zeros((48, 64), np.uint8)
        mask[6 : 20 + 2 * n, 8 : 30 + 2 * n] = 255
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{n}.png")
        Image.fromarray(np.repeat(mask[..., None] // 2 + 40, 3, axis=2)).save(tmp_path / "data" / "images" / f"{n}.png")
    return str(tmp_path / "data")


def finetune(data: str, folder: Path, trainable: str, *changes: str, losses: list[float] | None = None) -> Outcome:
    task = plan(make_sam(), [data], folder, trainable=trainable, overrides=[*SETTINGS, *changes])
    return run(task, lambda progress: (losses if losses is not None else []).append(progress.facts["loss"]))


@pytest.mark.parametrize("trainable", ["decoder", "lora", "all"])
def test_the_result_is_official_weights_of_which_the_right_part_changed(
    data: str, tmp_path: Path, trainable: str
) -> None:
    outcome = finetune(data, tmp_path / "run", trainable, "rank=2", "optim.lr=1e-3")
    before, tuned = make_sam(), opensam.load(checkpoint=outcome.weights)
    assert tuned.name == "run"
    assert tuned.config == before.config
    changed = {key for key, value in before.state_dict().items() if not torch.equal(value, tuned.state_dict()[key])}
    parts = {key.split(".")[0] for key in changed}
    expected = {"decoder": {"mask_decoder"}, "lora": {"mask_decoder", "image_encoder"}}
    assert parts == expected.get(trainable, {"mask_decoder", "image_encoder", "prompt_encoder"})
    if trainable == "lora":
        adapted = {f"image_encoder.blocks.{n}.attn.{layer}.weight" for n in range(2) for layer in ("qkv", "proj")}
        assert {key for key in changed if key.startswith("image_encoder.")} == adapted
    official = torch.load(outcome.official, weights_only=True)
    assert official.keys() == before.state_dict().keys()
    assert all(torch.equal(value, tuned.state_dict()[key]) for key, value in official.items())
    again = opensam.load(checkpoint=outcome.official)
    assert again.config.image_encoder.depth == VIT.depth


@pytest.mark.skipif(not KEYS.exists(), reason="the list of official keys is not on this machine")
def test_exported_keys_are_those_of_the_official_model(tmp_path: Path) -> None:
    save_official(make_sam(), tmp_path / "small.pth")
    official = {line.split()[0] for line in KEYS.read_text().splitlines() if line.strip()}
    deeper = tuple(f"image_encoder.blocks.{n}." for n in range(VIT.depth, 12))
    assert torch.load(tmp_path / "small.pth").keys() == {key for key in official if not key.startswith(deeper)}


def test_a_tiny_vit_is_exported_with_the_classifier_that_mobile_sam_wants(tmp_path: Path) -> None:
    encoder = TinyViTConfig(image_size=64, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4))
    save_official(Sam(SamConfig(image_encoder=encoder)), tmp_path / "tiny.pth")
    assert torch.load(tmp_path / "tiny.pth")["image_encoder.head.weight"].shape == (1000, 32)


def test_the_run_says_what_it_did_with_which_pictures(data: str, tmp_path: Path) -> None:
    outcome = finetune(data, tmp_path / "run", "decoder", "val_share=0.3")
    with (tmp_path / "run" / "split.csv").open() as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    assert (parts.count("train"), parts.count("held out")) == (7, 3)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["before"].keys() == report["after"].keys() == {"box", "iou@1", "iou@3", "iou@5"}
    assert report["difference"]["box"] == pytest.approx(outcome.after["box"] - outcome.before["box"])
    assert (report["pictures"], report["held_out"], report["held_out_masks"]) == (7, 3, 3)
    assert f"| 1 click | {outcome.before['iou@1']:.3f} |" in outcome.report.read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["after"] == outcome.after
    assert [each.rgb.shape for each in outcome.shown] == [(48, 64, 3)] * 3
    assert all(each.before.shape == each.after.shape == each.truths.shape for each in outcome.shown)
    assert outcome.is_better == (sum(outcome.after.values()) > sum(outcome.before.values()))


@pytest.mark.parametrize("trainable", ["decoder", "lora"])
def test_an_interrupted_run_goes_on_to_the_same_result(data: str, tmp_path: Path, trainable: str) -> None:
    losses: list[float] = []
    whole = finetune(data, tmp_path / "whole", trainable, losses=losses)

    def interrupt(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    task = plan(make_sam(), [data], tmp_path / "cut", trainable=trainable, overrides=SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        run(task, interrupt)
    rest: list[float] = []
    resumed = finetune(data, tmp_path / "cut", trainable, losses=rest)
    assert rest == losses[2:], "the third step was lost with its checkpoint and is done again"
    assert (resumed.before, resumed.after) == (whole.before, whole.after)
    again: list[float] = []
    assert finetune(data, tmp_path / "cut", trainable, losses=again).after == whole.after
    assert again == [], "a finished run is not repeated"


def test_a_folder_holds_one_run(data: str, tmp_path: Path) -> None:
    finetune(data, tmp_path / "run", "decoder")
    with pytest.raises(ValueError, match=r"with optim.lr=0.0001 instead of 0.01"):
        finetune(data, tmp_path / "run", "decoder", "optim.lr=0.01")
    (Path(data) / "images" / "3.png").rename(tmp_path / "away.png")
    with pytest.raises(ValueError, match="expected the pictures that the run"):
        finetune(data, tmp_path / "run", "decoder")


def test_held_out_pictures_may_be_given(data: str, tmp_path: Path) -> None:
    task = plan(make_sam(), [data], tmp_path / "run", val=[data])
    assert (sum(map(len, task.train)), sum(map(len, task.held_out))) == (10, 10)


def test_files_of_one_name_do_not_mix_when_categories_are_chosen(data: str, tmp_path: Path) -> None:
    for part, count in (("a", 4), ("b", 2)):
        pictures = [{"id": n, "file_name": f"{n}.png", "height": 48, "width": 64} for n in range(count)]
        corners = [8, 6, 30, 6, 30, 20, 8, 20]
        masks = [{"id": n, "image_id": n, "category_id": 1, "segmentation": [corners]} for n in range(count)]
        content = {"images": pictures, "annotations": masks, "categories": [{"id": 1, "name": "box"}]}
        (tmp_path / part).mkdir()
        (tmp_path / part / "my.json").write_text(json.dumps(content))
    first, second = (f"{tmp_path / part / 'my.json'}:{data}/images" for part in "ab")
    task = plan(make_sam(), [first], tmp_path / "run", val=[second], categories=["box"])
    assert (sum(map(len, task.train)), sum(map(len, task.held_out))) == (4, 2)


def test_categories_need_coco(data: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected COCO annotations with --category"):
        plan(make_sam(), [data], tmp_path / "run", categories=["cat"])


def test_masks_that_are_all_too_small_are_one_sentence(data: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least two pictures with masks.*got 0"):
        plan(make_sam(), [data], tmp_path / "run", overrides=["augment.min_cells=1000"])


@pytest.mark.parametrize("trainable", ["decoder", "lora", "all"])
def test_the_defaults_fit_the_number_of_pictures(trainable: str) -> None:
    sam = make_sam()
    steps = [finetuning(sam, count, trainable).steps for count in (1, 30, 300, 5000, 10**7)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (100, 4000)
    set_trainable(sam, finetuning(sam, 30, trainable))
    assert all(one.requires_grad for one in sam.mask_decoder.parameters())
    assert any(one.requires_grad for one in sam.prompt_encoder.parameters()) == (trainable == "all")
    assert any(one.requires_grad for one in sam.image_encoder.parameters()) == (trainable != "decoder")
