"""The command line: what it writes and prints, how it fails, and that it leaves nothing half-written behind."""

import json
import pickle
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.eval.synthetic_eval import write_two_datasets
from typer.testing import CliRunner

from opensam.cli import app
from opensam.cli.shared import DownloadBar
from opensam.models import checkpoints, zoo
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.predictor import Predictor
from opensam.recipes import promptable, training
from opensam.records import ImageRecord, read_image_record


def run(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


def run_process(*arguments, **options):
    """Run the command as a person does."""
    command = [sys.executable, "-m", "opensam", *(str(one) for one in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def assert_one_sentence(result, *words):
    """Exit code 2 and one sentence on stderr that holds these words; nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line, line


def save_model(path, encoder, name="random"):
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=encoder), name).eval()
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            list(mlp.parameters())[-2].mul_(300)  # spread the logits as training does
    checkpoints.save(sam, path)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file with a small untrained TinyViT model."""
    encoder = TinyViTConfig(image_size=128, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    return save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", encoder)


@pytest.fixture(scope="session")
def vit_weights(tmp_path_factory):
    """A file with a small untrained ViT model."""
    encoder = ViTConfig(embed_dim=24, depth=1, num_heads=3, global_attn_indexes=(0,), image_size=128)
    return save_model(tmp_path_factory.mktemp("weights") / "vit.safetensors", encoder, "small_vit")


@pytest.fixture
def photo(tmp_path):
    """A picture of 120 x 90 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def predict(photo, weights, tmp_path):
    """Runs `opensam predict photo.png ... --checkpoint random.safetensors --out out`."""
    return lambda *options: run("predict", photo, "--checkpoint", weights, "--out", tmp_path / "out", *options)


def files(folder):
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def mask_in(path):
    """A mask file as bool, once it is seen to hold a mask."""
    levels = np.asarray(Image.open(path))
    assert levels.ndim == 2
    assert set(np.unique(levels)) <= {0, 255}
    return levels > 0


# ---- the command -------------------------------------------------------------------------------------------


def test_help_appears_at_once_and_loads_nothing_heavy():
    code = (
        "import sys, opensam.cli as cli\n"
        "try:\n    cli.main()\n"
        "finally:\n    print([m for m in ('torch', 'numpy', 'cv2', 'PIL', 'pydantic') if m in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.stdout.endswith("[]\n")
    # Time of the processor: other tests may be running.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("command", [["predict"], ["models"], ["train"], ["eval", "clicks"], []])
def test_every_help_documents_the_exit_codes_and_the_cache_folder(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    for word in ("Exit codes", "130 Ctrl-C", "OPENSAM_HOME"):
        assert word in result.output


def test_the_command_as_a_person_runs_it(photo, weights, tmp_path):
    options = ("--point", "60,45", "--checkpoint", weights)
    good = run_process("predict", photo, *options, "--json", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert good.stderr == ""
    assert json.loads(good.stdout)["record"] == str(Path("out") / "photo.json")
    photo.write_bytes(b"")
    bad = run_process("predict", photo, *options, "--out", "other", cwd=tmp_path)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr.startswith("Error: cannot read ")
    assert len(bad.stderr.splitlines()) == 1
    assert files(tmp_path) == {"photo.png", "out"}


@pytest.mark.parametrize(
    "arguments",
    [["predict"], ["predict", "a.jpg", "--pont", "1,1"], ["train", "tiny"], ["eval", "clicks"], ["segment"], ["eval"]],
)
def test_wrong_usage_ends_with_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_what_nobody_expected_ends_with_1_and_a_traceback(predict, monkeypatch):
    def fail(self, image):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(Predictor, "embed", fail)
    result = predict("--point", "60,45")
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)


def test_ctrl_c_ends_with_130(predict, tmp_path, monkeypatch):
    def interrupt(self, image):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "embed", interrupt)
    result = predict("--point", "60,45")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"
    assert files(tmp_path / "out") == set()


# ---- predict -----------------------------------------------------------------------------------------------


def test_a_click_gives_an_overlay_three_masks_and_a_record(predict, photo, weights, tmp_path):
    result = predict("--point", "60,45")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    masks = ["photo_mask.png", "photo_mask_candidate2.png", "photo_mask_candidate3.png"]
    assert files(out) == {*masks, "photo_overlay.png", "photo.json"}

    predictor = Predictor(zoo.load(checkpoint=weights))
    answer = predictor.predict(predictor.embed(photo), [(60, 45)])
    record = read_image_record(out / "photo.json")
    assert (record.image.file_name, record.image.width, record.image.height) == ("photo.png", 120, 90)
    assert [one.id for one in record.annotations] == [1, 2, 3]
    for candidate, (name, one) in enumerate(zip(masks, record.annotations, strict=True)):
        assert (mask_in(out / name) == answer.masks[candidate]).all()
        assert (one.mask == answer.masks[candidate]).all()
        assert one.predicted_iou == pytest.approx(float(answer.iou_predictions[candidate]))
        assert one.stability_score == pytest.approx(float(answer.stability_score[candidate]))
        assert one.point_coords == [[60, 45]]
    drawn = np.asarray(Image.open(out / "photo_overlay.png"))
    assert drawn.shape == (90, 120, 3)
    assert (drawn != np.asarray(Image.open(photo))).any()
    for name in files(out):
        assert str(out / name) in result.stdout
    for word in ("predicted IoU", "stability", "load", "encode", "decode"):
        assert word in result.stdout


def test_the_precision_is_that_of_the_predictor(predict, photo, weights, tmp_path):
    found = {}
    for name in ("bf16", "float32"):
        assert predict("--point", "60,45", "--precision", name).exit_code == 0
        predictor = Predictor(zoo.load(checkpoint=weights), name)
        answer = predictor.predict(predictor.embed(photo), [(60, 45)])
        found[name] = [one.predicted_iou for one in read_image_record(tmp_path / "out" / "photo.json").annotations]
        assert found[name] == pytest.approx(answer.iou_predictions.tolist())
    assert found["bf16"] != pytest.approx(found["float32"])


def test_json_is_one_line_for_programs(predict, tmp_path):
    result = predict("--box", "10,10,80,70", "--multimask", "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    facts = json.loads(line)
    assert facts["model"] == "random"
    assert set(facts["seconds"]) == {"load", "encode", "decode"}
    assert [(mask["object"], mask["candidate"]) for mask in facts["masks"]] == [(1, 1), (1, 2), (1, 3)]
    ious = [mask["predicted_iou"] for mask in facts["masks"]]
    assert ious == sorted(ious, reverse=True)
    for mask in facts["masks"]:
        assert mask_in(mask["file"]).sum() == mask["area"]
        assert 0 <= mask["stability_score"] <= 1
    assert {Path(facts["overlay"]).name, Path(facts["record"]).name} <= files(tmp_path / "out")


def test_several_boxes_are_several_objects(predict, photo, weights, tmp_path):
    boxes = [(10, 10, 60, 60), (50, 20, 110, 80)]
    result = predict("--single", *(part for box in boxes for part in ("--box", ",".join(map(str, box)))))
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    names = ["photo_mask_object1.png", "photo_mask_object2.png"]
    assert files(out) == {*names, "photo_overlay.png", "photo.json"}
    predictor = Predictor(zoo.load(checkpoint=weights))
    answer = predictor.predict(predictor.embed(photo), boxes=boxes, multimask_output=False)
    for number, name in enumerate(names):
        assert (mask_in(out / name) == answer.masks[number, 0]).all()
    assert len(read_image_record(out / "photo.json").annotations) == 2


PROMPTS = [
    ({"point_coords": [(60, 45), (10.5, 80)], "point_labels": [1, 0]}, ["--point", "60,45", "--point", "10.5,80,0"], 1),
    ({"point_coords": [(60, 45)]}, ["--point", "60,45,1", "--single"], 1),
    ({"boxes": (-5, 10, 60, 200)}, ["--box", "-5,10,60,200"], 3),
    (
        {"point_coords": [(30, 30)], "point_labels": [0], "boxes": (10, 10, 60, 60)},
        ["--point", "30,30,0", "--box", "10,10,60,60", "--multimask"],
        3,
    ),
]


@pytest.mark.parametrize(("prompt", "options", "candidates"), PROMPTS)
def test_options_say_what_the_predictor_is_asked(predict, photo, weights, tmp_path, prompt, options, candidates):
    result = predict(*options)
    assert result.exit_code == 0, result.output
    predictor = Predictor(zoo.load(checkpoint=weights))
    answer = predictor.predict(predictor.embed(photo), **prompt, multimask_output=candidates == 3)
    record = read_image_record(tmp_path / "out" / "photo.json")
    assert [one.area for one in record.annotations] == answer.masks.sum(axis=(1, 2)).tolist()
    assert (mask_in(tmp_path / "out" / "photo_mask.png") == answer.best.mask).all()


@pytest.mark.parametrize("inside", [1, 255, (128, 0, 0)])
def test_a_rough_mask_of_any_size_and_colour(predict, photo, weights, tmp_path, inside):
    shape = (180, 240) if isinstance(inside, int) else (45, 60, 3)
    levels = np.zeros(shape, np.uint8)
    levels[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = inside
    Image.fromarray(levels).save(tmp_path / "rough.png")
    result = predict("--mask", tmp_path / "rough.png")
    assert result.exit_code == 0, result.output
    predictor = Predictor(zoo.load(checkpoint=weights))
    answer = predictor.predict(predictor.embed(photo), mask=levels if levels.ndim == 2 else levels[..., 0])
    assert (mask_in(tmp_path / "out" / "photo_mask.png") == answer.best.mask).all()


def test_a_written_mask_can_be_the_next_prompt(predict, tmp_path):
    assert predict("--point", "60,45", "--single").exit_code == 0
    result = predict("--mask", tmp_path / "out" / "photo_mask.png", "--point", "5,5,0")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1)])
def test_tiny_and_thin_pictures_work(predict, photo, tmp_path, size):
    Image.new("RGB", size, "grey").save(photo)
    result = predict("--point", f"{size[0] / 2},{size[1] / 2}")
    assert result.exit_code == 0, result.output
    record = read_image_record(tmp_path / "out" / "photo.json")
    assert (record.image.width, record.image.height) == size


# ---- bad input ---------------------------------------------------------------------------------------------


def png_header(width, height):
    """A PNG that promises pixels and has next to none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


BAD_PICTURES = {
    "missing": (None, "no such file"),
    "zero bytes": (lambda whole: b"", "empty"),
    "no picture": (lambda whole: b"no picture", "format"),
    "truncated": (lambda whole: whole[: len(whole) // 2], "truncated"),
    "decompression bomb": (lambda whole: png_header(30000, 30000), "200000000 pixels"),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
@pytest.mark.parametrize("role", ["the picture", "the mask"])
def test_a_bad_picture_is_one_sentence(predict, photo, tmp_path, kind, role):
    change, word = BAD_PICTURES[kind]
    path = photo if role == "the picture" else tmp_path / "rough.png"
    whole = photo.read_bytes()
    if change is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(change(whole))
    options = ["--point", "60,45"] if role == "the picture" else ["--mask", path]
    assert_one_sentence(predict(*options), str(path), word)
    assert not (tmp_path / "out").exists()


BAD_PROMPTS = [
    ([], ["--point", "--box", "--mask", "got none"]),
    (["--point", "130,45"], ["120 wide", "(130, 45)"]),
    (["--point", "-1,45"], ["inside the picture", "(-1, 45)"]),
    (["--point", "nan,45"], ["finite", "NaN"]),
    (["--point", "60,inf"], ["finite"]),
    (["--point", "60,45,2"], ["label", "--point 60,45,2"]),
    (["--point", "60,45,nan"], ["label"]),
    (["--point", "60"], ["--point 500,375", "got --point 60"]),
    (["--point", "60,45,1,1"], ["--point 500,375"]),
    (["--point", "sixty,45"], ["--point 500,375", "got --point sixty,45"]),
    (["--point", ""], ["--point 500,375"]),
    (["--box", "10,10,10,50"], ["x0 < x1", "(10, 10, 10, 50)"]),
    (["--box", "50,10,10,50"], ["x0 < x1", "two corners"]),
    (["--box", "10,50,50,10"], ["y0 < y1"]),
    (["--box", "200,10,300,50"], ["reach into the picture"]),
    (["--box", "nan,10,50,50"], ["finite"]),
    (["--box", "10,10,50"], ["--box 75,275,500,600", "got --box 10,10,50"]),
    (["--box", "10,10,50,50", "--box", "0,0,5,5", "--point", "1,1"], ["at most one box", "got 2"]),
]


@pytest.mark.parametrize(("options", "words"), BAD_PROMPTS)
def test_a_bad_prompt_is_one_sentence(predict, tmp_path, options, words):
    assert_one_sentence(predict(*options), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        (np.zeros((90, 120), np.uint8), "empty"),
        (np.arange(90 * 120, dtype=np.uint8).reshape(90, 120), "several"),
        (np.full((90, 90), 255, np.uint8), "proportions"),
    ],
)
def test_a_bad_mask_is_one_sentence(predict, tmp_path, levels, word):
    Image.fromarray(levels).save(tmp_path / "rough.png")
    assert_one_sentence(predict("--mask", tmp_path / "rough.png"), word)
    assert not (tmp_path / "out").exists()


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("evil"),)


def make_bad_checkpoints(weights, folder):
    whole = weights.read_bytes()
    contents = {"text": b"no checkpoint", "zero bytes": b"", "truncated": whole[:-1000]}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save({"weights": torch.zeros(3), "code": Evil()}, folder / "code in a zip")
    (folder / "bare code").write_bytes(pickle.dumps(Evil(), protocol=2))
    save_file({"layer.weight": torch.zeros(3, 3)}, folder / "another network")
    (folder / "folder").mkdir()


BAD_CHECKPOINTS = {
    "missing": ["check the path"],
    "text": ["something else"],
    "zero bytes": ["an empty file"],
    "truncated": ["truncated"],
    "code in a zip": ["pickled code"],
    "bare code": [],
    "another network": ["another network"],
    "folder": ["model.safetensors"],
}


@pytest.mark.parametrize("kind", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_one_sentence(photo, weights, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    make_bad_checkpoints(weights, tmp_path)
    result = run("predict", photo, "--point", "60,45", "--checkpoint", kind)
    assert_one_sentence(result, kind, *BAD_CHECKPOINTS[kind])
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "vit_b"], ["another one", "left over", "image_encoder"]),
        (["--model", "vit_x"], ["vit_x", "opensam_tiny", "vit_b"]),
        (["--device", "warp"], ["warp", "cpu"]),
    ],
)
def test_another_model_or_device_is_one_sentence(predict, tmp_path, options, words):
    assert_one_sentence(predict("--point", "60,45", *options), *words)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(photo, weights, tmp_path):
    (tmp_path / "file").write_text("mine")
    options = ["--point", "60,45", "--checkpoint", weights, "--out", tmp_path / "file"]
    assert_one_sentence(run("predict", photo, *options), "cannot use", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_what_was_there(predict, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert predict("--point", "60,45").exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(self):
        raise OSError(28, "No space left on device", "photo.json")

    monkeypatch.setattr(ImageRecord, "to_json", fail)
    assert_one_sentence(predict("--point", "10,10"), "No space left on device")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


# ---- models ------------------------------------------------------------------------------------------------


def test_models_lists_the_zoo_and_what_is_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENSAM_HOME", str(tmp_path))
    (tmp_path / "sam_vit_b_01ec64.pth").touch()
    result = run("models")
    assert result.exit_code == 0, result.output
    lines = {spec.name: next(line for line in result.output.splitlines() if spec.name in line) for spec in zoo.MODELS}
    for spec in zoo.MODELS:
        for word in (*spec.aliases, spec.license, f"{spec.params / 1e6:.1f} M"):
            assert word in lines[spec.name]
    assert "cached" in lines["sam_vit_b"]
    assert "375 MB" in lines["sam_vit_b"]
    assert "to download" in lines["sam_vit_h"]


@pytest.mark.parametrize("home", ["given", None])
def test_the_cache_folder_is_that_of_the_environment(predict, tmp_path, monkeypatch, home):
    def load(name, *, cache_dir, **rest):
        raise ValueError(f"asked for {name} in {cache_dir}")

    monkeypatch.setattr(zoo, "load", load)
    if home:
        monkeypatch.setenv("OPENSAM_HOME", str(tmp_path / home))
    else:
        monkeypatch.delenv("OPENSAM_HOME", raising=False)
    folder = tmp_path / home if home else Path.home() / ".cache" / "opensam"
    assert_one_sentence(predict("--point", "60,45", "--model", "vit_h"), f"asked for vit_h in {folder}")


def test_a_download_shows_how_far_it_is(capsys):
    with DownloadBar() as bar:
        assert capsys.readouterr().err == ""
        bar(250_000, 1_000_000)
        bar(1_000_000, 1_000_000)
    assert "1.0/1.0 MB" in capsys.readouterr().err


# ---- train -------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "data"
    write_two_datasets(folder)
    return folder


SMALL = ["image_size=64", "crop_size=null", "batch_size=1", "steps=2", "log_every=1", "precision=32-true"]
SMALL += ["segment.clicks=1"]
SMALL_OPTIONS = [part for setting in SMALL for part in ("--set", setting)]


def test_train_runs_a_stage_and_says_where_the_weights_are(shards, tmp_path, photo):
    pytest.importorskip("lightning_fabric")
    command = ["train", "tiny", "--data", shards, "--out", tmp_path / "run", "--stage", "1", *SMALL_OPTIONS]
    result = run(*command)
    assert result.exit_code == 0, result.output
    weights = Path(result.stdout.strip())
    assert weights == tmp_path / "run" / "stage-1" / "model.safetensors"
    reports = [line for line in result.stderr.splitlines() if line.startswith("stage 1/1")]
    assert [line.split()[2] for line in reports] == ["1/2", "2/2"]
    assert all(word in reports[0] for word in ("loss", "images/s", "left"))
    assert run("predict", photo, "--point", "60,45", "--checkpoint", weights, "--out", tmp_path / "out").exit_code == 0

    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "stage 1/1" not in again.stderr, "a finished stage is not repeated"

    other = run(*command, "--set", "optim.lr=1")
    assert_one_sentence(other, "stage-1", "optim.lr=0.0008 instead of 1.0", "another --out")


def test_dry_run_prints_the_resolved_config(tmp_path):
    command = ["train", "tiny", "--data", tmp_path / "none", "--out", tmp_path / "run", "--devices", "2", "--dry-run"]
    stages = json.loads(run(*command, "--set", "optim.lr=0.5").stdout)
    assert len(stages) == 3
    assert all((stage["optim"]["lr"], stage["devices"]) == (0.5, 2) for stage in stages)
    (second,) = json.loads(run(*command, "--stage", "2").stdout)
    assert second == {**stages[1], "optim": second["optim"]}
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["huge"], ["huge", "tiny"]),
        (["tiny", "--stage", "7"], ["from 1 to 3", "got 7"]),
        (["tiny", "--set", "optim.rate=1"], ["optim.rate", "lr"]),
        (["tiny", "--set", "steps"], ["steps", "="]),
        (["tiny", "--set", "steps=many"], ["steps", "many"]),
        (["tiny", "--set", "crop_size=250"], ["crop_size", "multiple of 16", "got 250"]),
        (["tiny"], ["no-data"]),
    ],
)
def test_wrong_training_options_are_one_sentence(tmp_path, options, words):
    result = run("train", *options, "--data", tmp_path / "no-data", "--out", tmp_path / "run")
    assert_one_sentence(result, *words)
    assert files(tmp_path) == set()


def test_without_the_extra_training_says_what_to_install(shards, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    result = run("train", "tiny", "--data", shards, "--out", tmp_path / "run")
    assert_one_sentence(result, "lightning_fabric", "pip install 'opensam[train]'")


@pytest.mark.parametrize("saved", [True, False])
def test_ctrl_c_in_training_says_how_to_resume(tmp_path, monkeypatch, saved):
    def interrupt(stages, data, folder, on_progress, init, val, on_start):
        (folder / "stage-1").mkdir(parents=True)
        if saved:
            (folder / "stage-1" / "last.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(promptable, "train", interrupt)
    result = run("train", "tiny", "--data", tmp_path, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "the same command" in line
    assert (str(tmp_path / "run" / "stage-1" / "last.pt") in line) == saved


# ---- eval --------------------------------------------------------------------------------------------------


def test_eval_clicks_writes_and_prints_the_table(shards, weights, tmp_path):
    options = ["--image-size", "64", "--precision", "bf16", "--baseline", "grabcut", "--max-images", "1"]
    result = run("eval", "clicks", "--data", shards, "--out", tmp_path / "out", "--checkpoint", weights, *options)
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == {"clicks.md", "clicks.json", "clicks"}
    report = json.loads((tmp_path / "out" / "clicks.json").read_text())
    assert set(report["results"]) == {"random", "GrabCut"}
    assert (report["model"], report["image_size"], report["precision"]) == ("random", 64, "bf16")
    assert report["config"]["max_images"] == 1
    box = report["results"]["GrabCut"]["mean"]["box"]
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(" box")]
    assert line.split()[-1] == f"{box:.3f}"
    assert str(tmp_path / "out" / "clicks.md") in result.stdout
    assert "random: 2/2 images" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checkpoint", "VIT", "--image-size", "64"], ["TinyViT", "small_vit", "128"]),
        (["--checkpoint", "TINY", "--image-size", "100"], ["multiple of 16", "got 100"]),
        (["--checkpoint", "TINY", "--device", "warp"], ["warp"]),
        (["--data", "nowhere"], ["nowhere", "check the path"]),
        (["--baseline", "magic"], ["grabcut", "magic"]),
        (["--points", "left"], ["points", "center", "left"]),
    ],
)
def test_wrong_evaluation_options_are_one_sentence(shards, weights, vit_weights, tmp_path, options, words):
    places = {"VIT": vit_weights, "TINY": weights}
    result = run("eval", "clicks", "--data", shards, "--out", tmp_path / "out", *(places.get(o, o) for o in options))
    assert_one_sentence(result, *words)
    assert not (tmp_path / "out").exists()


# ---- Ctrl-C for real ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_process_that_gets_ctrl_c_ends_cleanly(shards, tmp_path):
    pytest.importorskip("lightning_fabric")
    options = [*SMALL_OPTIONS, "--set", "steps=100000", "--stage", "1"]
    command = ["train", "tiny", "--data", str(shards), "--out", str(tmp_path / "run"), *options]
    # A shell's background job ignores Ctrl-C and hands that on; this process shall not.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import opensam.__main__"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        deadline = time.monotonic() + 240
        while not (tmp_path / "run" / "stage-1" / "log.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted; nothing was saved yet, so the same command starts again"


# ---- the README --------------------------------------------------------------------------------------------


def test_the_readme_lists_the_models_and_the_help_the_recipes():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for spec in zoo.MODELS:
        size = f"{spec.bytes / 1e6:.0f} MB" if spec.bytes else "in the package"
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| `{spec.name}`")]
        for word in (*spec.aliases, f"{spec.params / 1e6:.1f} M", size, spec.license):
            assert word in row
    shown = run("train", "--help").output
    assert all(name in shown for name in training.RECIPES)
