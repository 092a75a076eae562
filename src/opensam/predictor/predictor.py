"""The two verbs: `embed` a picture once, `predict` masks from prompts as often as you like.

Letters: B images, P prompts, N points per prompt, C masks per prompt, (H, W) the original size.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from opensam import image as images
from opensam.geometry import Resize
from opensam.masks import stability_score
from opensam.models.inference import for_inference
from opensam.models.sam import Sam
from opensam.precision import Precision, compute_type
from opensam.predictor.embedding import ImageEmbedding, model_name
from opensam.predictor.prediction import Prediction, stack
from opensam.predictor.reading import PromptInput, read_prompts
from opensam.prompts import Prompts, join

# Prompts decoded at once: at 1024 the decoder needs about 60 MB for each.
PROMPTS_AT_ONCE = 32
# Logits brought to the original size at once: 256 MB as float32, or one mask of a larger picture.
LOGITS_AT_ONCE = 2**26


class Predictor:
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
        model_name: what its embeddings are called, whatever the precision.

    Raises:
        ValueError: there is no such precision.
    """

    def __init__(self, sam: Sam, precision: Precision = "auto") -> None:
        self.sam = sam
        self.model = for_inference(sam, compute_type(precision, sam.device, sam.dtype))
        self.model_name = model_name(sam)

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

    def predict(
        self,
        embedding: ImageEmbedding,
        point_coords: ArrayLike | Tensor | None = None,
        point_labels: ArrayLike | Tensor | None = None,
        boxes: ArrayLike | Tensor | None = None,
        mask_input: ArrayLike | Tensor | None = None,
        *,
        mask: ArrayLike | Tensor | None = None,
        polygons: Sequence[ArrayLike] | None = None,
        scribble: ArrayLike | None = None,
        multimask_output: bool | None = None,
    ) -> Prediction:
        """Masks for one prompt, or for P prompts, on one picture.

        The prompts are those of `PromptInput`, in pixels of the original picture, and may be combined: the
        points, the box and the mask of one prompt all speak of the same object. Without a prompt axis the
        answer has none either.

        Args:
            embedding: of the picture.
            point_coords: (N, 2) or (P, N, 2), (x, y).
            point_labels: (N,) or (P, N): 1 foreground, 0 background, -1 not a point; all 1 when left out.
            boxes: (4,) or (P, 4), XYXY.
            mask_input: (1, 4h, 4w) or (P, 1, 4h, 4w) logits of an earlier round.
            mask: (H, W) or (P, H, W), a mask of the whole picture at any resolution.
            polygons: outlines (K, 2) of one object.
            scribble: a stroke (K, 2) over one object.
            multimask_output: True: 3 candidates, for a prompt that may mean several things; False: 1. When
                left out, 3 for a single point and for a single box, 1 for anything that says more; so the
                model was trained (paper, A).

        Raises:
            ValueError: a prompt is not as described, there is none, or another model made the embedding.
            RuntimeError: the model is in training mode.
        """
        given: PromptInput = {
            "point_coords": point_coords,
            "point_labels": point_labels,
            "boxes": boxes,
            "mask_input": mask_input,
            "mask": mask,
            "polygons": polygons,
            "scribble": scribble,
            "multimask_output": multimask_output,
        }
        return self._predict([embedding], [_read([embedding], given)])[0]

    def predict_batch(self, embeddings: Sequence[ImageEmbedding], prompts: Sequence[PromptInput]) -> list[Prediction]:
        """Masks for many prompts of any kinds over many pictures.

        Prompts of the same kind and number of points are decoded together, over all pictures.

        Args:
            embeddings: of B pictures.
            prompts: each holds arguments of `predict`, and `image_index` for a picture other than the first:
                `{"point_coords": [(500, 375)], "image_index": 2}`.

        Returns:
            For each item of `prompts`, in their order, what `predict` returns for it.

        Raises:
            ValueError: like `predict`, with the number of the prompt (from 0).
            RuntimeError: the model is in training mode.
        """
        requests = []
        for number, given in enumerate(prompts):
            try:
                requests.append(_read(embeddings, given))
            except ValueError as error:
                raise ValueError(f"prompt {number}: {error}") from error
        return self._predict(embeddings, requests)

    @torch.no_grad()
    def _predict(self, embeddings: Sequence[ImageEmbedding], requests: "list[_Request]") -> list[Prediction]:
        self._check_mode()
        for embedding in embeddings:
            if embedding.model_name != self.model_name:
                raise ValueError(
                    f"expected an image embedding of this model, {self.model_name}, got one of "
                    f"{embedding.model_name}; embed the picture with this model"
                )
        groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[request.kind].append(number)
        predictions: dict[int, Prediction] = {}
        for numbers in groups.values():
            prompts = join([requests[number].prompts for number in numbers])
            image_index = torch.cat([requests[number].image_index for number in numbers])
            answers = self._answers(embeddings, prompts, image_index, requests[numbers[0]].multimask_output)
            for number in numbers:
                of_request = list(islice(answers, requests[number].prompts.count))
                predictions[number] = stack(of_request) if requests[number].has_axis else of_request[0]
        return [predictions[number] for number in range(len(requests))]

    def _answers(
        self,
        embeddings: Sequence[ImageEmbedding],
        prompts: Prompts,
        image_index: Tensor,
        multimask_output: bool,
    ) -> Iterator[Prediction]:
        """One answer per prompt; only a chunk of them is in work at a time."""
        chunks = zip(prompts.split(PROMPTS_AT_ONCE), image_index.split(PROMPTS_AT_ONCE), strict=True)
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


@dataclass(frozen=True)
class _Request:
    """One prompt input, read: P prompts, their (P,) image index, and how to answer."""

    prompts: Prompts
    image_index: Tensor
    has_axis: bool
    multimask_output: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """Requests of one kind can be decoded together."""
        points, masks = self.prompts.point_coords, self.prompts.mask_input
        number = 0 if points is None else points.shape[1]
        return number, self.prompts.boxes is None, masks is None, self.multimask_output


def _read(embeddings: Sequence[ImageEmbedding], given: PromptInput) -> _Request:
    index = given.get("image_index", 0)
    if not 0 <= index < len(embeddings):
        raise ValueError(f"expected image_index below the number of pictures, {len(embeddings)}, got {index}")
    prompts, has_axis = read_prompts(embeddings[index].resize, given)
    multimask_output = given.get("multimask_output")
    if multimask_output is None:
        multimask_output = _is_ambiguous(prompts, given)
    image_index = torch.full((prompts.count,), index)
    return _Request(prompts, image_index, has_axis, multimask_output)


def _is_ambiguous(prompts: Prompts, given: PromptInput) -> bool:
    """Whether a prompt is a single point or a single box; a stroke, however short, is more than a point."""
    if prompts.mask_input is not None or given.get("scribble") is not None:
        return False
    number = 0 if prompts.point_coords is None else prompts.point_coords.shape[1]
    return number + (prompts.boxes is not None) == 1
