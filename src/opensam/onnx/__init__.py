"""Models in ONNX Runtime: predict and segment everything where there is no torch.

from opensam.onnx import OnnxPredictor

predictor = OnnxPredictor.load("exported")  # a folder that `opensam.export` wrote
records = opensam.MaskGenerator(predictor).generate("photo.jpg")
"""

from opensam.onnx.predictor import OnnxEmbedding, OnnxPredictor

__all__ = ["OnnxEmbedding", "OnnxPredictor"]
