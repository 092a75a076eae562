"""Models for other programs: graphs for ONNX, and the layouts of files that other libraries load."""
