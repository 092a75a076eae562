"""Models for other programs: graphs for ONNX Runtime, the decoder for browsers, checkpoints in the layouts of other code."""
