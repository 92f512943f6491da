"""Where a frozen network runs: PyTorch on the CPU or on CUDA, or ONNX Runtime on the CPU, all with the same result."""
