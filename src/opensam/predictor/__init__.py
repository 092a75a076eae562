"""Using a model: a picture becomes an image embedding, an image embedding and prompts become masks.

Read `base` for the verbs and `predictor` for how torch computes them, `embedding` and `prediction` for the values,
`reading` for what prompts may be. The names below are loaded when they are first touched, because only `Predictor` and
`ImageEmbedding` need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opensam.predictor.base import BasePredictor
    from opensam.predictor.embedding import ImageEmbedding
    from opensam.predictor.prediction import BestMask, Prediction
    from opensam.predictor.predictor import Predictor
    from opensam.predictor.reading import PromptInput

__all__ = ["BasePredictor", "BestMask", "ImageEmbedding", "Prediction", "Predictor", "PromptInput"]

_HOMES = {
    "BasePredictor": "base",
    "BestMask": "prediction",
    "ImageEmbedding": "embedding",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "PromptInput": "reading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'opensam.predictor' has no attribute {name!r}")
    return getattr(import_module(f"opensam.predictor.{_HOMES[name]}"), name)
