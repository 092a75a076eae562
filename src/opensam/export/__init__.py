"""Models for other programs: ONNX graphs, the decoder for browsers, checkpoints in the layouts of other code."""
