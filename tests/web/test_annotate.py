"""The annotator as a person uses it: real Chromium, a real server, the embedded model, pictures drawn here."""

import base64

import numpy as np
import pytest
from browser import missing_browser, saved
from pictures import Drawing, draw, iou, pixels, save
from pycocotools.coco import COCO

pytestmark = [
    pytest.mark.skipif(missing_browser() is not None, reason=str(missing_browser())),
    pytest.mark.xdist_group("browser"),
    pytest.mark.slow,
]

SCENARIOS = "annotate"
NAMES = (
    *("clicks", "box", "brush", "keyboard", "conflict", "outage", "abandoned", "candidates", "fallback", "manners"),
    *("dropping", "turned"),
)


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    return {name: draw(640, 440, seed) for seed, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def clicked(play, annotator, drawings):
    """What the page showed of a mask made with clicks, and the mask as it was saved."""
    seen = play("clicks", "clicks", centre=drawings["clicks"].centre("disc"), corner=(630, 430))
    (annotation,) = saved(annotator, "clicks")
    return seen, annotation


def test_clicks_make_a_mask_that_is_saved_with_its_label_and_is_there_after_a_reload(clicked, drawings):
    (seen, annotation), drawing = clicked, drawings["clicks"]
    assert seen["isolated"]
    assert seen["candidates"] == 3
    assert "WebAssembly" in seen["meter"]
    assert len(seen["items"]) == 1
    assert "disc" in seen["items"][0]
    assert annotation["label"] == "disc"
    assert annotation["prompt"]["point_labels"] == [1, 0]
    assert np.abs(np.subtract(annotation["prompt"]["point_coords"][0], drawing.centre("disc"))).max() < 2
    mask = pixels(annotation)
    assert iou(mask, drawing.disc) > 0.9
    assert annotation["area"] == mask.sum()
    assert annotation["segmentation"]["size"] == [440, 640]


def test_what_is_saved_is_what_is_seen(play, clicked, drawings):
    """Inside the mask the picture is tinted until masks are hidden, outside it is not."""
    mask, drawing = pixels(clicked[1]), drawings["clicks"]
    inside, outside = drawing.centre("disc"), (600, 30)
    assert mask[inside[1], inside[0]]
    assert not mask[outside[1], outside[0]]
    seen = play("seen", "clicks", points=[inside, outside])
    picture = [drawing.rgb[y, x].astype(int) for x, y in (inside, outside)]
    assert np.abs(np.subtract(seen["hidden"], picture)).max() < 12
    tinted, plain = np.abs(np.subtract(seen["shown"], seen["hidden"])).max(axis=1)
    assert tinted > 12
    assert plain == 0


def test_a_box_makes_a_mask_and_undo_and_redo_reach_the_store(play, annotator, drawings):
    drawing = drawings["box"]
    assert play("box", "box", bounds=drawing.bounds("box")) == [1, 0, 1]
    (annotation,) = saved(annotator, "box")
    assert iou(pixels(annotation), drawing.box) > 0.9
    assert np.abs(np.subtract(annotation["prompt"]["box"], drawing.bounds("box"))).max() < 3


def test_the_brush_paints_and_the_eraser_takes_away(play, annotator):
    play("brush", "brush", stroke=[(100, 100), (400, 100)], erased=[(250, 60), (250, 140)])
    (annotation,) = saved(annotator, "brush")
    mask = pixels(annotation)
    assert mask[100, 110]
    assert mask[100, 390]
    assert not mask[100, 250]
    assert annotation["source"] == "manual"


def test_the_keyboard_alone_is_enough(play, annotator):
    play("keyboard", "keyboard")
    assert len(saved(annotator, "keyboard")) == 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with NumPy 2
def test_the_coco_export_has_the_pixels_that_are_saved(play, annotator, clicked, tmp_path):
    target = tmp_path / "export.json"
    name = play("exportCoco", "clicks", target=str(target))
    assert name.endswith(".json")
    exported = COCO(target)
    (image,) = [one for one in exported.loadImgs(exported.getImgIds()) if one["file_name"] == "clicks.png"]
    (found,) = exported.loadAnns(exported.getAnnIds(imgIds=[image["id"]]))
    assert np.array_equal(exported.annToMask(found).astype(bool), pixels(clicked[1]))
    assert exported.loadCats([found["category_id"]])[0]["name"] == "disc"


def test_two_tabs_do_not_overwrite_each_other(play, annotator):
    seen = play("conflict", "conflict", stroke=[(100, 100), (300, 100)])
    assert "changed elsewhere" in seen["told"]
    assert "theirs" in seen["shown"]
    (annotation,) = saved(annotator, "conflict")
    assert annotation["label"] == "theirs"


def test_the_second_candidate_can_be_taken_instead_of_the_first(play, annotator, drawings):
    play("candidates", "candidates", centre=drawings["candidates"].centre("disc"))
    first, second = sorted(saved(annotator, "candidates"), key=lambda one: -one["predicted_iou"])
    assert first["predicted_iou"] > second["predicted_iou"]
    assert not np.array_equal(pixels(first), pixels(second))


def test_a_dropped_file_is_added_to_the_folder_and_opened(play, annotator, tmp_path):
    save(draw(320, 200, 99), tmp_path / "new.png")
    data = base64.b64encode((tmp_path / "new.png").read_bytes()).decode()
    assert play("dropped", "dropping", data=data, fileName="new.png") == 1
    assert (annotator.folder / "new.png").is_file()


def test_a_killed_server_loses_nothing_and_what_was_drawn_meanwhile_follows(play, annotator):
    handlers = {"kill": lambda _: annotator.kill(), "start": lambda _: annotator.start()}
    stroke, second = [(80, 80), (200, 80)], [(80, 300), (200, 300)]
    assert play("outage", "outage", handlers, stroke=stroke, second=second) == 2
    masks = [pixels(one) for one in saved(annotator, "outage")]
    assert len(masks) == 2
    assert sum(mask[80, 150] for mask in masks) == 1
    assert sum(mask[300, 150] for mask in masks) == 1


def test_what_a_closed_tab_could_not_save_is_saved_by_the_next_one(play, annotator):
    handlers = {"kill": lambda _: annotator.kill(), "start": lambda _: annotator.start()}
    assert play("abandoned", "abandoned", handlers, stroke=[(80, 80), (200, 80)]) == 1
    (annotation,) = saved(annotator, "abandoned")
    assert pixels(annotation)[80, 150]


def test_where_the_browser_cannot_decode_the_server_does(play, drawings):
    assert "Server" in play("fallback", "fallback", centre=drawings["fallback"].centre("disc"))


def test_nothing_jumps_everything_has_a_name_and_a_phone_does_not_scroll_sideways(play, drawings):
    seen = play("manners", "manners", centre=drawings["manners"].centre("disc"))
    assert seen["shifted"] < 0.02
    assert seen["nameless"] == []
    assert seen["unmarked"] == []
    assert seen["wide"] <= 0


def test_a_picture_that_the_camera_turned_is_annotated_as_it_is_seen(play, annotator, drawings):
    drawing = drawings["turned"]
    play("box", "turned", bounds=drawing.bounds("disc"))
    (annotation,) = saved(annotator, "turned")
    assert annotation["segmentation"]["size"] == [440, 640]
    assert iou(pixels(annotation), drawing.disc) > 0.9
