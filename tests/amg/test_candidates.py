import threading

import numpy as np
import pytest
import torch
from oracle import Blobs

from opensam.amg import AmgConfig
from opensam.amg.candidates import _Crop
from opensam.geometry import Resize, point_grid
from opensam.masks import stability_score
from opensam.predictor import ImageEmbedding, Predictor
from opensam.prompts import Prompts


def seen_crop(predictor, embeddings, resize, box, size):
    return _Crop(predictor, ImageEmbedding(embeddings, resize, predictor.model_name), box, size)


@pytest.mark.parametrize("size", [(150, 200), (401, 333), (30, 90)])
def test_who_is_out_on_the_grid_could_not_have_passed(size):
    blobs, resize = Blobs(), Resize(size, 256)
    points = torch.rand(16, 1, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(resize.input_size[::-1])
    attended = blobs.attend(torch.zeros(1, 3, 256, 256), Prompts(points, torch.ones(16, 1)), multimask_output=True)
    low_res_masks = blobs.masks(attended, torch.arange(16))
    low_res_masks = torch.cat([low_res_masks, low_res_masks * 0.2], dim=1)  # the flatter, the less stable
    crop = seen_crop(Predictor(blobs), torch.zeros(1, 3, 256, 256), resize, (0, 0, size[1], size[0]), size)
    exact = stability_score(resize.restore_masks(low_res_masks)).flatten()
    for thresh in (0.5, 0.95):
        hopeful = torch.tensor(crop._hopeful(low_res_masks.flatten(0, 1), AmgConfig(stability_score_thresh=thresh)))
        assert not (exact[~hopeful] >= thresh).any()
    assert (~hopeful).sum() > (exact < 0.95).sum() / 4  # and many are out


def test_the_pixels_of_all_cells_are_the_picture():
    for size in ((150, 200), (7, 400), (1, 1), (683, 1024)):
        whole = (0, 0, size[1], size[0])
        crop = seen_crop(Predictor(Blobs()), torch.zeros(1, 3, 256, 256), Resize(size, 256), whole, size)
        for axis in (0, 1):
            assert crop._pixels_of_cells(axis, 64).sum() == size[axis]
            assert len(crop._pixels_of_cells(axis, 64)) == 64


def test_clicks_are_in_pixels_of_the_picture_and_float32_for_the_model():
    seen = []

    class Model(Blobs):
        def attend(self, image_embeddings, prompts, multimask_output):
            seen.append(prompts.point_coords)
            return super().attend(image_embeddings, prompts, multimask_output)

    empty, resize = torch.zeros(1, 3, 256, 256), Resize((100, 128), 256)
    crop = seen_crop(Predictor(Model()), empty, resize, (30, 50, 158, 150), (300, 400))
    found = crop.segment(np.array([[64.0, 50.0]]), AmgConfig(pred_iou_thresh=0, stability_score_thresh=0.1))
    assert seen[0].tolist() == [[[128.0, 100.0]]]
    assert seen[0].dtype == torch.float32
    assert {one.point for one in found} == {(94.0, 100.0)}
    assert {one.crop_box for one in found} == {(30, 50, 158, 150)}


@pytest.mark.parametrize("object_aware", [False, True])
def test_the_number_of_threads_changes_no_bit(make_sam, object_aware, monkeypatch):
    predictor, size, seen = Predictor(make_sam(0)), (200, 250), set()
    fast = predictor.model
    attend = fast.attend

    def seeing(*given, **named):
        seen.add((threading.get_ident() == main, torch.get_num_threads()))
        return attend(*given, **named)

    main = threading.get_ident()
    monkeypatch.setattr(fast, "attend", seeing)
    embeddings = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(0))
    crop = seen_crop(predictor, embeddings, Resize(size, 256), (0, 0, size[1], size[0]), size)
    config = AmgConfig(pred_iou_thresh=-9, stability_score_thresh=0.3, object_aware=object_aware)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            new = crop.segment(point_grid(5) * (250, 200), config)
            found.append([(one.edges.tolist(), one.predicted_iou, one.stability_score, one.point) for one in new])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
    assert len(found[0]) > 20
    assert seen == {(True, 1), (False, 1)}
