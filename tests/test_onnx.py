"""`opensam.onnx` answers as torch does, in a process that has none."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import opensam
from opensam.export.decoder import export_decoder
from opensam.export.encoder import encoder_part
from opensam.export.graph import write
from opensam.image import write_png
from opensam.masks import decode_rle
from opensam.predictor import Predictor

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SETTINGS = {"points_per_side": 4, "pred_iou_thresh": -9, "stability_score_thresh": 0.0, "box_nms_thresh": 0.95}
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
SCRIPT = """
import json, sys
from pathlib import Path

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("there is no torch here", name="torch")

sys.meta_path.insert(0, NoTorch())
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
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], check=True)
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
            assert np.allclose(found[f"low_res_masks_{k}"], expected.low_res_masks, rtol=1e-3, atol=2e-3)
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


CLI = (
    SCRIPT.partition("import numpy")[0]
    + """
sys.argv = ["opensam", "predict", sys.argv[2], "--onnx", sys.argv[1], "--point", "30,20", "--out", sys.argv[3]]
from opensam.cli import main
main()
"""
)


def test_the_command_predicts_without_torch(folder, tmp_path):
    command = [sys.executable, "-c", CLI, str(folder), str(folder / "a.png"), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
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
