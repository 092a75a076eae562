"""What a number depends on beside its config: the code, the versions, the machine."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "onnxruntime", "numpy", "opencv-python-headless", "pillow", "safetensors")


def run_facts(device: str, seed: int) -> dict[str, Any]:
    """What a number depends on beside its config: commit, versions, machine, threads of torch, device, seed."""
    torch = sys.modules.get("torch")  # what it is not needed for, it need not be loaded for
    return {
        "commit": commit_of(Path(__file__)),
        "versions": {
            "opensam": _version("opensam"),
            "python": platform.python_version(),
            **{package: _version(package) for package in PACKAGES},
        },
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads() if torch else None,
        },
        "device": torch.cuda.get_device_name(device) if torch and device.startswith("cuda") else device,
        "seed": seed,
    }


def commit_of(file: Path) -> str | None:
    """The commit of the checkout that tracks a file, -dirty if that was changed; None if none does."""
    # An installed package may lie below somebody else's checkout, which does not track it.
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The name of the processor, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
