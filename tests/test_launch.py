"""Starting the processes of a run; tests/train/test_parallel.py trains with them."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opensam import launch

ROOT = Path(__file__).parents[1]


def test_a_local_run_is_a_call(tmp_path: Path) -> None:
    told: list[str] = []

    def work(report: launch.Report) -> int:
        report("half")
        return os.getpid()

    assert launch.run("local", 2, 1, work, told.append, tmp_path) == os.getpid()
    assert told == ["half"]


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a backend, one of local, ray, got slurm"):
        launch.run("slurm", 1, 1, lambda report: None, print, tmp_path)


def test_workers_of_one_machine_count_from_zero_in_it() -> None:
    workers = [launch._Worker(None, *where, ()) for where in (("a", "1"), ("a", "1"), ("b", "2"), ("b", "2"))]
    places = launch._places(workers, 4000)
    assert [(place.rank, place.local_rank, place.node_rank) for place in places] == [
        (0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 1)
    ]  # fmt: skip
    assert {(place.world_size, place.local_world_size, place.address) for place in places} == {(4, 2, "1")}


@pytest.mark.parametrize(
    ("home", "mark", "sentence"),
    [
        ("none", "out/mark", "expected the folder .*none on every machine, got none on"),
        (".", "none/mark", "expected to write to .*none on every machine, got on .*No such file"),
        (".", "out/mark", "expected .*out to be the same folder on every machine, got another one on"),
    ],
)
def test_a_worker_that_sees_other_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, mark: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=sentence):
        launch.Process().enter(tmp_path / home, tmp_path / mark)


def test_a_worker_that_sees_the_same_files_works_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "mark").touch()
    launch.Process().enter(tmp_path, tmp_path / "mark")
    assert Path.cwd() == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]


@pytest.mark.slow
def test_what_goes_wrong_in_ray_ends_all_workers_and_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra opensam[ray]")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.ray_run", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(240, process.kill)
        timer.start()
        told = (line.removeprefix("told ") for line in process.stdout if line.startswith("told "))
        lines = list(itertools.islice(told, 5))  # Ray says things too
        process.send_signal(signal.SIGINT)
        process.communicate()
        timer.cancel()
    assert lines[0] == "FileNotFoundError: [Errno 2] No such file or directory: 'missing.jpg'\n"
    assert lines[1].startswith("ChildProcessError: expected all workers to live until the end, but one died")
    assert lines[2].startswith("ValueError: expected a Ray cluster of 1 machines with 3 CPUs each, got 0 such machines")
    assert lines[3].startswith("ValueError: expected a Ray cluster of 2 machines with 1 CPUs each, got 1 such machines")
    running, *pids = lines[4].split()
    assert running == "running"
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "Ctrl-C left workers behind"
        time.sleep(0.1)
    assert not list(tmp_path.iterdir()), "nothing is left in the folder of the run"
