"""Several processes learn what one process learns, and runs move between them."""

import csv
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opensam.train.parallel import make_fabric

ROOT = Path(__file__).parents[2]


def start(
    folder: Path, *overrides: str, launcher: tuple[str, ...] = (), backend: str = "local"
) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("RANK", "WORLD_SIZE"))}
    environment |= {"PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "tests.train.parallel_run", backend, str(folder), *overrides]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, *overrides: str, launcher: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    process = start(folder, *overrides, launcher=launcher)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process with two micro-batches per step."""
    folder = tmp_path_factory.mktemp("alone")
    run(folder, "accumulate=2", "validate_every=4")
    return folder


def column(folder: Path, kind: str, name: str) -> list[float]:
    with (folder / f"{kind}.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def assert_same_run(folder: Path, weights: dict[str, torch.Tensor], alone: Path) -> None:
    """Gradients agree to rounding; weights less, because Adam makes a step of the sign of a gradient near zero."""
    assert column(folder, "log", "grad_norm") == pytest.approx(column(alone, "log", "grad_norm"), rel=1e-4)
    expected = load_file(alone / "model.safetensors")
    assert weights.keys() == expected.keys()
    for name in weights:
        torch.testing.assert_close(
            weights[name], expected[name], rtol=1e-3, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns_at_the_same_global_batch(
    tmp_path: Path, alone: Path, strategy: str
) -> None:
    weights = run(tmp_path, "devices=2", f"strategy={strategy}", "validate_every=4")
    assert_same_run(tmp_path, weights, alone)
    assert column(tmp_path, "validation", "loss") == pytest.approx(column(alone, "validation", "loss"), rel=1e-2)
    assert (tmp_path / "best.safetensors").exists()


def test_torchrun_starts_the_processes_itself(tmp_path: Path, alone: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}")
    assert_same_run(tmp_path, run(tmp_path, "devices=2", launcher=torchrun), alone)


@pytest.mark.slow
def test_two_workers_of_ray_learn_the_same_and_tell_how_it_goes(tmp_path: Path, alone: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra opensam[ray]")
    with start(tmp_path, "devices=2", backend="ray") as process:
        timer = threading.Timer(240, process.kill)
        timer.start()
        told, errors = process.communicate()
        timer.cancel()
    assert process.returncode == 0, errors
    assert told.split() == ["1", "2", "3", "4"]
    assert_same_run(tmp_path, load_file(tmp_path / "model.safetensors"), alone)


def test_a_process_killed_at_any_moment_loses_the_steps_since_the_last_checkpoint_only(
    tmp_path: Path, alone: Path
) -> None:
    process = start(tmp_path, "accumulate=2")
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resumed, whole = run(tmp_path, "accumulate=2"), load_file(alone / "model.safetensors")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_several_machines_without_a_launcher_are_refused_instead_of_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="processes of 2 machines to be started by torchrun or --backend ray"):
        make_fabric(1, 2, "ddp", "32-true")
