"""Models for other programs: graphs for ONNX Runtime and the browser, checkpoints in the layouts of other code."""
