"""The names that other people's code may rely on: to change a list here is to change the interface."""

import importlib
import subprocess
import sys

import pytest

SURFACE = {
    "opensam": [
        "AmgConfig",
        "Client",
        "ImageEmbedding",
        "MaskGenerator",
        "Prediction",
        "Predictor",
        "Prompts",
        "Sam",
        "list_models",
        "load",
    ],
    "opensam.compat": [
        "SamAutomaticMaskGenerator",
        "SamPredictor",
        "build_sam",
        "build_sam_vit_b",
        "build_sam_vit_h",
        "build_sam_vit_l",
        "sam_model_registry",
    ],
}


@pytest.mark.parametrize("module", SURFACE)
def test_the_public_names_are_the_listed_ones(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == SURFACE[module]


@pytest.mark.parametrize(("module", "name"), [(m, name) for m in SURFACE for name in SURFACE[m]])
def test_every_public_name_is_there_and_shown(module: str, name: str) -> None:
    loaded = importlib.import_module(module)
    assert getattr(loaded, name) is not None
    assert name in dir(loaded)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    opensam = importlib.import_module("opensam")
    with pytest.raises(AttributeError, match="Predicter"):
        opensam.Predicter  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        # `import opensam` itself is free: what it offers is loaded when it is first touched.
        ("import opensam", ["torch", "numpy", "cv2", "typer", "rich"]),
        (
            f"import opensam; [getattr(opensam, name) for name in {SURFACE['opensam']}]",
            ["typer", "rich", "scipy", "skimage", "matplotlib", "lightning_fabric", "transformers"],
        ),
    ],
)
def test_importing_stays_light(statement: str, absent: list[str]) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {absent} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
