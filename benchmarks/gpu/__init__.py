"""Checks and times the GPU kernels; needs PyTorch, and neither TensorFlow nor Keras."""
