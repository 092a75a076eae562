"""`opensam.onnx` answers as torch does, in a process that has none."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.test_cli import assert_one_sentence, run

import opensam
from opensam.export.decoder import export_decoder
from opensam.export.encoder import encoder_part
from opensam.export.graph import write
from opensam.image import write_png
from opensam.masks import decode_rle
from opensam.predictor import Predictor
from opensam.records import read_image_record

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SETTINGS = {"points_per_side": 4, "pred_iou_thresh": -9, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
AWARE = {**SETTINGS, "object_aware": True}
MASK_INPUT = np.random.default_rng(1).normal(0, 5, (1, 64, 64)).astype(np.float32)
PROMPTS = [
    {"point_coords": [[30.0, 20.0]]},
    {"point_coords": [[[30.0, 20.0], [5.5, 7.0]], [[1.0, 2.0], [100.0, 60.0]]], "point_labels": [[1, 0], [1, -1]]},
    {"boxes": [[10.0, 10.0, 80.0, 60.0]] * 2},
    {"boxes": [10.0, 10.0, 80.0, 60.0], "point_coords": [[30.0, 20.0]], "multimask_output": True},
    {"mask_input": MASK_INPUT.tolist()},
    {"mask_input": MASK_INPUT.tolist(), "point_coords": [[30.0, 20.0]], "image_index": 1},
    {"polygons": [[[10, 10], [80, 12], [40, 60]]]},
    {"scribble": [[10, 10], [80, 12], [40, 60]]},
]

# What runs without torch: the hook fails at the first import of it, whoever asks.
NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("there is no torch here", name="torch")

sys.meta_path.insert(0, NoTorch())
"""
COMMAND = """
from opensam.cli import main
main()
"""
SCRIPT = """
import json
from pathlib import Path
import numpy as np
import opensam
from opensam.onnx import OnnxPredictor

folder = Path(sys.argv[1])
jobs = json.loads((folder / "jobs.json").read_text())
predictor = OnnxPredictor.load(folder, threads=1)
embeddings = [predictor.embed(folder / name) for name in jobs["pictures"]]
answers = predictor.predict_batch(embeddings, jobs["prompts"])
arrays = {f"{field}_{k}": value for k, answer in enumerate(answers) for field, value in vars(answer).items()}
np.savez(folder / "answers.npz", **arrays)
found = []
for settings in jobs["settings"]:
    records = opensam.MaskGenerator(predictor, opensam.AmgConfig(), **settings).generate(folder / jobs["pictures"][0])
    found.append([record.to_dict() for record in records])
(folder / "found.json").write_text(json.dumps(found))
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_sam):
    """Graphs of a small model, pictures, and what a process without torch made of them."""
    folder, rng = tmp_path_factory.mktemp("exported"), np.random.default_rng(0)
    sam = make_sam(0).float()
    write(encoder_part(sam), folder / "encoder.onnx", sam)
    export_decoder(sam, folder, ("decoder_image", "decoder_prompt"))
    for name, size in (("a.png", (100, 120)), ("b.png", (200, 110))):
        write_png(folder / name, rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    jobs = {"pictures": ["a.png", "b.png"], "prompts": PROMPTS, "settings": [SETTINGS, AWARE]}
    (folder / "jobs.json").write_text(json.dumps(jobs))
    subprocess.run([sys.executable, "-c", NO_TORCH + SCRIPT, str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def predictor(make_sam):
    return Predictor(make_sam(0).float(), "float32")


def iou(mask, other):
    return (mask & other).sum() / max(1, (mask | other).sum())


def test_predictions_without_torch_are_those_of_torch(folder, predictor):
    embeddings = [predictor.embed(folder / name) for name in ("a.png", "b.png")]
    with np.load(folder / "answers.npz") as found:
        for k, expected in enumerate(predictor.predict_batch(embeddings, PROMPTS)):
            for name, value in vars(expected).items():
                got = found[f"{name}_{k}"]
                assert (got.shape, got.dtype) == (value.shape, value.dtype)
            assert np.allclose(found[f"iou_predictions_{k}"], expected.iou_predictions, atol=1e-4)
            # The logits of this model, spread as by training, reach 90: float32 has rounded a part in 5,000 of that.
            far = np.abs(found[f"low_res_masks_{k}"] - expected.low_res_masks).max()
            assert far < 5e-4 * np.abs(expected.low_res_masks).max()
            assert np.allclose(found[f"stability_score_{k}"], expected.stability_score, atol=1e-3)
            assert iou(found[f"masks_{k}"], expected.masks) > 0.999


@pytest.mark.parametrize("number", [0, 1])
def test_masks_of_everything_without_torch_are_those_of_torch(folder, predictor, number):
    settings = (SETTINGS, AWARE)[number]
    expected = opensam.MaskGenerator(predictor, opensam.AmgConfig(), **settings).generate(folder / "a.png")
    found = json.loads((folder / "found.json").read_text())[number]
    assert len(expected) > 5
    assert len(found) == len(expected)
    # Equal scores up to rounding may change places: each click's masks are compared with that click's.
    for record in expected:
        rivals = [one for one in found if abs(one["predicted_iou"] - record.predicted_iou) < 1e-4]
        best = max(rivals, key=lambda one: iou(decode_rle(one["segmentation"]), record.mask))
        assert iou(decode_rle(best["segmentation"]), record.mask) > 0.999
        assert best["point_coords"] == record.point_coords
        assert best["crop_box"] == record.crop_box
        assert best["stability_score"] == pytest.approx(record.stability_score, abs=2e-3)


def run_without_torch(*arguments):
    command = [sys.executable, "-c", NO_TORCH + COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def generate_without_torch(folder, out):
    settings = SETTINGS | {"pred_iou_thresh": 0}
    options = [f"--set={name}={value}" for name, value in settings.items()]
    pictures = [folder / name for name in ("a.png", "b.png")]
    done = run_without_torch("generate", *pictures, "--out", out, "--onnx", folder, *options)
    return done, opensam.AmgConfig(**settings)


def test_a_job_without_torch_writes_the_masks_of_the_graphs_and_goes_on(folder, tmp_path):
    from opensam.onnx import OnnxPredictor

    done, config = generate_without_torch(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    generator = opensam.MaskGenerator(OnnxPredictor.load(folder, threads=1), config)
    for name in ("a", "b"):
        found = read_image_record(tmp_path / f"out/{name}.json").annotations
        expected = generator.generate(folder / f"{name}.png")
        assert len(found) == len(expected) > 0
        assert min(iou(one.mask, other.mask) for one, other in zip(found, expected, strict=True)) > 0.999
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert (run["device"], run["config"]["precision"]) == ("onnxruntime", "float32")
    (tmp_path / "out/b.json").unlink()
    again, _ = generate_without_torch(folder, tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert "1 image done before" in again.stdout
    assert (tmp_path / "out/b.json").is_file()


def test_a_job_of_graphs_takes_no_other_model(folder, tmp_path):
    result = run("generate", folder / "a.png", "--out", tmp_path / "out", "--onnx", folder, "--model", "vit_b")
    assert_one_sentence(result, "expected --onnx without --model")
    assert not (tmp_path / "out").exists()


def test_wrong_prompts_and_embeddings_are_refused_with_the_sentences_of_torch(folder, predictor):
    from opensam.onnx import OnnxPredictor

    ours = OnnxPredictor.load(folder, threads=1)
    embedding, theirs = ours.embed(folder / "a.png"), predictor.embed(folder / "a.png")
    for prompt in ({}, {"point_coords": [[500, 3]]}, {"boxes": [5, 5, 4, 4]}, {"mask_input": np.zeros((1, 8, 8))}):
        with pytest.raises(ValueError, match=r".") as expected:
            predictor.predict(theirs, **prompt)
        with pytest.raises(ValueError, match=r".") as found:
            ours.predict(embedding, **prompt)
        assert str(found.value) == str(expected.value)
    with pytest.raises(ValueError, match="expected an image embedding of this model"):
        ours.predict(theirs, [(3, 3)])


def test_a_folder_without_the_graphs_is_refused(folder, tmp_path):
    from opensam.onnx import OnnxPredictor

    with pytest.raises(ValueError, match=r"expected encoder\.onnx in .*, got no such file"):
        OnnxPredictor.load(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match="got a damaged file"):
        OnnxPredictor.load(tmp_path)
    with pytest.raises(ValueError, match="expected a precision of float32, fp16, int8, got int4"):
        OnnxPredictor.load(folder, "int4")


def test_the_command_predicts_without_torch(folder, tmp_path):
    done = run_without_torch("predict", folder / "a.png", "--onnx", folder, "--point", "30,20", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a_mask.png" in done.stdout
    with np.load(folder / "answers.npz") as found:
        record = json.loads((tmp_path / "a.json").read_text())["annotations"][0]
        assert (decode_rle(record["segmentation"]) == found["masks_0"][0]).all()


def test_values_records_and_settings_are_imported_without_torch():
    names = "geometry masks rle image records records.formats prompts amg amg.tiles predictor predictor.reading view"
    imports = "; ".join(f"import opensam.{name}" for name in names.split())
    script = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert torch is sys.modules["torch"]  # here it is, so the answers above were compared with torch's
