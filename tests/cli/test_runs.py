"""How the commands that train show their runs."""

from pathlib import Path

import pytest

from opensam.cli.runs import Run, RunView, how_to_resume
from opensam.train.loop import Progress, RunConfig


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    config = RunConfig(batch_size=2, accumulate=3, devices=2, nodes=4, steps=10)
    return [Run(tmp_path / name, config, name) for name in ("first", "second")]


def test_the_run_that_began_last_is_shown_with_the_time_that_is_left(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    with RunView(runs, ("loss", "iou")) as view:
        for run in runs:
            run.folder.mkdir()
            view(Progress(4, 10, images_per_second=24.0, facts={"loss": 0.5, "lr": 1.0}))
        view.say("a [b] c")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        *(f"{name} 4/10 loss 0.500  24.0 images/s  0:00:12 left" for name in ("first", "second")),
        "a [b] c",
    ]


def test_only_the_first_process_speaks(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with RunView(runs, ()) as view:
        view.say("a")
    assert capsys.readouterr().err == ""


def test_the_latest_checkpoint_is_the_one_to_go_on_from(runs: list[Run]) -> None:
    assert "nothing was saved yet" in how_to_resume(runs)
    for run in runs:
        run.folder.mkdir()
        (run.folder / "last.pt").touch()
    assert how_to_resume(runs).endswith(str(runs[1].folder / "last.pt"))
