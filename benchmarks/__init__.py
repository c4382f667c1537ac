"""Measures speed, accuracy and coverage: ``python -m benchmarks.NAME`` in the repository."""

import os

os.environ.setdefault("KERAS_SPARSE_TUNING", "shipped")  # whatever was measured on this machine
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow prints nothing beside the tables
# The best dense step: without AVX-512 for neural networks, TensorFlow does not use oneDNN unasked.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
