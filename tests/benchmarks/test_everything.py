"""The benchmark of everything in a picture: both sides have one model and give one list, or it says so."""

import numpy as np
import pytest
import torch

from benchmarks import everything, transformers_everything
from opensam.masks import encode_rle
from opensam.prompts import Prompts


def test_both_sides_have_one_model(make_sam) -> None:
    sam = make_sam(0).float()
    theirs = transformers_everything.with_encoder_of(sam)
    pixels = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[50.0, 60.0]], [[200.0, 90.0]]])
    with torch.no_grad():
        embeddings = sam.encode(pixels)
        assert torch.equal(theirs.get_image_embeddings(pixels), embeddings)
        masks, scores = sam.decode(embeddings, Prompts(points, torch.ones(2, 1)), multimask_output=True)
        answer = theirs(
            image_embeddings=embeddings, input_points=points[None], input_labels=torch.ones(1, 2, 1, dtype=torch.int64)
        )
    assert (answer.iou_scores[0] - scores).abs().max() < 1e-4 * scores.abs().max()
    assert (answer.pred_masks[0] - masks).abs().max() < 1e-4 * masks.abs().max()


def rectangles(count: int) -> list:
    masks = np.zeros((count, 40, 40), dtype=bool)
    for number, mask in enumerate(masks):
        mask[number : number + 10, 5:30] = True
    return [encode_rle(mask) for mask in masks]


def test_sides_with_other_masks_are_not_compared() -> None:
    found = rectangles(9)
    agreement = everything.compare({"opensam": found[::-1], "object-aware": found[:6], "transformers": found})
    assert agreement["opensam"]["share_with_partner"] == 1
    assert agreement["object-aware"]["share_with_partner"] == pytest.approx(6 / 9)
    for ours in (found[:8], [*found, found[0]], [*found[:8], found[0]]):
        with pytest.raises(ValueError, match="one has changed"):
            everything.compare({"opensam": ours, "object-aware": found, "transformers": found})
    with pytest.raises(ValueError, match="lower the thresholds"):
        everything.compare({"opensam": [], "object-aware": [], "transformers": []})


def test_the_table_has_medians_and_how_many_times_faster_we_are() -> None:
    def run(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "processor_seconds": seconds, "peak_mib": 10.0, "masks": 9}

    runs = {
        "opensam": [run(1), run(2), run(9)],
        "object-aware": [run(1)] * 3,
        "transformers": [run(20), run(24), run(30)],
    }
    agreement = everything.compare(dict.fromkeys(runs, rectangles(9)))
    content, text = everything.summary(runs, agreement, everything.parse(["--device=cpu"]))
    assert content["times_faster"] == {"opensam": 12, "object-aware": 24, "transformers": 1}
    assert "| opensam | 2 | 2 | 10 | 9 | 12.0 | 1.000 with IoU >= 0.99 |" in text
