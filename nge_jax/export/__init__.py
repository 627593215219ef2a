"""Trained networks for use without this program. `command` writes the files, `onnx_graph` translates to ONNX."""
