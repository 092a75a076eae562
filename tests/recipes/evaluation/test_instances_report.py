"""The evaluation of masks from boxes from data to report."""

import json
import pickle
from functools import partial

import pytest
from tests.eval.test_instances import Knows, entry, open_truth
from tests.recipes.evaluation.test_session import place

from opensam import image
from opensam.eval.instances import GROUND_TRUTH, InstancesConfig, measuring
from opensam.eval.report import read_report
from opensam.recipes.evaluation import instances as evaluation
from opensam.recipes.evaluation.session import ModelChoice


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the evaluation with a method that knows the truth; with boxes by way of a file."""
    monkeypatch.setattr(evaluation, "_refiner", lambda choice: Knows())

    def run(boxes=None, lvis=False, skip_bad=False, **settings):
        truth = open_truth(tmp_path, lvis=lvis)
        given = GROUND_TRUTH
        if boxes is not None:
            given = str(tmp_path / "boxes.json")
            (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        data = (f"{truth.file}:{truth.images}",)
        config = InstancesConfig(data=data, **{"boxes": given} | settings)
        return evaluation.instances(config, ModelChoice(), place(tmp_path / "out", 1, skip_bad))

    return run


def test_true_boxes_are_said_to_be_a_perfect_detector(run, tmp_path):
    report = run()
    measured, sam, detector = report.tables[0].rows
    assert measured[0] == "opensam_tiny here, true boxes"
    assert measured[1:] == (*[pytest.approx(1)] * 5, None)
    assert sam == ("SAM, boxes of ViTDet-H, paper, COCO val2017", 0.465, None, None, 0.308, 0.51, 0.617)
    assert detector[1] == 0.51
    assert (report.headlines[0].measured, report.headlines[0].paper) == (pytest.approx(1), None)
    text = (tmp_path / "out/instances.md").read_text()
    assert "a perfect detector" in text
    assert "4 boxes in 3 pictures of val; one refinement round" in text
    assert [figure.file for figure in report.figures] == ["instances/worst.jpg"]
    assert image.size(tmp_path / "out/instances/worst.jpg")[1] > 200
    assert read_report(tmp_path / "out/instances.json") == report
    assert not (tmp_path / "out/instances_masks.json").exists()


def test_boxes_from_a_file_are_compared_with_the_paper_and_masks_are_written(run, tmp_path):
    report = run([entry(1, 2, [50, 20, 81, 81]), entry(3, 1, [5, 5, 20, 20], 0.1)], masks=True)
    assert report.results["categories"] == {"ball": pytest.approx(51 / 101), "box": 0}
    assert report.headlines[0].paper == 0.465
    assert len(report.config["digest"]) == 64, "another file is another evaluation"
    masks = json.loads((tmp_path / "out/instances_masks.json").read_text())
    assert [(one["image_id"], one["category_id"], one["score"]) for one in masks] == [(1, 2, 0.9), (3, 1, 0.1)]
    assert "opensam_tiny here, boxes.json" in (tmp_path / "out/instances.md").read_text()


def test_data_in_the_layout_of_lvis_is_measured_by_its_protocol(run):
    table = run(lvis=True).tables[0]
    assert table.title == "Mask AP, LVIS protocol"
    assert table.heads[-3:] == ("AP large", "AP f", "AP r")
    assert table.rows[1][:2] == ("SAM, boxes of ViTDet-H, paper, LVIS v1 val", 0.447)


def test_a_box_that_cannot_be_used_ends_it_or_is_counted(run, tmp_path):
    boxes = [entry(1, 2, [50, 20, 81, 81]), entry(7, 1, [5, 5, 20, 20])]
    with pytest.raises(ValueError, match=r"entry 1 of .*image_id.* got 7"):
        run(boxes)
    assert not (tmp_path / "out").exists()
    report = run(boxes, skip_bad=True)
    assert len(report.results["boxes that cannot be used"]) == 1
    assert "1 boxes cannot be used and were left out, the first: entry 1" in (tmp_path / "out/instances.md").read_text()


def test_there_is_no_detector_yet():
    with pytest.raises(ValueError, match="got detector, which does not exist; opensam has no detector yet"):
        evaluation._boxes(InstancesConfig(data=("a",), boxes="detector"), None, False)


def test_what_workers_get_survives_pickling(tmp_path):
    truth, config = open_truth(tmp_path), InstancesConfig(data=("a",), boxes=GROUND_TRUTH)
    start = partial(measuring, partial(evaluation._refiner, ModelChoice()), truth, None, config)
    assert pickle.loads(pickle.dumps(start)).args[3] == config
