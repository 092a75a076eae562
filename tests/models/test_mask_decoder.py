"""Decoding in two steps: who filters by predicted IoU asks for the masks of few prompts."""

import torch

from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.prompts import Prompts

PROMPTS = Prompts(point_coords=torch.rand(4, 1, 2) * 64, point_labels=torch.ones(4, 1))


@torch.no_grad()
def test_masks_of_chosen_prompts_are_those_of_decode() -> None:
    torch.manual_seed(0)
    sam = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=64))).eval()
    embeddings = torch.randn(1, 256, 4, 4)
    for multimask_output in (True, False):
        low_res_masks, iou_predictions = sam.decode(embeddings, PROMPTS, multimask_output)
        attended = sam.attend(embeddings, PROMPTS, multimask_output)
        torch.testing.assert_close(attended.iou_predictions, iou_predictions)
        chosen = torch.tensor([3, 1])
        torch.testing.assert_close(sam.masks(attended, chosen), low_res_masks[chosen])
        torch.testing.assert_close(sam.masks(attended), low_res_masks)
