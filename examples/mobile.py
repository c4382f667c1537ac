"""Trains a network like MobileNet whose 1x1 convolutions XNNPACK computes sparse on ARM.

    python examples/mobile.py --data cifar10.npz --epochs 5 --output mobile.tflite

XNNPACK, LiteRT's library for CPUs, has sparse kernels for 1x1 convolutions, and runs them only in a
network that meets all of its rules. `network` meets them, and `masks` gives masks to what gains.
The report at the end names each layer. XNNPACK never runs these kernels on x86 with AVX.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import keras
from keras import layers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras_sparse as ks
from examples.data import load_cifar10

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))  # channels, stride


def network(width: float = 1.0, size: int = 32, classes: int = 10) -> keras.Model:
    """A MobileNet (Howard et al. 2017) with explicit padding.

    Its first convolution is 3x3 with strides of 2 and one pixel of padding on all sides. Those
    behind it are 1x1, or depthwise with the same padding. A mean that keeps its axes ends them.
    """
    inputs = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(1)(inputs)
    x = _norm_relu(layers.Conv2D(_channels(32, width), 3, 2, use_bias=False, name="stem")(x))
    for number, (channels, stride) in enumerate(BLOCKS, 1):
        x = layers.ZeroPadding2D(1)(x)
        x = _norm_relu(layers.DepthwiseConv2D(3, stride, use_bias=False)(x))
        name = f"pointwise_{number}"
        x = layers.Conv2D(_channels(channels, width), 1, use_bias=False, name=name)(x)
        x = _norm_relu(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, layers.Dense(classes, name="head")(x), name="mobile")


def masks() -> dict[str, Any]:
    """Arguments of SparseMomentum: masks of the 1x1 convolutions alone, in blocks of 4 outputs.

    XNNPACK's kernel for 4 output channels reads an input once for all of them. It takes masks in
    which nearly all weights are in such blocks. Without redistribution, each layer keeps its
    density: a small layer would become dense.
    """
    which = {"dense": "*", "sparse": "pointwise_*"}
    return {**which, "block_shape": (1, 4), "redistribute": None}


def trained(model: keras.Model, x: Any, y: Any, epochs: int, density: float = 0.1) -> keras.Model:
    """The model after a training with these masks."""
    steps = epochs * -(-len(x) // 128)
    rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
    sgd = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = ks.SparseMomentum(sgd, density, **masks())
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=2, callbacks=[ks.UpdateMasks()])
    return model


def _norm_relu(x: Any) -> Any:
    return layers.ReLU(6)(layers.BatchNormalization(momentum=0.9)(x))


def _channels(channels: int, width: float) -> int:
    """Of a layer at this width: a multiple of 4."""
    return max(4, 4 * round(channels * width / 4))


def main() -> None:
    """Trains, tests, exports and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="CIFAR-10; default: from keras.datasets")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("mobile.tflite"))
    arguments = parser.parse_args()
    images = load_cifar10(arguments.data)
    model = network()
    trained(model, images.x_train, images.y_train, arguments.epochs, arguments.density)
    print(model.evaluate(images.x_test, images.y_test, batch_size=500, return_dict=True, verbose=0))
    sample = images.x_test[:16]
    ks.export(model, arguments.output, "litert", sample=sample, overwrite=True)


if __name__ == "__main__":
    main()
