"""What pyproject.toml, constraints.txt and the Makefile promise about installing opensam."""

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def brought_by(name: str, extras: set[str], seen: dict[str, set[str]]) -> dict[str, set[str]]:
    """Everything that installing `name` with `extras` brings, as far as it is installed here."""
    known = seen.setdefault(canonicalize_name(name), set())
    if seen[canonicalize_name(name)] and extras <= known:
        return seen
    known |= extras | {""}
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return seen
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in known):
            brought_by(requirement.name, set(requirement.extras), seen)
    return seen


def test_no_extra_brings_torchvision() -> None:
    """Beside a CPU torch it often cannot be imported, and then breaks the packages that look for it."""
    brought = brought_by("opensam", set(PROJECT["optional-dependencies"]), {})
    assert {"torch", "numpy", "transformers", "lightning-fabric"} <= set(brought)
    assert "torchvision" not in brought


def test_the_walk_would_find_torchvision_behind_an_extra() -> None:
    assert "scikit-image" not in brought_by("opensam", set(), {})
    assert "imageio" in brought_by("opensam", {"demo"}, {})  # two steps away: demo -> scikit-image -> imageio


def test_torch_has_no_upper_bound() -> None:
    (torch,) = [one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "torch"]
    assert str(torch.specifier) == ">=2.6"


def test_every_dependency_is_pinned_to_a_tested_version_that_fits() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert match, f"not an exact version: {line}"
            pins[canonicalize_name(match[1])] = match[2]
    assert pins["torch"] == "2.13.0"
    extras = chain.from_iterable(PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if requirement.name != "opensam":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("pattern", ["py.typed", "weights/*.safetensors", "weights/*.md"])
def test_the_package_carries_its_data(pattern: str) -> None:
    package = importlib.resources.files("opensam")
    assert list(Path(str(package)).glob(pattern)), f"no {pattern} beside the modules"


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run must be executable"
    assert script.read_text().rstrip().endswith("make test")


def test_the_wheel_holds_the_weights_and_the_browser_app_and_no_tests(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; the extra dev has it")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "opensam"
    data = [path for part in ("weights", "serve/static") for path in (package / part).rglob("*") if path.is_file()]
    data = [path for path in data if "__pycache__" not in path.parts]
    assert {f"opensam/{path.relative_to(package).as_posix()}" for path in data} <= names
    assert {"opensam/serve/static/index.html", "opensam/serve/static/app.js", "opensam/py.typed"} <= names
    assert all(name.startswith(("opensam/", "opensam-")) for name in names)
    assert not any("node_modules" in name for name in names)
