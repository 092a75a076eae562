"""`opensam eval fairness`, `geography` and `human`, from files to reports."""

import csv
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from tests.eval.synthetic_eval import write_two_datasets
from typer.testing import CliRunner

from opensam.cli import app
from opensam.eval.human import read_ratings
from opensam.models import checkpoints
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sentence(result):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small untrained model."""
    torch.manual_seed(0)
    encoder = TinyViTConfig(image_size=64, embed_dims=(16, 32, 40, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoints.save(Sam(SamConfig(image_encoder=encoder), "random").eval(), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data sets discs (pictures discs_0 with 2 masks and discs_1 with 1) and boxes."""
    folder = tmp_path_factory.mktemp("data")
    write_two_datasets(folder)
    return folder


GROUPS = [
    "image,mask,age",
    "discs_0,0,young",
    "discs_0,1,older",
    "discs_1,0,young",
    "boxes-001_0.png,1,older",
]


def test_fairness_writes_groups_beside_the_paper(data, weights, tmp_path):
    groups = write(tmp_path / "groups.csv", *GROUPS)
    options = ["--data", data, "--groups", groups, "--checkpoint", weights]
    reports = []
    for number, workers in enumerate([1, 2]):
        out = tmp_path / str(number)
        result = run("eval", "fairness", *options, "--out", out, "--workers", workers)
        assert result.exit_code == 0, result.output
        reports.append(json.loads((out / "fairness.json").read_text()))
    assert reports[0]["results"] == reports[1]["results"]
    rows = reports[0]["tables"][0]["rows"]
    assert [row[:3] for row in rows] == [["age: older", 2, 2], ["age: young", 2, 2]]
    assert [row[6] for row in rows] == ["0.629 ± 0.067", "0.542 ± 0.022"]
    assert "age: older" in result.stdout
    assert reports[0]["config"]["attributes"] == ["age"]
    assert "±" in (tmp_path / "0" / "fairness.md").read_text()
    (headline,) = reports[0]["headlines"]
    assert headline["measured"] == pytest.approx(abs(rows[0][3] - rows[1][3]))


def test_other_groups_are_measured_anew(data, weights, tmp_path, monkeypatch):
    facts = {"commit": "c", "versions": {}, "seed": 0}
    monkeypatch.setattr("opensam.recipes.evaluation.session.run_facts", lambda *_: facts)
    monkeypatch.setattr("opensam.recipes.evaluation.fairness.Session.finish", lambda *_: None)
    options = ["--data", data, "--checkpoint", weights, "--out", tmp_path, "--groups", tmp_path / "groups.csv"]
    write(tmp_path / "groups.csv", *GROUPS[:2])
    assert run("eval", "fairness", *options).exit_code == 0
    write(tmp_path / "groups.csv", *GROUPS)
    result = run("eval", "fairness", *options)
    assert "random: 3/3 images" in result.stderr, result.output
    assert len((tmp_path / "fairness.partial.jsonl").read_text().splitlines()) == 4


def test_lines_that_fit_nothing_are_named_or_listed(data, weights, tmp_path):
    groups = write(tmp_path / "groups.csv", *GROUPS, "nobody,0,young")
    options = ["--data", data, "--groups", groups, "--checkpoint", weights, "--out", tmp_path / "out"]
    line = sentence(run("eval", "fairness", *options))
    assert re.search(r"groups.csv line 6: nobody is not in boxes, discs .*--skip-bad", line)
    result = run("eval", "fairness", *options, "--skip-bad")
    assert result.exit_code == 0, result.output
    assert "groups.csv line 6: nobody" in (tmp_path / "out" / "fairness.md").read_text()
    assert "attribute that is a column" in sentence(run("eval", "fairness", *options, "--attribute", "height"))
    assert "points" in sentence(run("eval", "fairness", *options, "--points", "left"))


def test_geography_counts_beside_the_paper(tmp_path):
    file = write(tmp_path / "a.csv", "image,country", "1,KE", "2,Germany", "3,Atlantis")
    result = run("eval", "geography", "--metadata", file, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "geography.json").read_text())
    assert report["tables"][0]["rows"][0] == ["Africa", 1, 1, 50.0, 2.8, 3.0, 1.7]
    assert report["tables"][1]["rows"] == [["Germany", "DEU", 1, 50.0], ["Kenya", "KEN", 1, 50.0]]
    assert "Unknown countries: Atlantis (line 4)" in report["tables"][0]["note"]
    assert report["tables"][0]["rows"][-1][:2] == ["unknown country", 1]
    file = write(tmp_path / "b.csv", "image,country", "1,Atlantis")
    assert "got Atlantis" in sentence(run("eval", "geography", "--metadata", file, "--out", tmp_path / "b"))


VIEWS = ("picture", "overlay", "mask", "zoom", "zoom_overlay")


def make_kit(out, data, weights, *options):
    result = run("eval", "human", "--make-kit", out, "--data", data, "--checkpoint", weights, *options)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader((out / "key.csv").read_text().splitlines()))


def test_a_kit_and_its_ratings_make_a_report(data, weights, tmp_path):
    kit = tmp_path / "kit"
    jobs = make_kit(kit, data, weights, "--per-dataset", "1")
    asked = {(job["dataset"], job["image"], job["mask"], job["method"]) for job in jobs}
    assert {("discs", "discs_1", "0", "random"), ("discs", "discs_1", "0", "data set")} <= asked  # the only large one
    assert len(asked) == 4
    page = (kit / "page" / "index.html").read_text()
    shown = json.loads(re.search(r'<script type="application/json" id="kit">(.*?)</script>', page)[1])
    assert shown["jobs"] == [job["job"] for job in jobs]
    assert "discs" not in page
    assert "random" not in page
    assert {path.name for path in (kit / "page" / "pictures").iterdir()} == {
        f"{job['job']}_{view}.jpg" for job in jobs for view in VIEWS
    }
    rows = [f"{job['job']},{rater},{value},3" for job in jobs for rater, value in (("ann", 8), ("bob", 9))]
    ratings = write(tmp_path / "ratings.csv", "job,rater,rating,seconds", *rows)
    result = run("eval", "human", "--ratings", ratings, "--key", kit / "key.csv", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "human.json").read_text())
    first = report["tables"][0]["rows"][0]
    assert first[1:4] == [1, 2, 8.5]
    assert first[5:] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert report["results"]["agreement"]["difference"] == 1
    assert np.asarray(Image.open(tmp_path / "out" / "human_ratings.png")).std() > 10


def test_models_are_compared_in_one_kit(data, weights, tmp_path):
    jobs = make_kit(tmp_path / "kit", data / "discs.tar", weights, "--against", weights)
    assert sorted(job["method"] for job in jobs) == ["data set", "random", "random 2"]
    pictures = tmp_path / "kit" / "page" / "pictures"
    masks = {job["method"]: (pictures / f"{job['job']}_mask.jpg").read_bytes() for job in jobs}
    assert masks["random"] == masks["random 2"] != masks["data set"]


def test_the_mask_that_is_shown_is_the_one_of_the_key(data, weights, tmp_path):
    jobs = make_kit(tmp_path / "kit", data / "discs.tar", weights)
    (truth,) = [job["job"] for job in jobs if job["method"] == "data set"]
    view = np.asarray(Image.open(tmp_path / "kit" / "page" / "pictures" / f"{truth}_mask.jpg")).astype(int)
    yellow = view[..., 1] > 110
    ys, xs = np.mgrid[:60, :80]
    disc = (xs - 40) ** 2 + (ys - 30) ** 2 <= 400
    point = (xs - 40) ** 2 + (ys - 30) ** 2 <= 100
    assert view.shape == (60, 80, 3)
    assert np.mean((yellow == disc) | point) > 0.98
    assert view[30, 40, 2] > 200  # the blue point


def test_a_kit_is_the_same_for_a_seed_and_never_over_another(data, weights, tmp_path):
    kits = [make_kit(tmp_path / name, data, weights, "--seed", seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert kits[0] == kits[1]
    assert {job["job"] for job in kits[0]}.isdisjoint({job["job"] for job in kits[2]})
    options = ["--make-kit", tmp_path / "a", "--data", data, "--checkpoint", weights]
    assert "new or empty folder" in sentence(run("eval", "human", *options))


TYPIST = """<script>
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
at("rater").value = 'Ann "A", B'; at("login").requestSubmit();
press("7"); press("0"); press("ArrowLeft"); press("6");
const views = [" ", "z", " ", "m", "m"].map((key) => { press(key); return state.view; });
press("Escape"); press("9");
const out = document.createElement("pre"); out.id = "out";
const kept = recall(state.rater).ratings;
out.textContent = JSON.stringify([csv(), views, kept, at("finish").hidden, at("count").textContent]);
document.body.append(out);
</script></body>"""


def test_the_page_takes_ratings_by_keyboard_and_remembers_them(data, weights, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    jobs = [job["job"] for job in make_kit(tmp_path / "kit", data, weights, "--per-dataset", "1")]
    page = tmp_path / "kit" / "page" / "index.html"
    page.write_text(page.read_text().replace("</body>", TYPIST))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dom = subprocess.run([browser, *options, page.as_uri()], capture_output=True, text=True, timeout=100, check=True)
    found = json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', dom.stdout)[1]))
    file = tmp_path / "ratings.csv"
    file.write_text(found[0])
    ratings = read_ratings([file], tmp_path / "kit" / "key.csv")
    assert [(one.rater, one.rating) for one in ratings] == [('Ann "A", B', value) for value in (7, 6, 9)]
    assert found[1] == ["picture", "zoom", "zoom_overlay", "mask", "overlay"]
    assert found[2] == dict(zip(jobs, (7, 6, 9), strict=False))
    assert found[3]  # one of four is left
    assert found[4] == "4 of 4, 3 rated"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "either --make-kit with --data, or --ratings with --out"),
        (["--make-kit", "k", "--ratings", "r.csv"], "either --make-kit"),
        (["--make-kit", "k"], "expected --data"),
        (["--ratings", "r.csv"], "expected --out"),
        (["--ratings", "r.csv", "--out", "o"], "cannot read r.csv"),
    ],
)
def test_half_a_command_is_one_sentence(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in sentence(run("eval", "human", *options))
    assert list(tmp_path.iterdir()) == []
