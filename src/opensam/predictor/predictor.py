"""The two verbs with torch: `embed` a picture once, `predict` masks from prompts as often as you like.

Letters: B images, P prompts, N points per prompt, C masks per prompt, (H, W) the original size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opensam import image as images
from opensam.geometry import Resize
from opensam.masks import stability_score
from opensam.models.inference import for_inference
from opensam.models.sam import Sam
from opensam.precision import Precision, compute_type
from opensam.predictor.base import Answer, BasePredictor, ClickMasks, Task
from opensam.predictor.embedding import ImageEmbedding, model_name
from opensam.predictor.prediction import Prediction
from opensam.prompts import FOREGROUND, PromptArrays, Prompts
from opensam.threads import side_by_side

# Prompts decoded at once: at 1024 the decoder needs about 60 MB for each.
PROMPTS_AT_ONCE = 32
# Logits brought to the original size at once: 256 MB as float32, or one mask of a larger picture.
LOGITS_AT_ONCE = 2**26


class Predictor(BasePredictor[ImageEmbedding]):
    """Masks from a model.

    It holds no picture and no prompts: what it answers depends on the arguments alone, so one predictor
    serves many pictures and many threads.

    Args:
        sam: the model, in eval mode; predictions happen on its device. They come from a copy made now
            (`opensam.models.inference`): when its weights change or it moves, make another predictor.
        precision: of the large products. "auto": bf16 where the device has it, else float32; "float32"; "bf16".
            Embeddings are float32 whatever it is, and each serves with any other precision.

    Attributes:
        sam: the model as given.
        model: the copy that computes.
        name: of the model.
        model_name: what its embeddings are called, whatever the precision.

    Raises:
        ValueError: there is no such precision.
    """

    def __init__(self, sam: Sam, precision: Precision = "auto") -> None:
        self.sam = sam
        self.model = for_inference(sam, compute_type(precision, sam.device, sam.dtype))
        self.name, self.model_name = sam.name, model_name(sam)

    @torch.no_grad()
    def embed(self, image: images.Source) -> ImageEmbedding:
        """Look at a picture: the expensive step, once per picture.

        Args:
            image: anything `opensam.image.read` takes: a path, bytes, an open file, a Pillow image, an array.

        Raises:
            ValueError: it cannot be read as a picture (`opensam.image.ImageError`).
            RuntimeError: the model is in training mode.
        """
        self._check_mode()
        picture = images.read(image)
        resize = Resize((picture.shape[0], picture.shape[1]), self.model.image_size)
        scaled = torch.from_numpy(resize.apply_image(picture)).to(self.model.device)
        embeddings = self.model.encode(self.model.preprocess(scaled.permute(2, 0, 1)))
        return ImageEmbedding(embeddings, resize, self.model_name)

    @property
    def mask_threshold(self) -> float:
        """See `BasePredictor`."""
        return self.model.mask_threshold

    @property
    def on_cpu(self) -> bool:
        """See `BasePredictor`."""
        return self.model.device.type == "cpu"

    @torch.no_grad()
    def click_masks(self, embedding: ImageEmbedding, points: NDArray[np.float64], above: float) -> ClickMasks:
        """See `BasePredictor`; the masks stay on the device."""
        model = self.model
        coords = torch.from_numpy(embedding.resize.apply_coords(points)).float()  # float64 would be refused by MPS
        prompts = Prompts(coords[:, None], torch.full((len(points), 1), FOREGROUND)).to(model.device)
        embeddings = embedding.embeddings.to(model.device, model.dtype)
        attended = model.attend(embeddings, prompts, multimask_output=True)
        scores = attended.iou_predictions
        passing = scores > above if above > 0 else torch.ones_like(scores).bool()
        chosen = passing.any(dim=1).nonzero()[:, 0]
        if not len(chosen):
            side = 4 * embeddings.shape[-1]
            return ClickMasks([], [], scores.new_zeros(0, side, side))
        low_res_masks = model.masks(attended, chosen)[passing[chosen]]
        low_res_masks = low_res_masks.to(torch.promote_types(low_res_masks.dtype, torch.float32))
        return ClickMasks(passing.nonzero()[:, 0].tolist(), scores[passing].tolist(), low_res_masks)

    def side_by_side(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> list[Answer]:
        """See `BasePredictor` and `opensam.threads`."""
        return side_by_side(function, tasks, self.model.device)

    @torch.no_grad()
    def _answers(
        self,
        embeddings: Sequence[ImageEmbedding],
        prompts: PromptArrays,
        image_index: NDArray[np.int64],
        multimask_output: bool,
    ) -> Iterator[Prediction]:
        """One answer per prompt; only a chunk of them is in work at a time."""
        self._check_mode()
        given = Prompts(**{name: torch.from_numpy(value) for name, value in prompts.items()})
        chunks = zip(given.split(PROMPTS_AT_ONCE), torch.from_numpy(image_index).split(PROMPTS_AT_ONCE), strict=True)
        for chunk, chunk_index in chunks:
            numbers, index = chunk_index.unique(return_inverse=True)
            used = [embeddings[number] for number in numbers.tolist()]
            image_embeddings = torch.cat([one.embeddings.to(self.model.device, self.model.dtype) for one in used])
            on_device = replace(chunk, image_index=index).to(self.model.device)
            decoded = self.model.decode(image_embeddings, on_device, multimask_output)
            for low_res_masks, iou_predictions, number in zip(*decoded, index.tolist(), strict=True):
                yield self._answer(low_res_masks, iou_predictions, used[number].resize)

    def _answer(self, low_res_masks: Tensor, iou_predictions: Tensor, resize: Resize) -> Prediction:
        """From what the decoder gives for one prompt, (C, 4h, 4w) and (C,), best candidate first."""
        order = iou_predictions.argsort(descending=True, stable=True)
        low_res_masks = low_res_masks[order].float()
        masks, scores = [], []
        height, width = resize.original_size
        for part in low_res_masks.split(max(1, LOGITS_AT_ONCE // (height * width))):
            logits = resize.restore_masks(part[None])[0]
            masks.append((logits > self.model.mask_threshold).cpu())
            scores.append(stability_score(logits, self.model.mask_threshold).cpu())
        return Prediction(
            masks=torch.cat(masks).numpy(),
            iou_predictions=iou_predictions[order].float().cpu().numpy(),
            stability_score=torch.cat(scores).numpy(),
            low_res_masks=low_res_masks.cpu().numpy(),
        )

    def _check_mode(self) -> None:
        if self.sam.training:
            raise RuntimeError("expected the model in eval mode, got it in training mode; call sam.eval() first")
