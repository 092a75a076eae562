"""Masks from boxes: AP against pycocotools, methods whose AP is known, files of boxes."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.cocoeval import COCOeval
from tests.data.layouts import write
from tests.eval.scenes import as_coco
from tests.eval.synthetic_eval import disk, picture, rectangle

from opensam.data.ground_truth import open_ground_truth
from opensam.eval.instances import (
    GROUND_TRUTH,
    InstancesConfig,
    SamRefiner,
    measuring,
    read_boxes,
    summarise,
)
from opensam.eval.runner import list_items
from opensam.eval.segmenters import SamSegmenter
from opensam.geometry import Resize
from opensam.masks import encode_rle, mask_to_box
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.prompts import Prompts

SIZE = (120, 160)
# By picture: masks and their categories.
PICTURES = {
    1: [(rectangle(SIZE, 5, 5, 24, 24), 1), (disk(SIZE, (90, 60), 40), 2)],
    2: [(rectangle(SIZE, 40, 10, 99, 59), 1), (rectangle(SIZE, 10, 70, 29, 79), 2)],
    3: [],
}


def xywh(mask):
    x0, y0, x1, y1 = mask_to_box(mask).tolist()
    return [x0, y0, x1 - x0 + 1, y1 - y0 + 1]


def dataset(lvis=False):
    images = [{"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]} for number in PICTURES]
    annotations: list[dict[str, Any]] = []
    for number, things in PICTURES.items():
        for mask, category in things:
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0,
                "segmentation": dict(encode_rle(mask)), "bbox": xywh(mask), "area": int(mask.sum()),
            })  # fmt: skip
    categories = [{"id": 1, "name": "box"}, {"id": 2, "name": "ball"}]
    if lvis:
        for one in images:
            one |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        categories[0]["frequency"], categories[1]["frequency"] = "r", "f"
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def truth(tmp_path):
    return open_truth(tmp_path)


def open_truth(folder, **kind):
    pixels = {
        number: picture([mask for mask, _ in things] or [np.zeros(SIZE, bool)], number)
        for number, things in PICTURES.items()
    }
    write(folder, {f"images/{number}.png": one for number, one in pixels.items()})
    (folder / "val.json").write_text(json.dumps(dataset(**kind)))
    return open_ground_truth([f"{folder / 'val.json'}:{folder / 'images'}"])


class Knows:
    """Answers a box with `answer` of the mask that it was drawn around."""

    def __init__(self, answer=lambda mask: mask):
        self.known = {tuple(mask_to_box(mask).tolist()): mask for things in PICTURES.values() for mask, _ in things}
        self.answer, self.asked = answer, []

    def embed(self, image):
        return None

    def refine_boxes(self, embedding, boxes, rounds):
        self.asked.append((boxes, rounds))
        return np.stack([self.answer(self.known[tuple(map(int, box))]) for box in boxes.tolist()])


def run(truth, method, boxes=None, **settings):
    """The summary, and the values."""
    config = InstancesConfig(data=("val",), boxes=GROUND_TRUTH, **settings)
    work = measuring(lambda: method, truth, boxes, config)
    values = [json.loads(json.dumps(work(item), allow_nan=False)) for item in list_items([truth])]
    return summarise(values, truth.categories), values


# ---- methods whose AP is known -----------------------------------------------------------------------------


def test_the_truth_for_true_boxes_has_an_ap_of_one(truth):
    method = Knows()
    result, _ = run(truth, method)
    for name in ("AP", "AP50", "AP75", "AP small", "AP medium", "AR"):
        assert result[name] == pytest.approx(1), name
    assert result["AP large"] is None
    assert result["categories"] == {"box": pytest.approx(1), "ball": pytest.approx(1)}
    assert (result["pictures"], result["boxes"]) == (3, 4)
    assert result["right boxes"] == {"all": [4, 1.0], "small": [2, 1.0], "medium": [2, 1.0]}
    assert method.asked[0][0].tolist() == [[5, 5, 24, 24], [50, 20, 130, 100]], "both corners are pixels of the box"
    assert {rounds for _, rounds in method.asked} == {1}, "one refinement, as in the paper"


def test_empty_masks_have_none_and_masks_moved_by_a_quarter_reach_the_thresholds_up_to_their_iou(truth):
    nothing, _ = run(truth, Knows(np.zeros_like))
    assert (nothing["AP"], nothing["AR"], nothing["right boxes"]["all"]) == (0, 0, [4, 0.0])
    boxes = {2: [entry(2, 1, [40, 10, 60, 50])]}
    moved, values = run(truth, Knows(lambda mask: np.roll(mask, 15, axis=1)), read(truth, boxes))
    # Of four things, one has a mask: of IoU 45 / 75. Its category has two: the precision is 1 up to a recall of half.
    assert moved["AP50"] == pytest.approx(51 / 101 / 2)
    assert moved["AP"] == pytest.approx(0.3 * 51 / 101 / 2)
    assert values[1]["worst"]["iou"] == pytest.approx(0.6)
    assert values[1]["worst"]["annotation"] == 3


def entry(image_id, category, bbox, score=0.9, **changes):
    return {"image_id": image_id, "category_id": category, "bbox": bbox, "score": score} | changes


def read(truth, boxes, name="boxes.json", skipped=None):
    """Boxes by way of a file."""
    path = truth.file.parent / name
    path.write_text(json.dumps([one for group in boxes.values() for one in group]))
    return read_boxes(path, truth, skipped)


@pytest.mark.parametrize("lvis", [False, True])
def test_masks_as_results_have_the_ap_of_pycocotools(tmp_path, lvis):
    truth = open_truth(tmp_path, lvis=lvis)
    boxes = {
        1: [entry(1, 2, [50, 20, 81, 81], 0.7), entry(1, 2, [5, 5, 20, 20], 0.8)],
        2: [entry(2, 1, [40, 10, 60, 50], 0.3), entry(2, 2, [10, 70, 20, 10], 0.9)],
    }
    worse = Knows(lambda mask: mask & (np.arange(SIZE[1]) % 7 > 0))
    result, values = run(truth, worse, read(truth, boxes), masks=True)
    masks = [one for value in values for one in value["masks"]]
    assert len(masks) == 4
    assert masks[0].keys() == {"image_id", "category_id", "segmentation", "score"}
    coco = as_coco(dataset())
    evaluation = COCOeval(coco, coco.loadRes(masks), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    names = ["AP", "AP50", "AP75", "AP small", "AP medium", "AP large"]
    expected = [None if value == -1 else pytest.approx(value, abs=1e-12) for value in evaluation.stats[:6]]
    if lvis:  # every category that was found in a picture is there too, so nothing is left out
        assert (result["AP r"], result["AP f"]) == (result["categories"]["box"], result["categories"]["ball"])
    assert [result[name] for name in names] == expected
    assert 0 < result["AP"] < 1


# ---- a real network ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sam():
    sizes = {"embed_dims": (16, 32, 40, 80), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        model = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=128, **sizes))).eval().double()
        for head in model.mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight *= 40  # untrained logits have one sign nearly everywhere
    return model


def test_the_most_confident_of_three_masks_goes_back_with_the_box(sam):
    pixels, box = picture([disk(SIZE, (90, 60), 40)]), np.array([[50.0, 20, 130, 100], [5, 5, 24, 24]])
    segmenter = SamRefiner(sam)
    embedding = segmenter.embed(pixels)
    resize = Resize(SIZE, sam.image_size)
    with torch.no_grad():
        boxes = torch.from_numpy(resize.apply_boxes(box))
        for number in range(2):
            masks, scores = sam.decode(embedding[1], Prompts(boxes=boxes[number, None]), True)
            best = masks[:, int(scores[0].argmax())][:, None]
            again, _ = sam.decode(embedding[1], Prompts(boxes=boxes[number, None], mask_input=best), False)
            for rounds, logits in ((0, best), (1, again)):
                expected = (resize.restore_masks(logits)[0, 0] > 0).numpy()
                assert (segmenter.refine_boxes(embedding, box, rounds)[number] == expected).all()
                assert 0 < expected.sum() < expected.size
    first, second = (segmenter.refine_boxes(embedding, box, rounds) for rounds in (0, 1))
    assert (first != second).any(), "a round must change something in this test"
    assert isinstance(segmenter, SamSegmenter)


# ---- files of boxes ----------------------------------------------------------------------------------------


def test_boxes_come_by_picture_and_are_cut_at_its_edge(truth):
    boxes = read(truth, {2: [entry(2, 1, [-10, 100.5, 30, 50])], 1: [entry(1, 2, [1, 2, 3, 4], 0)]})
    assert list(boxes) == [2, 1]
    assert boxes[2][0].xyxy == (0, 100.5, 20, 120)
    assert (boxes[1][0].category, boxes[1][0].score) == (2, 0.0)


BAD = {
    "of another picture": (entry(9, 1, [1, 1, 5, 5]), "image_id .*got 9"),
    "of another category": (entry(1, 9, [1, 1, 5, 5]), "category_id .*got 9"),
    "a list as id": (entry([1], 1, [1, 1, 5, 5]), "image_id"),
    "a score that is no number": (entry(1, 1, [1, 1, 5, 5], float("nan")), "finite"),
    "a side that is no number": (entry(1, 1, [float("nan"), 1, 5, 5]), "finite"),
    "no score": ({"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}, "'score' is missing"),
    "three sides": (entry(1, 1, [1, 1, 5]), "bbox"),
    "beside the picture": (entry(1, 1, [160, 5, 20, 20]), "in the picture of 160 x 120"),
    "no width": (entry(1, 1, [10, 5, 0, 20]), "in the picture"),
    "no entry": (3, "expected image_id"),
}


@pytest.mark.parametrize("bad", BAD)
def test_an_entry_that_cannot_be_used_is_named_or_listed(truth, bad):
    wrong, sentence = BAD[bad]
    boxes = {1: [entry(1, 1, [1, 1, 5, 5]), wrong]}
    with pytest.raises(ValueError, match=rf"entry 1 of .*boxes\.json: .*{sentence}"):
        read(truth, boxes)
    skipped: list[str] = []
    assert len(read(truth, boxes, skipped=skipped)[1]) == 1
    assert len(skipped) == 1
    assert "entry 1 of" in skipped[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{}", "a file of annotations is not one"), ("[", "JSON"), ("[]", "got none"), (None, "No such file")],
)
def test_a_file_without_boxes_is_said_so(truth, content, sentence):
    path = truth.file.parent / "boxes.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=sentence) as error:
        read_boxes(path, truth)
    assert "boxes.json" in str(error.value)
