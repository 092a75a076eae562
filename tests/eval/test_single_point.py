import numpy as np
import pytest
import torch
from scipy import ndimage
from synthetic_eval import Truth, deepest, disk, picture, rectangle, run_clicks, write_shard, write_two_datasets

from opensam.eval.baselines import GrabCut
from opensam.eval.runner import Progress
from opensam.eval.segmenters import Answer, ClickSegmenter, SamSegmenter
from opensam.eval.single_point import ClicksConfig, User, score_image
from opensam.geometry import Resize
from opensam.models.inference import for_inference
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.prompts import Prompts

SIZE = (60, 80)
CLICKS = (1, 2, 3, 5, 9)
SCORES = ["iou@1", "iou@2", "iou@3", "iou@5", "iou@9", "oracle@1", "noc@85", "noc@90", "box"]


def score(answer, masks, box_answer=None, prompts_per_call=4):
    """Scores of a method that gives `answer(truth, points, labels)`, and the method."""
    image = picture(masks)
    method = Truth([(image, masks)], answer, box_answer)
    return score_image(method, image, np.stack(masks), prompts_per_call), method


def part_of(truth, share):
    """The first `share` of the pixels of a mask, so that its IoU is (nearly) `share`."""
    part = np.zeros_like(truth)
    ys, xs = np.nonzero(truth)
    count = round(share * len(ys))
    part[ys[:count], xs[:count]] = True
    return part


# ---- methods of which theory says what they score ----------------------------------------------------------


def test_the_oracle_scores_one_with_one_click(tmp_path):
    images = write_two_datasets(tmp_path)
    method = Truth(images, lambda truth, *_: truth)
    result = run_clicks(method, on(tmp_path), tmp_path)
    assert list(result.datasets) == ["boxes", "discs"]
    for dataset in result.datasets.values():
        assert dataset.scores == dict.fromkeys(SCORES, 1.0)
        assert list(dataset.scores) == SCORES
    assert result.mean == dict.fromkeys(SCORES, 1.0)
    assert len(method.embedded) == len(set(method.embedded)) == len(images)
    assert all(points.shape[1] == 1 for points, *_ in method.calls), "a perfect mask needs no second click"


def test_an_empty_answer_scores_zero_and_needs_all_clicks_on_the_same_point():
    mask = disk(SIZE, (30, 25), 12)
    (row,), method = score(lambda truth, *_: np.zeros_like(truth), [mask], box_answer=np.zeros_like)
    assert row == dict.fromkeys(SCORES, 0.0) | {"noc@85": 20.0, "noc@90": 20.0}
    points, labels, *_ = method.calls[-1]
    assert points.tolist() == [[[30, 25]] * 20]
    assert labels.tolist() == [[1] * 20]


def test_the_whole_picture_scores_its_share_and_is_clicked_away_outside_the_mask():
    mask = rectangle(SIZE, 0, 0, 79, 9)
    (row,), method = score(lambda truth, *_: np.ones_like(truth), [mask], box_answer=np.ones_like)
    assert row["iou@1"] == row["iou@9"] == row["box"] == pytest.approx(1 / 6)
    points, labels, *_ = method.calls[1]
    assert labels.tolist() == [[1, 0]]
    # Too much are rows 10 to 59, and beyond the picture is outside: their middle is row 34.
    assert points[0, 1].tolist() == [24, 34]


def test_the_larger_error_is_clicked_even_where_missing_and_surplus_touch():
    truth = rectangle(SIZE, 20, 10, 49, 49)  # 30 px wide
    moved = rectangle(SIZE, 30, 10, 59, 49)  # misses 10 columns, adds 10; the next one adds 20
    _, method = score(lambda *_: moved | rectangle(SIZE, 60, 10, 69, 49), [truth])
    points, labels, *_ = method.calls[1]
    assert labels[0].tolist() == [1, 0]
    assert points[0, 1].tolist() == [59, 19]
    _, method = score(lambda *_: moved, [truth])
    points, labels, *_ = method.calls[1]
    assert labels[0].tolist() == [1, 1], "of equally deep errors the missing one"
    assert points[0, 1].tolist() == [24, 14]


# ---- the rules of the game ---------------------------------------------------------------------------------


def test_clicks_to_a_target_and_ious_after_clicks_follow_the_answers():
    shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.81, 0.82, 0.86, 0.87, 0.92]
    mask = rectangle(SIZE, 10, 10, 59, 49)  # 2000 px
    (row,), method = score(lambda truth, points, _: part_of(truth, shares[len(points) - 1]), [mask])
    assert [row[f"iou@{n}"] for n in CLICKS] == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.81])
    assert (row["noc@85"], row["noc@90"]) == (11, 13)
    assert len(method.calls) == 13, "no click after the last target is reached"


def test_nine_clicks_are_played_though_the_targets_are_reached_before():
    mask = rectangle(SIZE, 10, 10, 59, 49)
    shares = [0.5, 0.95, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3, 0.2]
    (row,), method = score(lambda truth, points, _: part_of(truth, shares[len(points) - 1]), [mask])
    assert row["iou@9"] == pytest.approx(0.2)
    assert (row["noc@85"], row["noc@90"]) == (2, 2), "reached once is reached"
    assert len(method.calls) == 9


def test_a_mask_that_is_done_leaves_the_others_playing():
    fast, slow = disk(SIZE, (20, 25), 12), disk(SIZE, (60, 30), 10)

    def answer(truth, points, labels):
        return truth if tuple(points[0]) == deepest(fast) and len(points) == 3 else part_of(truth, 0.5)

    rows, method = score(answer, [fast, slow])
    assert [row["noc@90"] for row in rows] == [3, 20]
    assert rows[0]["iou@9"] == 1
    assert [len(points) for points, *_ in method.calls] == [2] * 3 + [1] * 17
    assert tuple(method.calls[-1][0][0, 0]) == deepest(slow)


def test_clicks_add_up_and_only_the_first_asks_for_candidates():
    mask = disk(SIZE, (30, 25), 12)
    _, method = score(lambda truth, points, _: part_of(truth, 0.04 * len(points)), [mask])
    assert [multimask for *_, multimask in method.calls] == [True] + [False] * 19
    for count, (points, labels, _, _) in enumerate(method.calls, start=1):
        assert points.shape == (1, count, 2)
        assert labels.shape == (1, count)
        assert np.array_equal(points, method.calls[-1][0][:, :count])


class Candidates:
    """Answers the first click with given candidates, then with nothing; its logits number the answers."""

    def __init__(self, masks, scores):
        self.masks, self.scores, self.inputs = masks, np.array([scores], dtype=np.float32), []

    def embed(self, image):
        return None

    def segment_boxes(self, embedding, boxes):
        return self.masks[0][None]

    def segment_clicks(self, embedding, points, labels, mask_input, multimask_output):
        self.inputs.append(mask_input)
        call = 10.0 * len(self.inputs)
        if multimask_output:
            logits = (torch.arange(3.0) + call).view(1, 3, 1, 1).expand(1, 3, 2, 2)
            return Answer(np.stack(self.masks)[None], self.scores, logits)
        return Answer(np.zeros_like(self.masks[0])[None, None], self.scores[:, :1], torch.full((1, 1, 2, 2), call))


def test_the_candidate_of_highest_predicted_iou_counts_and_is_fed_back_and_the_oracle_takes_the_best():
    truth = disk(SIZE, (30, 25), 12)
    method = Candidates([np.zeros_like(truth), part_of(truth, 0.5), part_of(truth, 0.9)], [0.2, 0.8, 0.4])
    (row,) = score_image(method, picture([truth]), truth[None], 4)
    assert row["iou@1"] == pytest.approx(0.5, abs=2e-3)
    assert row["oracle@1"] == pytest.approx(0.9, abs=2e-3)
    assert row["noc@85"] == 20, "what only the oracle sees is not reached"
    assert method.inputs[0] is None
    assert method.inputs[1].tolist() == [[[[11.0] * 2] * 2]], "the second candidate of the first answer"
    assert method.inputs[2].tolist() == [[[[20.0] * 2] * 2]]


def test_the_best_of_one_candidate_is_no_score():
    mask = disk(SIZE, (30, 25), 12)
    image = picture([mask])
    (row,) = score_image(Truth([(image, [mask])], lambda truth, *_: truth, candidates=1), image, mask[None], 4)
    assert list(row) == [name for name in SCORES if name != "oracle@1"]


def test_a_box_method_gets_the_score_of_boxes_only():
    mask = disk(SIZE, (40, 30), 18)
    assert not isinstance(GrabCut(), ClickSegmenter)
    (row,) = score_image(GrabCut(), picture([mask]), mask[None], 4)
    assert list(row) == ["box"]
    assert row["box"] > 0.98


# ---- a real network against a short script that knows nothing of ours --------------------------------------


@pytest.fixture(scope="module")
def sam():
    """A small model of random weights in float64, so that the order of sums cannot move a click."""
    sizes = {"embed_dims": (16, 32, 40, 80), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        encoder = TinyViTConfig(image_size=128, **sizes)
        model = Sam(SamConfig(image_encoder=encoder)).eval().double()
        # Untrained logits have one sign nearly everywhere; these cross zero all over the picture.
        for head in model.mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight *= 40
    return model


def independent_scores(sam, image, truth):
    """The protocol for one mask, alone and up to the 20th click."""
    resize = Resize(truth.shape, sam.image_size)

    def decode(many, **given):
        masks, scores = sam.decode(embedding, Prompts(**given), many)
        best = int(scores[0].argmax())
        full = (resize.restore_masks(masks)[0] > 0).numpy()
        overlaps = [(m & truth).sum() / max((m | truth).sum(), 1) for m in full]
        return masks[:, best : best + 1], full[best], overlaps[best], max(overlaps)

    def depth(region):
        return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]

    def peak(depths):
        y, x = np.unravel_index(depths.argmax(), depths.shape)
        return [float(x), float(y)]

    pixels = torch.from_numpy(resize.apply_image(image)).permute(2, 0, 1)
    embedding = sam.encode(sam.preprocess(pixels))
    points, labels, logits, ious, oracle = [peak(depth(truth))], [1], None, [], 0.0
    for click in range(20):
        given = {"point_coords": resize.apply_coords(torch.tensor([points], dtype=torch.float64)),
                 "point_labels": torch.tensor([labels]), "mask_input": logits}  # fmt: skip
        logits, mask, overlap, best = decode(click == 0, **given)
        oracle = best if click == 0 else oracle
        ious.append(overlap)
        missing, surplus = depth(truth & ~mask), depth(mask & ~truth)
        points.append(peak(missing if missing.max() >= surplus.max() else surplus))
        labels.append(int(missing.max() >= surplus.max()))
    ys, xs = np.nonzero(truth)
    box = torch.tensor([[xs.min(), ys.min(), xs.max(), ys.max()]], dtype=torch.float64)
    box_overlap = decode(False, boxes=resize.apply_boxes(box))[2]
    nocs = [next((i + 1 for i, v in enumerate(ious) if v >= t), 20) for t in (0.85, 0.9)]
    return [*(ious[n - 1] for n in CLICKS), oracle, *map(float, nocs), box_overlap], labels


@torch.no_grad()
def test_scores_of_a_network_equal_an_independent_script(sam):
    size = (90, 120)
    masks = [disk(size, (35, 40), 21), rectangle(size, 60, 10, 115, 50), disk(size, (80, 70), 14),
             rectangle(size, 0, 70, 119, 89), disk(size, (20, 20), 6)]  # fmt: skip
    image = picture(masks)
    rows = score_image(SamSegmenter(sam), image, np.stack(masks), prompts_per_call=3)
    seen = set()
    for row, mask in zip(rows, masks, strict=True):
        expected, labels = independent_scores(sam, image, mask)
        assert list(row.values()) == pytest.approx(expected, abs=1e-12)
        seen.update(labels)
    assert seen == {0, 1}, "a test in which only one kind of click occurs shows little"
    assert len({round(value, 6) for row in rows for value in row.values()}) > 20


def test_masks_together_score_as_masks_alone(sam):
    masks = [disk(SIZE, (20, 25), 12), disk(SIZE, (60, 30), 10), rectangle(SIZE, 30, 40, 70, 55)]
    image = picture(masks)
    together = score_image(SamSegmenter(sam), image, np.stack(masks), prompts_per_call=3)
    alone = [score_image(SamSegmenter(sam), image, mask[None], prompts_per_call=1)[0] for mask in masks]
    assert together == alone


def test_a_model_for_inference_in_bfloat16_gives_other_numbers_of_the_same_kind(sam):
    mask = disk(SIZE, (30, 25), 12)
    image = picture([mask])
    plain, mixed = SamSegmenter(sam), SamSegmenter(for_inference(sam, torch.bfloat16))
    difference = (mixed.embed(image)[1] - plain.embed(image)[1]).abs().max()
    assert 1e-4 < difference < 1
    (row,) = score_image(mixed, image, mask[None], 4)
    assert list(row) == SCORES
    assert all(0 <= row[name] <= 1 for name in SCORES if not name.startswith("noc"))


# ---- data sets ---------------------------------------------------------------------------------------------


def on(path, **limits):
    return ClicksConfig(data=(str(path),), **limits)


def test_shards_of_a_data_set_belong_together_and_masks_and_images_are_counted(tmp_path):
    write_two_datasets(tmp_path)
    steps = []
    result = run_clicks(GrabCut(), on(tmp_path), tmp_path, "GrabCut", report=steps.append)
    counts = {name: (one.images, one.masks) for name, one in result.datasets.items()}
    assert counts == {"boxes": (2, 3), "discs": (2, 3)}
    names = ["boxes", "boxes", "discs", "discs"]
    assert steps == [Progress("GrabCut", name, done, 4) for done, name in enumerate(names, start=1)]
    assert all(one.seconds > 0 for one in result.datasets.values())
    assert sum(size.masks for size in result.sizes) == 6


def test_limits_take_evenly_spaced_images_and_masks(tmp_path):
    masks = [disk(SIZE, (8 + 7 * i, 30), 3) for i in range(10)]
    images = [(picture(masks, seed), masks) for seed in range(4)]
    write_shard(tmp_path / "many.tar", images)
    method = Truth(images, lambda truth, *_: truth)
    result = run_clicks(method, on(tmp_path, max_images=2, max_masks_per_image=3), tmp_path)
    assert (result.datasets["many"].images, result.datasets["many"].masks) == (2, 6)
    assert method.embedded == [images[0][0].tobytes(), images[2][0].tobytes()]
    assert [x for x, _ in method.calls[0][0][:, 0]] == [8, 8 + 7 * 3, 8 + 7 * 6]


def test_an_empty_mask_is_not_asked_for(tmp_path):
    masks = [disk(SIZE, (30, 25), 12), np.zeros(SIZE, dtype=bool)]
    write_shard(tmp_path / "some.tar", [(picture(masks[:1]), masks)])
    assert run_clicks(GrabCut(), on(tmp_path), tmp_path).datasets["some"].masks == 1


def test_a_folder_without_data_sets_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tar"):
        run_clicks(GrabCut(), on(tmp_path), tmp_path)


def write_with_a_picture_of_another_size(path):
    """Three pictures, of which the second is not the one of its record."""
    mask, larger = disk(SIZE, (30, 25), 12), disk((61, 80), (30, 25), 12)
    write_shard(path, [(picture([mask]), [m]) for m in (mask, larger, mask)])


def test_a_picture_that_is_not_the_one_of_its_record_is_named(tmp_path):
    write_with_a_picture_of_another_size(tmp_path / "some.tar")
    with pytest.raises(ValueError, match=r"some/some_1: .*\(61, 80\).* \(60, 80\).*--skip-bad"):
        run_clicks(GrabCut(), on(tmp_path), tmp_path)


def test_a_bad_picture_can_be_passed_over(tmp_path):
    write_with_a_picture_of_another_size(tmp_path / "some.tar")
    assert run_clicks(GrabCut(), on(tmp_path), tmp_path, skip_bad=True).datasets["some"].images == 2


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    mask = disk(SIZE, (30, 25), 12)
    write_shard(tmp_path / "some.tar", [(picture([mask]), [mask])])
    content = (tmp_path / "some.tar").read_bytes()
    (tmp_path / "some.tar").write_bytes(content.replace(b"IDAT", b"IDXX", 1))
    with pytest.raises(ValueError, match="some/some_0: "):
        run_clicks(GrabCut(), on(tmp_path), tmp_path)


@pytest.mark.parametrize("field", ["max_images", "max_masks_per_image", "prompts_per_call"])
def test_limits_below_one_are_refused(field, tmp_path):
    with pytest.raises(ValueError, match=field):
        on(tmp_path, **{field: 0})


# ---- random points -----------------------------------------------------------------------------------------


def test_random_points_lie_in_the_mask_and_in_the_error_and_differ_from_seed_to_seed():
    truth, answer = disk(SIZE, (30, 25), 12), disk(SIZE, (36, 25), 12)
    firsts, nexts = set(), set()
    for seed in range(40):
        user = User("random", np.random.default_rng(seed))
        x, y = user.first(truth)
        assert truth[y, x]
        firsts.add((x, y))
        (x, y), label = user.next(truth, answer)
        assert truth[y, x] != answer[y, x]
        assert label == truth[y, x]
        nexts.add(label)
    assert len(firsts) > 20
    assert nexts == {0, 1}


def test_only_the_first_point_is_random_if_so_asked():
    truth, answer = disk(SIZE, (30, 25), 12), np.zeros(SIZE, dtype=bool)
    user = User("random_first", np.random.default_rng(0))
    assert user.first(truth) != deepest(truth)
    assert user.next(truth, answer) == (deepest(truth), 1)


class Dot:
    """Answers clicks with the clicked pixels, and remembers them."""

    def __init__(self):
        self.points = []

    def embed(self, image):
        return image.shape[:2]

    def segment_boxes(self, embedding, boxes):
        return np.zeros((len(boxes), *embedding), dtype=bool)

    def segment_clicks(self, embedding, points, labels, mask_input, multimask_output):
        self.points += points[:, -1].tolist()
        masks = np.zeros((len(points), 1, *embedding), dtype=bool)
        return Answer(masks, np.zeros((len(points), 1)), torch.zeros(len(points), 1, 2, 2))


def test_random_points_of_a_mask_depend_on_the_seed_and_nothing_else(tmp_path):
    write_two_datasets(tmp_path)
    points = {}
    for name, changes in {
        "all": {},
        "fewer": {"max_images": 1},
        "alone": {"prompts_per_call": 1},
        "other": {"seed": 1},
    }.items():
        method = Dot()
        run_clicks(method, on(tmp_path, points="random", clicks=3, **changes), tmp_path / name)
        points[name] = method.points
    assert points["all"] != points["other"]
    assert sorted(points["all"]) == sorted(points["alone"])
    assert set(map(tuple, points["fewer"])) < set(map(tuple, points["all"]))


def test_a_short_game_has_only_the_scores_it_can_tell(tmp_path):
    images = write_two_datasets(tmp_path)
    result = run_clicks(Truth(images, lambda truth, *_: truth), on(tmp_path, clicks=3), tmp_path)
    assert list(result.mean) == ["iou@1", "iou@2", "iou@3", "oracle@1", "box"]
