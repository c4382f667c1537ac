"""The networks of the sparse momentum paper: two LeNets, VGG16-D and wide ResNets."""

import itertools
import math

import keras
from keras import layers

MODELS = ("lenet-300-100", "lenet-5")
INPUT_SHAPE = (28, 28, 1)
CIFAR_SHAPE = (32, 32, 3)
VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


def build(name: str, fan_in_uniform: bool = False, l2: float = 0.0) -> keras.Sequential:
    """A LeNet for 28x28x1 images in 10 classes; its last layer gives logits.

    Args:
        name: ``"lenet-300-100"``: 784-300-100-10, or ``"lenet-5"``: LeNet-5-Caffe.
        fan_in_uniform: initialise weights and biases uniformly in ±1/sqrt(fan in), as the paper does; otherwise as Keras does.
        l2: the penalty ``l2 * sum(w^2)`` on all parameters, biases included. Its gradient is ``2 * l2 * w``: half of what a
            framework calls weight decay when it adds ``decay * w`` to the gradient.
    """
    if name == "lenet-300-100":
        return _sequential(name, [layers.Flatten(), *_dense(784, 300, 100, 10, fan_in_uniform=fan_in_uniform, l2=l2)])
    if name == "lenet-5":
        return _sequential(name, _lenet_5(fan_in_uniform, l2))
    raise ValueError(f"`name` must be one of {MODELS}. Received: name={name!r}")


def wide_resnet(depth: int, width: int, dropout: float = 0.0) -> keras.Model:
    """WRN-depth-width for CIFAR-10 (Zagoruyko & Komodakis 2016): pre-activation basic blocks in three stages; gives logits.

    Args:
        depth: 6 n + 4, for n blocks a stage: 10, 16, 22, 28.
        width: the stages have 16, 32 and 64 channels times this.
        dropout: between the two convolutions of a block; the paper's 0.3.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"`depth` must be 10, 16, 22, ...: 6 n + 4. Received: depth={depth}")
    inputs = keras.Input(CIFAR_SHAPE)
    x = _convolution("stem", 16)(inputs)
    for stage, channels in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range((depth - 4) // 6):
            x = _pre_activation_block(f"stage_{stage + 1}_block_{block + 1}", x, channels, 2 if stage > 0 and block == 0 else 1, dropout)
    outputs = layers.Dense(10, name="head")(layers.GlobalAveragePooling2D()(_norm_relu(x)))
    return keras.Model(inputs, outputs, name=f"wrn_{depth}_{width}")


def vgg16_d() -> keras.Sequential:
    """VGG16-D with batch normalisation for CIFAR-10; its last layer gives logits."""
    body: list[keras.layers.Layer] = []
    convolutions = itertools.count(1)
    for channels in VGG16:
        if channels == "pool":
            body.append(layers.MaxPooling2D())
        else:
            convolution = layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_normal", name=f"conv_{next(convolutions)}")
            body += [convolution, layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    body.append(layers.Flatten())
    for number in (1, 2):
        body += [layers.Dense(512, name=f"dense_{number}"), layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    return keras.Sequential([keras.Input(CIFAR_SHAPE), *body, layers.Dense(10, name="head")], name="vgg16_d")


def _pre_activation_block(name: str, x: keras.KerasTensor, channels: int, stride: int, dropout: float) -> keras.KerasTensor:
    activated = _norm_relu(x)
    branch = _norm_relu(_convolution(f"{name}_conv_1", channels, 3, stride)(activated))
    if dropout:
        branch = layers.Dropout(dropout)(branch)
    branch = _convolution(f"{name}_conv_2", channels)(branch)
    shortcut = x if x.shape[-1] == channels else _convolution(f"{name}_shortcut", channels, 1, stride)(activated)
    return layers.Add()([branch, shortcut])


def _convolution(name: str, channels: int, size: int = 3, stride: int = 1) -> keras.layers.Layer:
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(channels, size, stride, padding="same", use_bias=False, kernel_initializer=initializer, name=name)


def _norm_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def _lenet_5(fan_in_uniform: bool, l2: float) -> list[keras.layers.Layer]:
    return [
        layers.Conv2D(20, 5, activation="relu", name="conv_1", **_parameters(25, fan_in_uniform, l2)),
        layers.MaxPooling2D(),
        layers.Conv2D(50, 5, activation="relu", name="conv_2", **_parameters(500, fan_in_uniform, l2)),
        layers.MaxPooling2D(),
        layers.Flatten(),
        *_dense(800, 500, 10, fan_in_uniform=fan_in_uniform, l2=l2),
    ]


def _dense(*widths: int, fan_in_uniform: bool, l2: float) -> list[keras.layers.Layer]:
    """Dense layers from the first of these widths to the last, with ReLU between them."""
    last = len(widths) - 2
    return [
        layers.Dense(units, activation=None if i == last else "relu", name=f"dense_{i + 1}", **_parameters(fan_in, fan_in_uniform, l2))
        for i, (fan_in, units) in enumerate(itertools.pairwise(widths))
    ]


def _parameters(fan_in: int, fan_in_uniform: bool, l2: float) -> dict[str, object]:
    """Initialisers and regularisers of a layer's kernel and bias."""
    arguments: dict[str, object] = {}
    for parameter in ("kernel", "bias"):
        if l2:
            arguments[f"{parameter}_regularizer"] = keras.regularizers.L2(l2)
    if fan_in_uniform:
        limit = 1 / math.sqrt(fan_in)
        arguments["kernel_initializer"] = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # the same
        arguments["bias_initializer"] = keras.initializers.RandomUniform(-limit, limit)
    return arguments


def _sequential(name: str, body: list[keras.layers.Layer]) -> keras.Sequential:
    return keras.Sequential([keras.Input(INPUT_SHAPE), *body], name=name.replace("-", "_"))
