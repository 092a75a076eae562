"""The browser app checked with its own tools, and the built files that users get against its sources."""

import subprocess
from pathlib import Path

import pytest
from browser import ROOT, WEB, missing_node

STATIC = ROOT / "src" / "opensam" / "serve" / "static"

pytestmark = pytest.mark.skipif(missing_node() is not None, reason=str(missing_node()))


def run(tool: str, *arguments: str) -> None:
    """Run a tool of web/node_modules in web/."""
    command = [str(WEB / "node_modules" / ".bin" / tool), *arguments]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_types_hold() -> None:
    run("tsc", "--noEmit")


def test_the_units_do_what_their_tests_say() -> None:
    run("vitest", "run")


def test_the_built_files_are_those_of_the_sources(tmp_path: Path) -> None:
    """Otherwise a user gets another app than the one that is in web/src."""
    run("vite", "build", "--outDir", str(tmp_path), "--emptyOutDir")
    built, shipped = files(tmp_path), files(STATIC)
    assert sorted(built) == sorted(shipped), "make web, then commit src/opensam/serve/static"
    stale = [name for name in built if built[name] != shipped[name]]
    assert stale == [], "make web, then commit src/opensam/serve/static"
