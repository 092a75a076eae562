"""Workers that do tasks and die over some; tests/recipes/test_generation.py has those of Ray."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from opensam.launch import pool

ROOT = Path(__file__).parents[2]


def start(folder: Path, *, dies_once: int = -1, dies: int = -1, fails: int = -1) -> Callable[[int], tuple[int, str]]:
    """A worker that squares numbers, except for some."""

    def work(number: int) -> tuple[int, str]:
        if number == fails:
            raise OSError(28, "No space left on device", "out/a.json")
        once = folder / "died"
        if number == dies or (number == dies_once and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2, os.environ["OMP_NUM_THREADS"]

    return work


def never_ready(folder: Path) -> None:
    os._exit(3)


def wrong() -> None:
    raise ValueError("expected a model, got none")


def run(workers: int | None, work: Callable, numbers: range, folder: Path) -> dict[int, object]:
    with pool.answers("local", workers, work, numbers, folder, "cpu") as answers:
        return dict(answers)


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_every_task_has_one_answer(tmp_path: Path, workers: int | None) -> None:
    answers = run(workers, partial(start, tmp_path), range(9), tmp_path)
    assert {number: answer[0] for number, answer in answers.items()} == {number: number**2 for number in range(9)}


def test_a_task_whose_worker_died_is_done_by_another_one(tmp_path: Path) -> None:
    answers = run(2, partial(start, tmp_path, dies_once=3), range(9), tmp_path)
    assert (tmp_path / "died").exists()
    assert {number: answer[0] for number, answer in answers.items()} == {number: number**2 for number in range(9)}


def test_a_task_over_which_two_workers_died_is_given_up_and_the_others_are_done(tmp_path: Path) -> None:
    answers = run(2, partial(start, tmp_path, dies=3), range(6), tmp_path)
    assert str(answers.pop(3)) == "the worker was killed by SIGKILL; the system does that when memory is short"
    assert sorted(answers) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_as_it_was(tmp_path: Path, workers: int) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        run(workers, partial(start, tmp_path, fails=3), range(9), tmp_path)
    assert caught.value.filename == "out/a.json"
    with pytest.raises(ValueError, match="expected a model, got none"):
        run(workers, wrong, range(9), tmp_path)


def test_workers_that_never_get_ready_are_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(
        ChildProcessError, match=r"got none \(the worker ended with exit code 3\); give fewer --workers"
    ):
        run(2, partial(never_ready, tmp_path), range(9), tmp_path)


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected a backend, one of local, ray, got slurm"),
        pool.answers("slurm", 1, wrong, range(1), tmp_path, "cpu"),
    ):
        pass


def test_the_cores_are_shared_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pool._Processes(wrong, "cpu", 2).threads == "1"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(pool, "_cores", lambda: 12)
    assert [pool._Processes(wrong, "cpu", count).threads for count in (2, 5, 40)] == ["6", "2", "1"]


def test_workers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from functools import partial\n"
        "from opensam.launch import pool; from tests.launch.test_pool import tell\n"
        "if __name__ == '__main__':\n"
        "    folder = Path(sys.argv[1])\n"
        "    with pool.answers('local', 2, partial(tell, folder), range(10**6), folder, 'cpu') as answers:\n"
        "        for _ in answers: pass\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}"}
    script = tmp_path / "program.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, script, tmp_path], env=environment)
    wait_until(lambda: len(list(tmp_path.glob("worker-*"))) == 2)
    process.kill()
    process.wait()
    pids = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def tell(folder: Path) -> Callable[[int], None]:
    """A worker that says who it is, and is slow."""
    (folder / f"worker-{os.getpid()}").touch()

    def work(number: int) -> None:
        time.sleep(0.2)

    return work


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "waited a minute"
        time.sleep(0.05)
