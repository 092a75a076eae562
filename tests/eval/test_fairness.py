"""Groups compared: exact numbers, a planted difference, and none where there is none."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from tests.eval.synthetic_eval import disk, here, picture, write_shard

from opensam.data.specs import open_datasets
from opensam.eval.fairness import (
    PAPER,
    FairnessConfig,
    ScoredMask,
    compare_groups,
    difference_table,
    group_table,
    paper_value,
    scored_masks,
    scoring,
)
from opensam.eval.groups import find_masks, read_groups
from opensam.eval.journal import Journal
from opensam.eval.runner import measure
from opensam.eval.segmenters import Answer

SIZE = (60, 80)


class Oracle:
    """Knows the masks of each picture, and gives the share `kept` of the mask that was clicked on first."""

    def __init__(self, images, kept=lambda mask: 1.0):
        self.images, self.kept, self.clicks = {pixels.tobytes(): masks for pixels, masks in images}, kept, []

    def embed(self, image):
        return self.images[image.tobytes()]

    def segment_boxes(self, embedding, boxes):
        return np.zeros((len(boxes), *SIZE), dtype=bool)

    def segment_clicks(self, embedding, points, labels, mask_input, multimask_output):
        self.clicks.append(points[:, 0].tolist())
        answers = []
        for x, y in points[:, 0].astype(int):
            (mask,) = [mask for mask in embedding if mask[y, x]]
            answer = mask.copy()
            answer.flat[np.flatnonzero(mask)[round(self.kept(mask) * mask.sum()) :]] = False
            answers.append(answer)
        masks = np.stack(answers)[:, None].repeat(3 if multimask_output else 1, axis=1)
        return Answer(masks, np.zeros(masks.shape[:2]), torch.zeros(*masks.shape[:2], 4, 4))


def people(folder, count=12):
    """So many pictures of a large disk and a small one; a CSV says which is which."""
    images = []
    for number in range(count):
        masks = [disk(SIZE, (20, 25 + number % 5), 14), disk(SIZE, (60, 30), 7)]
        images.append((picture(masks, number), masks))
    write_shard(folder / "data" / "people.tar", images)
    lines = [f"people_{n},{mask},{size},{n % 2}" for n in range(count) for mask, size in enumerate(("large", "small"))]
    (folder / "groups.csv").write_text("\n".join(["image,mask,size,parity", *lines]) + "\n")
    return images


def run(folder, method, **options):
    config = FairnessConfig(data=(str(folder / "data"),), groups=folder / "groups.csv", **options)
    datasets = [dataset for dataset, _ in open_datasets(config.data)]
    table = read_groups(config.groups, config.attributes)
    found = find_masks(table, datasets)
    start = partial(scoring, lambda: method, datasets, config, found)
    plain = {"spread": here, "journal": Journal(folder / "j", {}), "report": lambda _: None}
    measured = measure(list(found.members), start, method="method", **plain)
    scored, empty = scored_masks(found, measured)
    return table, scored, empty


def test_an_oracle_scores_one_without_doubt(tmp_path):
    table, scored, empty = run(tmp_path, Oracle(people(tmp_path)))
    groups, differences = compare_groups(scored, table.attributes, np.random.default_rng(0))
    assert (empty, differences) == ({}, [])
    assert [(one.attribute, one.group, one.masks, one.images) for one in groups] == [
        ("size", "large", 12, 12),
        ("size", "small", 12, 12),
        ("parity", "0", 12, 6),
        ("parity", "1", 12, 6),
    ]
    assert all(one.mean == 1 and one.by_masks == one.by_images == (1, 1) for g in groups for one in g.scores.values())


def test_a_planted_difference_is_found_and_no_other(tmp_path):
    rng = np.random.default_rng(0)
    images = people(tmp_path)
    kept = {
        mask.tobytes(): rng.uniform(0.7, 0.8) if mask.sum() > 300 else rng.uniform(0.4, 0.5)
        for _, m in images
        for mask in m
    }
    table, scored, _ = run(tmp_path, Oracle(images, lambda mask: kept[mask.tobytes()]))
    groups, differences = compare_groups(scored, table.attributes, np.random.default_rng(0))
    found = [(one.attribute, one.groups, one.score, one.by_masks, one.by_images) for one in differences]
    assert found == [
        ("size", ("large", "small"), "iou@1", True, True),
        ("size", ("large", "small"), "iou@3", True, True),
    ]
    assert groups[0].scores["iou@1"].mean == pytest.approx(0.75, abs=0.03)


def test_the_numbers_are_those_of_the_masks(tmp_path):
    values = [0.2, 0.9, 0.55, 0.71]
    scored = [ScoredMask("d", str(n // 2), {"age": "old"}, {"iou@1": v, "iou@3": 1.0}) for n, v in enumerate(values)]
    (group,), _ = compare_groups(scored, ["age"], np.random.default_rng(0))
    estimate = group.scores["iou@1"]
    assert (group.masks, group.images) == (4, 2)
    assert estimate.mean == pytest.approx(0.59, abs=1e-12)
    assert estimate.by_masks == pytest.approx(stats.t.interval(0.95, 3, 0.59, stats.sem(values)), abs=1e-12)
    assert estimate.by_images == pytest.approx((0.55, 0.63))  # the means of the two images


def test_masks_of_one_picture_that_go_together_are_no_difference_over_images():
    rows = [("a", 0.9)] * 20 + [("b", 0.2)] * 2
    first = [ScoredMask("d", image, {"g": "1"}, {"iou@1": v, "iou@3": v}) for image, v in rows]
    second = [ScoredMask("d", image, {"g": "2"}, {"iou@1": v, "iou@3": v}) for image, v in rows[10:]]
    second += [ScoredMask("d", "c", {"g": "2"}, {"iou@1": 0.3, "iou@3": 0.3})] * 20
    _, differences = compare_groups(first + second, ["g"], np.random.default_rng(0))
    assert [(one.by_masks, one.by_images) for one in differences] == [(True, False)] * 2


def test_first_clicks_are_random_in_the_mask_and_the_same_each_time(tmp_path):
    images = people(tmp_path)
    clicks = []
    for seed in (0, 0, 1):
        oracle = Oracle(images)
        (tmp_path / "j").unlink(missing_ok=True)
        run(tmp_path, oracle, seed=seed)
        clicks.append(oracle.clicks)
    assert clicks[0] == clicks[1] != clicks[2]
    assert len({tuple(point) for points in clicks[0] for point in points}) > 15
    (tmp_path / "groups.csv").write_text("image,mask,size\npeople_3,1,small\n")
    (tmp_path / "j").unlink()
    oracle = Oracle(images)
    run(tmp_path, oracle)
    assert oracle.clicks[0][0] == clicks[0][3][1]  # the same mask, whatever else is asked


def test_an_empty_mask_is_left_out_with_its_line(tmp_path):
    masks = [disk(SIZE, (20, 25), 9), np.zeros(SIZE, dtype=bool)]
    images = [(picture(masks[:1]), masks)]
    write_shard(tmp_path / "data" / "people.tar", images)
    (tmp_path / "groups.csv").write_text("image,mask,age\npeople_0,0,old\npeople_0,1,young\n")
    table, scored, empty = run(tmp_path, Oracle([(images[0][0], masks[:1])]))
    assert len(scored) == 1
    assert empty == {"line 3": "mask 1 of people/people_0 is empty"}
    groups, _ = compare_groups(scored, table.attributes, np.random.default_rng(0))
    rows = group_table(groups, table, PAPER["none"]).texts()
    assert rows[1][:5] == ["age: young", "0", "0", "", ""]
    assert rows[0][:6] == ["age: old", "1", "1", "1.000", "", ""]  # one mask: no interval


def test_an_attribute_without_any_mask_is_refused():
    scored = [ScoredMask("d", "a", {"age": "old"}, {"iou@1": 1.0, "iou@3": 1.0})]
    with pytest.raises(ValueError, match="masks with a group of gender, got none"):
        compare_groups(scored, ["age", "gender"], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("attribute", "group", "expected"),
    [
        ("GenderPresentation", "Predominantly Feminine", (0.544, 0.017)),
        ("perceived gender presentation", "masculine", (0.557, 0.017)),
        ("age", "Older", (0.629, 0.067)),
        ("Fitzpatrick skin type", "6", (0.567, 0.063)),
        ("age", "ancient", None),
        ("height", "older", None),
    ],
)
def test_the_papers_numbers_are_found_by_common_names(attribute, group, expected):
    assert paper_value(PAPER["people"], attribute, group, "iou@1") == pytest.approx(expected)


def test_the_tables_show_the_paper_beside_what_was_measured(tmp_path):
    (tmp_path / "a.csv").write_text("image,mask,age\na,0,young\nb,0,young\nc,0,old\n")
    rows = [("a", "young", 0.5), ("b", "young", 0.7), ("c", "old", 0.6)]
    scored = [ScoredMask("d", image, {"age": group}, {"iou@1": v, "iou@3": 0.9}) for image, group, v in rows]
    groups, differences = compare_groups(scored, ["age"], np.random.default_rng(0))
    table = group_table(groups, read_groups(tmp_path / "a.csv"), PAPER["people"])
    assert table.texts()[1][:7] == ["age: young", "2", "2", "0.600", "1.271", "0.500 to 0.700", "0.542 ± 0.022"]
    assert table.texts()[0][6] == ""
    assert "No two groups" in difference_table(differences).note
