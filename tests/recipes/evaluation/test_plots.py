import numpy as np
import pytest
from PIL import Image

from opensam.recipes.evaluation.plots import Line, plot_lines

pytest.importorskip("matplotlib")


def test_a_plot_is_the_same_file_for_the_same_numbers(tmp_path):
    lines = [Line("ours", [1, 2, 3], [0.4, 0.5, 0.6]), Line("box", [1, 3], [0.7, 0.7], "dashed")]
    contents = []
    for name in ("a", "b"):
        plot_lines(tmp_path / name / "plot.png", lines, "clicks", "IoU", x_ticks=[1, 2, 3], y_range=(0, 1))
        contents.append((tmp_path / name / "plot.png").read_bytes())
    assert contents[0] == contents[1]
    pixels = np.asarray(Image.open(tmp_path / "a" / "plot.png").convert("RGB"))
    assert pixels.shape == (440, 704, 3)
    assert (pixels == (31, 95, 191)).all(axis=2).sum() > 100, "the first line has the first colour"


def test_other_numbers_are_another_picture(tmp_path):
    for name, last in (("a", 0.6), ("b", 0.9)):
        plot_lines(tmp_path / f"{name}.png", [Line("ours", [1, 2], [0.4, last])], "x", "y", y_range=(0, 1))
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
