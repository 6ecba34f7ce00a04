"""Measurements on a GPU with random weights of the real shapes: `benchmarks/gpu.sh`."""
