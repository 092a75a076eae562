"""`opensam eval text` as a run: a real CLIP from a folder, a real model, tars, a report with sheets."""

import json
import pickle

import pytest
from tests.amg.oracle import Oracle
from tests.compose.stand_ins import ColourEncoder, coloured, write_clip, write_labelled
from tests.eval.synthetic_eval import here
from tests.recipes.evaluation.test_session import place
from tests.test_cli import save_model

from opensam.amg import MaskGenerator
from opensam.compose.text import RankedMasks
from opensam.eval.runner import Item, Measured
from opensam.models.tiny_vit import TinyViTConfig
from opensam.predictor import Predictor
from opensam.recipes.evaluation import text as evaluation
from opensam.recipes.evaluation.session import ModelChoice, Setting

SIZE = (240, 400)
BOXES = [(32, 32, 96, 96), (160, 32, 360, 120), (40, 144, 200, 224), (260, 150, 380, 230)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small untrained model."""
    encoder = TinyViTConfig(image_size=64, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    return save_model(tmp_path_factory.mktemp("weights") / "random.safetensors", encoder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data sets `few` and `many` with colours as categories, and `silent`, which does not say what it shows."""
    folder = tmp_path_factory.mktemp("data")
    write_labelled(folder / "few.tar", [coloured(SIZE, BOXES[:2]), coloured(SIZE, BOXES[:1])])
    write_labelled(folder / "many.tar", [coloured(SIZE, BOXES)])
    picture, labelled = coloured(SIZE, BOXES)
    write_labelled(folder / "silent.tar", [(picture, [(mask, None) for mask, _ in labelled])])
    return folder


def oracle(*_):
    """The method that finds every rectangle and knows every colour."""
    generator = MaskGenerator(Predictor(Oracle(), "float32"), points_per_side=8, stability_score_thresh=0)
    return RankedMasks(generator, ColourEncoder()), ColourEncoder()


def config(folder, model, **values):
    given = {"data": [str(folder)], "clip": model, "templates": ["a {} thing"], **values}
    return evaluation.TextRun.of(given)


def test_who_finds_and_knows_everything_is_right(data, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "_method", oracle)
    report = evaluation.text(config(data, clip), ModelChoice(), place(tmp_path, 1))
    scores = report.results["mean"]["scores"]
    assert scores["instance_iou"] > 0.9  # the grid of the model is coarser than the picture
    assert scores["instance_iou"] == report.results["mean"]["best"]["instance_iou"]
    assert {score: value for score, value in scores.items() if "iou" not in score} == {
        "recall@1": 1, "recall@5": 1, "map": 1, "median_rank": 1, "top@1": 1, "top@5": 1, "top@1_by_category": 1,
    }  # fmt: skip
    assert list(report.results["datasets"]) == ["few", "many"]
    assert any("left out: silent" in note for note in report.notes)
    assert [(line.measured, line.paper, line.baseline) for line in report.headlines[1:]] == [
        (1.0, None, f"chance {report.results['mean']['chance'][score]:.3f}") for score in ("map", "top@1")
    ]


def elsewhere(out):
    """A worker to which everything is sent, though it is this process."""

    def spread(start, items, count):
        return here(pickle.loads(pickle.dumps(start)), items, count)

    return Setting(out, spread, lambda _: None)


def test_a_real_clip_and_a_real_model_make_a_report(data, clip, weights, tmp_path):
    """Untrained weights, real files: the numbers mean nothing, but are the same wherever they are measured."""
    sets = ["points_per_side=3", "pred_iou_thresh=0", "stability_score_thresh=0", "min_mask_region_area=0"]
    run, choice = config(data, clip, amg=sets, max_images=1), ModelChoice(checkpoint=weights)
    reports = [evaluation.text(run, choice, setting) for setting in (place(tmp_path, 1), elsewhere(tmp_path))]
    assert reports[0].results == reports[1].results
    assert 0 < reports[0].results["mean"]["best"]["instance_iou"] <= 1
    sheets = ["text/best.jpg", "text/middle.jpg", "text/worst.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["text.json", "text.md"]
    assert sorted(f"text/{path.name}" for path in (tmp_path / "text").iterdir()) == sheets
    written = json.loads((tmp_path / "text.json").read_text())
    assert written["config"]["clip_weights"] == evaluation.digest_of(clip)
    assert (written["model"], written["image_size"]) == ("random", 64)
    page = (tmp_path / "text.md").read_text()
    assert "these measures are ours" in page
    assert all(f"]({sheet})" in page for sheet in sheets)


def test_sheets_show_the_best_the_middle_and_the_worst(data, clip, tmp_path):
    values = {}
    for number in range(21):
        said = [{"name": name, "instance_iou": (number + share) / 21} for name, share in (("a", 0.0), ("b", 0.5))]
        values[Item("d", f"{number:02d}", (0, number))] = {"texts": said}
    shown = evaluation.choose_shown(Measured(values, {}, {}))
    found = {sheet: [(one.item.name, one.text["name"]) for one in answers] for sheet, answers in shown.items()}
    assert found["best"] == [("20", "b"), ("19", "b"), ("18", "b"), ("17", "b")]
    assert found["worst"] == [("00", "a"), ("01", "a"), ("02", "a"), ("03", "a")]
    assert [name for name, _ in found["middle"]] == ["10", "11", "09", "12"]
    nothing = evaluation.choose_shown(Measured({Item("d", "1", (0, 0)): {"texts": []}}, {}, {}))
    assert evaluation.draw_sheets(tmp_path, nothing, [], 0, "photos") == ()


def test_pictures_without_a_category_do_not_disturb(data, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "_method", oracle)
    picture, labelled = coloured(SIZE, BOXES)
    unnamed = [(mask, None) for mask, _ in labelled]
    write_labelled(tmp_path / "some.tar", [(picture, unnamed), (picture, labelled)])
    report = evaluation.text(config(tmp_path / "some.tar", clip), ModelChoice(), place(tmp_path, 1))
    one = report.results["datasets"]["some"]
    assert (one["images"], one["texts"]) == (2, 4)


def no_model(*_, **__):
    raise AssertionError("a model was loaded")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clip": "openai/clip-vit-base-patch32"}, "nothing is downloaded here"),
        ({"amg": ["points=3"]}, "points"),
        ({"data": ["SILENT"]}, "expected data that say what a mask shows, got .*silent.tar"),
        ({"data": ["synthetic:3"]}, "expected data that say what a mask shows, got synthetic:3"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_a_model_is_loaded(data, clip, tmp_path, monkeypatch, change, words):
    monkeypatch.setattr(ModelChoice, "load", no_model)
    if change == {"data": ["SILENT"]}:
        change = {"data": [str(data / "silent.tar")]}
    with pytest.raises(ValueError, match=words):
        evaluation.text(config(data, clip, **change), ModelChoice(), place(tmp_path, 1))
