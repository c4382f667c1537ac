"""Does a model train on TPUs?  Asked without one: TensorFlow traces, clusters and lowers its step, and libtpu compiles it.

Import it when you need it; ``python -m keras_sparse tpu-check module:function`` does all of it. What it cannot tell is how fast the step
is on TPUs, and how its numbers differ there.
"""

from keras_sparse.tpu_check.batch import batch_of
from keras_sparse.tpu_check.check import Answers, check
from keras_sparse.tpu_check.cluster import NotForTpuError
from keras_sparse.tpu_check.fake_tpu import strategy
from keras_sparse.tpu_check.library import CannotLowerError, load

__all__ = ["Answers", "CannotLowerError", "NotForTpuError", "batch_of", "check", "load", "strategy"]
