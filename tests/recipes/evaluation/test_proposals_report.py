"""The evaluation of proposals from data to report."""

import json
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from tests.amg.oracle import Oracle, draw
from tests.eval.synthetic_eval import rectangle, write_shard
from tests.recipes.evaluation.test_session import place

from opensam import image
from opensam.amg import AmgConfig
from opensam.data.ground_truth import open_ground_truth
from opensam.eval.proposals import PAPER, PAPER_AMG, ROWS, ProposalsConfig, measuring
from opensam.eval.report import read_report
from opensam.predictor import Predictor
from opensam.prompts import Prompts
from opensam.recipes.evaluation import proposals as evaluation
from opensam.recipes.evaluation.session import ModelChoice

SIZE = (256, 256)
BOXES = [(16, 16, 96, 96), (120, 24, 248, 232), (40, 160, 64, 184)]
GRID = AmgConfig(points_per_side=8, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=0.9)


@pytest.fixture
def data(tmp_path):
    """One picture of rectangles on grey, and one in which there is a thing that cannot be seen."""
    masks = [rectangle(SIZE, x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in BOXES]
    hidden = rectangle(SIZE, 100, 4, 106, 10)
    write_shard(tmp_path / "things.tar", [(draw(SIZE, BOXES), masks), (draw(SIZE, BOXES[:1]), [masks[0], hidden])])
    return str(tmp_path / "things.tar")


@pytest.fixture
def oracle(monkeypatch):
    monkeypatch.setattr(ModelChoice, "predictor", lambda self: Predictor(Oracle(), "float32"))


def test_a_model_that_sees_colours_finds_what_can_be_seen_and_the_report_shows_what_not(data, oracle, tmp_path):
    config = ProposalsConfig(data=(data,), amg=GRID)
    report = evaluation.proposals(config, ModelChoice(), place(tmp_path / "out", 1))
    found = report.results["groups"]
    assert {group: one["count"] for group, one in found.items()} == {"all": 5, "small": 2, "medium": 2, "large": 1}
    assert found["medium"]["recall"][-1][:8] == [1.0] * 8, "up to .85: the oracle's grid has cells of 4 pixels"
    assert found["small"]["recall"][-1][0] == 0.5
    assert report.results["missed"] == pytest.approx(1 / 5)
    measured, sam, *_ = report.tables[0].rows
    assert measured[:2] == ("opensam_tiny here", pytest.approx(np.mean(found["all"]["recall"][-1])))
    assert measured[5:] == (None, None, None), "no frequencies here"
    assert sam == ("SAM, paper, LVIS v1 val", 0.593, 0.455, 0.816, 0.869, 0.591, 0.639, 0.658)
    assert report.headlines[0].paper == PAPER["SAM"]["all"]
    text = (tmp_path / "out/proposals.md").read_text()
    assert "20 % of the masks are missed" in text
    assert "8 x 8 clicks" in text
    for figure in report.figures:
        assert image.size(tmp_path / "out" / figure.file)[1] > 200
    files = [f"proposals/{name}" for name in ("recall.png", "number.png", "missed.jpg")]
    assert [figure.file for figure in report.figures] == files
    assert read_report(tmp_path / "out/proposals.json") == report


def test_the_papers_rows_have_the_papers_settings():
    sam, single = (ProposalsConfig(data=("a",), **ROWS[row]) for row in ("sam", "single-output"))
    assert (sam.amg, sam.single_output) == (PAPER_AMG, False)
    assert (PAPER_AMG.points_per_side, PAPER_AMG.box_nms_thresh, PAPER_AMG.crop_n_layers) == (64, 0.9, 0)
    assert (PAPER_AMG.pred_iou_thresh, PAPER_AMG.stability_score_thresh) == (0, 0)
    assert (single.amg.points_per_side, single.amg.box_nms_thresh, single.single_output) == (128, 0.95, True)


def test_one_mask_per_click_is_the_mask_for_unambiguous_prompts(make_sam):
    sam = make_sam(0)
    pixels = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        embeddings = sam.encode(pixels)
        prompts = Prompts(torch.tensor([[[50.0, 60]], [[200.0, 30]]]).double(), torch.ones(2, 1))
        expected, scores = sam.decode(embeddings, prompts, False)
        single = evaluation.one_mask_per_click(sam)
        attended = single.attend(embeddings, prompts, multimask_output=True)
        assert torch.equal(single.masks(attended, torch.tensor([0, 1])), expected)
        assert torch.equal(attended.iou_predictions, scores)
        assert sam.attend(embeddings, prompts, multimask_output=True).iou_predictions.shape == (2, 3), "as it was"


def test_a_single_output_runs_through(data, tmp_path, make_sam, monkeypatch):
    monkeypatch.setattr(ModelChoice, "predictor", lambda self: Predictor(make_sam(0), "float32"))
    config = ProposalsConfig(data=(data,), amg=GRID.changed(points_per_side=3), single_output=True)
    report = evaluation.proposals(config, ModelChoice(), place(tmp_path / "out", 1))
    assert 0 < report.results["proposals"] <= 9
    assert "with one mask" in (tmp_path / "out/proposals.md").read_text()


def test_what_workers_get_survives_pickling(data):
    config = ProposalsConfig(data=(data,), amg=GRID)
    start = partial(measuring, partial(evaluation._generator, ModelChoice(), config), open_ground_truth([data]), config)
    assert pickle.loads(pickle.dumps(start)).keywords == start.keywords


def test_data_without_annotations_is_an_error(tmp_path, oracle):
    Image.fromarray(draw(SIZE, [])).save(tmp_path / "1.png")
    images = [{"id": 1, "file_name": "1.png"}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    config = ProposalsConfig(data=(f"{tmp_path / 'a.json'}:{tmp_path}",), amg=GRID)
    with pytest.raises(ValueError, match="expected annotations in a, got none in 1 pictures"):
        evaluation.proposals(config, ModelChoice(), place(tmp_path / "out", 1))
