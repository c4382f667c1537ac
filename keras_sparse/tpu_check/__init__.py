"""Checks without a TPU whether a model's training step compiles for TPUs.

TensorFlow traces, clusters and lowers the step, and libtpu compiles it. Import this package when
you need it; ``python -m keras_sparse tpu-check module:function`` runs the whole check. The check
measures neither the speed of the step on a TPU nor how its numbers differ there.
"""

from keras_sparse.tpu_check.batch import batch_of
from keras_sparse.tpu_check.check import Answers, check
from keras_sparse.tpu_check.cluster import NotForTpuError
from keras_sparse.tpu_check.fake_tpu import strategy
from keras_sparse.tpu_check.library import CannotLowerError, load

__all__ = ["Answers", "CannotLowerError", "NotForTpuError", "batch_of", "check", "load", "strategy"]
