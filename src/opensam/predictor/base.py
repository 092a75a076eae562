"""What every predictor understands and answers, whatever computes it. Nothing here needs torch.

Letters: B images, P prompts, N points per prompt, K masks, (H, W) the original size, (h, w) the grid of embeddings.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opensam import image as images
from opensam.geometry import Resize
from opensam.predictor.prediction import Prediction, stack
from opensam.predictor.reading import PromptInput, read_prompts
from opensam.prompts import PromptArrays, count_prompts, join

if TYPE_CHECKING:
    from torch import Tensor

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Embedded(Protocol):
    """What a predictor saw in one picture."""

    @property
    def resize(self) -> Resize:
        """How the picture was brought into the model's square; holds its original size."""

    @property
    def model_name(self) -> str:
        """Of the model that made it, and the only one that understands it."""


Embedding = TypeVar("Embedding", bound=Embedded)


class ClickMasks(NamedTuple):
    """The masks of clicks that the model believes in.

    Attributes:
        clicks: (K,) the number of each mask's click.
        predicted_iou: (K,) as it came.
        low_res_masks: (K, 4h, 4w) float32 logits, of numpy or torch; valid where the picture is.
    """

    clicks: list[int]
    predicted_iou: list[float]
    low_res_masks: Any


class BasePredictor(ABC, Generic[Embedding]):
    """Masks from a model: a picture is embedded once, and predicted from as often as you like.

    Attributes:
        name: of the model, as `opensam models` lists it, or as its checkpoint calls it.
        model_name: what its embeddings are called.
    """

    name: str
    model_name: str

    @property
    @abstractmethod
    def mask_threshold(self) -> float:
        """Logits above it belong to the mask."""

    @property
    @abstractmethod
    def on_cpu(self) -> bool:
        """Whether it computes on a processor."""

    @abstractmethod
    def embed(self, image: images.Source) -> Embedding:
        """Look at a picture: the expensive step, once per picture."""

    @abstractmethod
    def click_masks(self, embedding: Embedding, points: NDArray[np.float64], above: float) -> ClickMasks:
        """All three masks of each of P clicks, if their predicted IoU is high enough.

        Args:
            embedding: of the picture.
            points: (P, 2), (x, y) in the original frame.
            above: what predicted IoU must exceed; at 0 or below every mask is given.
        """

    @abstractmethod
    def side_by_side(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> list[Answer]:
        """What a function that asks this predictor makes of each task, in their order."""

    @abstractmethod
    def _answers(
        self,
        embeddings: Sequence[Embedding],
        prompts: PromptArrays,
        image_index: NDArray[np.int64],
        multimask_output: bool,
    ) -> Iterator[Prediction]:
        """One answer for each of P prompts of one kind, where (P,) `image_index` says over which picture."""

    def predict(
        self,
        embedding: Embedding,
        point_coords: "ArrayLike | Tensor | None" = None,
        point_labels: "ArrayLike | Tensor | None" = None,
        boxes: "ArrayLike | Tensor | None" = None,
        mask_input: "ArrayLike | Tensor | None" = None,
        *,
        mask: "ArrayLike | Tensor | None" = None,
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

    def predict_batch(self, embeddings: Sequence[Embedding], prompts: Sequence[PromptInput]) -> list[Prediction]:
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

    def _predict(self, embeddings: Sequence[Embedding], requests: "list[_Request]") -> list[Prediction]:
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
            counts = [requests[number].count for number in numbers]
            image_index = np.repeat([requests[number].image_index for number in numbers], counts)
            answers = self._answers(embeddings, prompts, image_index, requests[numbers[0]].multimask_output)
            for number, count in zip(numbers, counts, strict=True):
                of_request = list(islice(answers, count))
                predictions[number] = stack(of_request) if requests[number].has_axis else of_request[0]
        return [predictions[number] for number in range(len(requests))]


@dataclass(frozen=True)
class _Request:
    """One prompt input, read: P prompts, their image, and how to answer."""

    prompts: PromptArrays
    image_index: int
    has_axis: bool
    multimask_output: bool

    @property
    def count(self) -> int:
        """P."""
        return count_prompts(self.prompts)

    @property
    def kind(self) -> tuple[object, ...]:
        """Requests of one kind can be decoded together."""
        number = self.prompts["point_coords"].shape[1] if "point_coords" in self.prompts else 0
        return number, "boxes" in self.prompts, "mask_input" in self.prompts, self.multimask_output


def _read(embeddings: Sequence[Embedded], given: PromptInput) -> _Request:
    index = given.get("image_index", 0)
    if not 0 <= index < len(embeddings):
        raise ValueError(f"expected image_index below the number of pictures, {len(embeddings)}, got {index}")
    prompts, has_axis = read_prompts(embeddings[index].resize, given)
    multimask_output = given.get("multimask_output")
    if multimask_output is None:
        multimask_output = _is_ambiguous(prompts, given)
    return _Request(prompts, index, has_axis, multimask_output)


def _is_ambiguous(prompts: PromptArrays, given: PromptInput) -> bool:
    """Whether a prompt is a single point or a single box; a stroke, however short, is more than a point."""
    if "mask_input" in prompts or given.get("scribble") is not None:
        return False
    number = prompts["point_coords"].shape[1] if "point_coords" in prompts else 0
    return number + ("boxes" in prompts) == 1
