"""The annotator's other tools as a person uses them: a glance, a lasso, a finger, a file, everything."""

import json
from base64 import b64encode

import cv2
import numpy as np
import pytest
from browser import missing_browser, saved
from pictures import Drawing, draw, iou, pixels
from pycocotools import mask as coco

pytestmark = [
    pytest.mark.skipif(missing_browser() is not None, reason=str(missing_browser())),
    pytest.mark.xdist_group("browser"),
    pytest.mark.slow,
]

SCENARIOS = "tools"


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    return {
        name: draw(480, 330, seed)
        for seed, name in enumerate(("hover", "lasso", "touch", "import", "everything", "drop"))
    }


def test_a_mask_shows_under_the_pointer_and_a_click_takes_it_without_asking_again(play, annotator, drawings):
    drawing = drawings["hover"]
    x, y = drawing.centre("disc")
    seen = play("hover", "hover", place=(x, y), inside=(x - 40, y - 20), outside=(460, 20), other=drawing.centre("box"))
    tinted, plain = np.abs(np.subtract(seen["shown"], seen["before"])).max(axis=1)
    assert tinted > 12
    assert plain == 0
    assert seen["draftsBeforeClick"] == 0
    assert seen["left"] == seen["before"]
    assert seen["asked"] == {"hover": 1, "click": 1, "elsewhere": 1}
    (annotation,) = saved(annotator, "hover")
    assert annotation["prompt"]["point_labels"] == [1]
    assert iou(pixels(annotation), drawing.disc) > 0.9


def test_a_lasso_takes_what_it_surrounds_and_with_alt_gives_it_back(play, annotator):
    """Exactly as drawn: the model has no part in it."""
    ring = [(100, 100), (300, 100), (300, 250), (100, 250), (100, 104)]
    hole = [(160, 140), (240, 140), (240, 210), (160, 210), (160, 144)]
    play("lasso", "lasso", ring=ring, hole=hole)
    (annotation,) = saved(annotator, "lasso")
    wanted = np.zeros((330, 480), bool)
    wanted[100:251, 100:301] = True
    wanted[140:211, 160:241] = False
    assert iou(pixels(annotation), wanted) > 0.97
    assert annotation["source"] == "manual"
    assert annotation["prompt"] == {}


def test_a_tap_adds_and_a_finger_that_rests_takes_away(play, annotator, drawings):
    drawing = drawings["touch"]
    seen = play("touch", "touch", place=drawing.centre("disc"), rest=(460, 310))
    assert seen["candidates"] == 3
    (annotation,) = saved(annotator, "touch")
    assert annotation["prompt"]["point_labels"] == [1, 0]
    places = [drawing.centre("disc"), (460, 310)]
    assert np.abs(np.subtract(annotation["prompt"]["point_coords"], places)).max() < 3
    assert iou(pixels(annotation), drawing.disc) > 0.9


@pytest.mark.parametrize("way", ["import", "drop"])
def test_a_coco_file_is_imported_in_the_app_with_its_pixels(play, annotator, drawings, tmp_path, way):
    """By its dialog, or dropped on the page.

    The masks, one of them with a hole, come from pycocotools; what is seen is compared away from their borders.
    """
    things = {"ring": drawings[way].disc.copy(), "crate": drawings[way].box}
    x, y = drawings[way].centre("disc")
    things["ring"][y - 25 : y + 25, x - 25 : x + 25] = False
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(_coco(f"{way}.png", things)))
    points = [(x, y) for y in range(20, 330, 29) for x in range(20, 480, 29)]
    data = b64encode(file.read_bytes()).decode() if way == "drop" else None
    seen = play("importCoco", way, file=str(file), data=data, points=points)
    assert "2 masks on 1 image" in seen["told"]
    assert sorted(name for item in seen["items"] for name in things if name in item) == ["crate", "ring"]
    stored = {one["label"]: pixels(one) for one in saved(annotator, way)}
    assert stored.keys() == things.keys()
    assert all(np.array_equal(stored[name], mask) for name, mask in things.items())
    covered = things["ring"] | things["crate"]
    tinted = np.abs(np.subtract(seen["shown"], seen["hidden"])).max(axis=1) > 12
    columns, rows = np.transpose(points)
    clear = ~_border(covered)[rows, columns]
    assert np.array_equal(tinted[clear], covered[rows, columns][clear])
    assert covered[rows, columns][clear].sum() > 15


def test_everything_is_found_and_a_click_takes_one_mask_of_it(play, annotator, drawings):
    """A mask without a label has the colour its random id gives it, perhaps near the picture's: any change counts."""
    drawing = drawings["everything"]
    place = drawing.centre("disc")
    edge = drawing.bounds("disc")[0]
    points = [place, drawing.centre("box"), (edge + 8, place[1]), (edge - 8, place[1])]
    seen = play("everything", "everything", place=place, points=points, pointsPerSide=6)
    found, left = seen["counts"]
    assert found >= 2
    assert left == found - 1
    assert seen["masks"] == 1
    assert np.abs(np.subtract(seen["shown"], seen["before"])).max(axis=1)[:3].min() > 0
    disc, box, within, beside = np.abs(np.subtract(seen["closed"], seen["before"])).max(axis=1)
    assert min(disc, within) > 0
    assert max(box, beside) == 0
    (annotation,) = saved(annotator, "everything")
    assert annotation["source"] == "automatic"
    assert iou(pixels(annotation), drawing.disc) > 0.9


def _coco(file_name: str, things: dict[str, np.ndarray]) -> dict:
    """A COCO file of one picture, a category a thing, run-length masks."""
    annotations = []
    for number, mask in enumerate(things.values(), 1):
        rle = coco.encode(np.asfortranarray(mask, np.uint8))
        facts = {"area": int(coco.area(rle)), "bbox": coco.toBbox(rle).tolist(), "iscrowd": 0}
        rle["counts"] = rle["counts"].decode()
        annotations.append({"id": number, "image_id": 7, "category_id": number, "segmentation": rle, **facts})
    height, width = next(iter(things.values())).shape
    return {
        "images": [{"id": 7, "file_name": file_name, "width": width, "height": height}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(things, 1)],
        "annotations": annotations,
    }


def _border(mask: np.ndarray) -> np.ndarray:
    """Within three pixels of where the mask ends: there an outline is drawn."""
    cross = np.ones((7, 7), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), cross) != cv2.erode(mask.astype(np.uint8), cross)
