"""opensam: the whole Segment Anything system in Python.

    import opensam

    predictor = opensam.Predictor(opensam.load())
    embedding = predictor.embed("photo.jpg")
    prediction = predictor.predict(embedding, point_coords=[(500, 375)])
    prediction.best.mask  # (H, W) bool

The names below are loaded when they are first touched: `import opensam` itself is free.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opensam.amg import AmgConfig, MaskGenerator
    from opensam.client import Client
    from opensam.models.sam import Sam
    from opensam.models.zoo import list_models, load
    from opensam.predictor import ImageEmbedding, Prediction, Predictor
    from opensam.prompts import Prompts

__version__ = "0.1.0"
__all__ = [
    "AmgConfig",
    "Client",
    "ImageEmbedding",
    "MaskGenerator",
    "Prediction",
    "Predictor",
    "Prompts",
    "Sam",
    "list_models",
    "load",
]

_HOMES = {
    "AmgConfig": "opensam.amg",
    "Client": "opensam.client",
    "ImageEmbedding": "opensam.predictor",
    "MaskGenerator": "opensam.amg",
    "Prediction": "opensam.predictor",
    "Predictor": "opensam.predictor",
    "Prompts": "opensam.prompts",
    "Sam": "opensam.models.sam",
    "list_models": "opensam.models.zoo",
    "load": "opensam.models.zoo",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'opensam' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
