"""A compiled sparse wide ResNet for CIFAR-10, to look at or to compile for another device.

    python -m keras_sparse tpu-check examples.cifar10:train_model

``python examples/train.py wrn-16-8`` trains one.
"""

import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras_sparse as ks
from examples.batches import Batches
from examples.models import wide_resnet

__all__ = ["Batches", "train_model"]

STEPS = 10 * (50_000 // 64)  # ten epochs of CIFAR-10


def train_model() -> keras.Model:
    """WRN-10-2 with layers that skip missing weights, at 10 % density, compiled."""
    keras.utils.set_random_seed(0)
    rate = keras.optimizers.schedules.CosineDecay(0.1, STEPS)
    sgd = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    optimizer = ks.SparseMomentum(sgd, density=0.1, seed=0)
    model = ks.sparsify(wide_resnet(10, 2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # On a CPU TensorFlow's own convolutions are faster than XLA's.
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model
