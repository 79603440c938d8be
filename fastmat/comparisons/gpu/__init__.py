"""What `fastmat compare --device cuda` compares: fastmat, PyTorch and CuPy on one GPU."""
