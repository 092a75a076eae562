"""Using a model: a picture becomes an image embedding, an image embedding and prompts become masks.

Read `predictor` for the verbs, `embedding` and `prediction` for the values, `reading` for what prompts may be.
"""

from opensam.predictor.embedding import ImageEmbedding
from opensam.predictor.prediction import BestMask, Prediction
from opensam.predictor.predictor import Predictor
from opensam.predictor.reading import PromptInput

__all__ = ["BestMask", "ImageEmbedding", "Prediction", "Predictor", "PromptInput"]
