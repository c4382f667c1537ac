"""Says where TensorFlow computes dense products without oneDNN, though the user could turn it on.

TensorFlow 2.21 turns oneDNN on by itself only on processors with instructions for neural networks.
Without it, a dense step may take three times as long, so a speed-up over that step says too much.
"""

import os

import keras

from keras_sparse.compute.processor import instructions

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
NEURAL = frozenset(
    ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")
)  # with one of these TensorFlow turns oneDNN on
HINT = (
    f"TensorFlow computes without oneDNN here; with {VARIABLE}=1 in the environment, dense "
    "operations may take a third of the time"
)


def hint() -> str | None:
    """What to tell whoever compares with dense operations; None where oneDNN is on, or is no help.

    Processors without AVX2, other backends and programs that see a GPU get no hint.
    """
    if keras.backend.backend() != "tensorflow" or "avx2" not in instructions():
        return None
    import tensorflow as tf

    asked = os.environ.get(VARIABLE)
    is_on = bool(instructions() & NEURAL) if asked is None else asked.lower() in ("1", "true")
    return None if is_on or tf.config.get_visible_devices("GPU") else HINT
