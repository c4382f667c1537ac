"""The networks of the sparse momentum paper: LeNets, AlexNets, VGG16s and wide ResNets, by name."""

import itertools
import re

import keras
from keras import layers

from examples.paper_layers import PaperLayers
from examples.recipes import NETWORKS
from examples.resnet import resnet_50, wide_resnet_of

INPUT_SHAPE = (28, 28, 1)
CIFAR_SHAPE = (32, 32, 3)
# Channels, size and padding of each convolution.
ALEXNET = ((96, 11, 2), (256, 5, 2), (384, 3, 1), (384, 3, 1), (256, 3, 1))
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # block by block


def build(
    name: str,
    fan_in_uniform: bool = False,
    l2: float = 0.0,
    dropout: float = 0.0,
    fused_normalization: bool = False,
) -> keras.Model:
    """A new network of ``NETWORKS``; its last layer gives logits in float32.

    Args:
        name: of the network, e.g. ``"lenet-5"`` (which is LeNet-5-Caffe) or ``"wrn-16-8"``.
        fan_in_uniform: draw weights and biases uniformly from ±1/sqrt(fan in), as the paper does;
            otherwise as Keras does, or He et al. before normalization. Wide ResNets draw their
            convolutions as Zagoruyko & Komodakis do in both cases, and ResNet-50 as He et al. do.
        l2: the penalty ``l2 * sum(w^2)`` on all parameters, biases and normalization included
            (ResNet-50: on kernels). Its gradient is ``2 * l2 * w``: half of what a framework calls
            weight decay when it adds ``decay * w`` to the gradient.
        dropout: in the blocks of a wide ResNet.
        fused_normalization: batch normalization in one operation, as `ks.sparsify` puts it in (not
            in ResNet-50).
    """
    make = PaperLayers(fan_in_uniform, l2, fused_normalization)
    if name.startswith("lenet-"):
        bodies = {"lenet-300-100": _lenet_300_100, "lenet-5": _lenet_5}
        if name in bodies:
            return _sequential(name, INPUT_SHAPE, bodies[name](make))
    elif name in ("alexnet-s", "alexnet-b"):
        return _sequential(name, CIFAR_SHAPE, _alexnet(make, 1024 if name == "alexnet-s" else 2048))
    elif name in ("vgg16-c", "vgg16-d", "vgg16-like"):
        return _sequential(name, CIFAR_SHAPE, _vgg16(make, name.removeprefix("vgg16-")))
    elif name == "resnet-50":
        return resnet_50(l2=l2, policy=keras.config.dtype_policy().name)
    elif numbers := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return wide_resnet_of(make, *map(int, numbers.groups()), dropout)
    raise ValueError(f"`name` must be one of {NETWORKS}. Received: name={name!r}")


def wide_resnet(depth: int, width: int, dropout: float = 0.0) -> keras.Model:
    """WRN-depth-width for CIFAR-10: ``build`` by its numbers.

    Args:
        depth: 6 n + 4, for n blocks a stage: 10, 16, 22, 28.
        width: the stages have 16, 32 and 64 channels times this.
        dropout: between the two convolutions of a block; the paper's is 0.3.
    """
    return build(f"wrn-{depth}-{width}", dropout=dropout)


def vgg16_d() -> keras.Model:
    """VGG16-D with batch normalization for CIFAR-10."""
    return build("vgg16-d")


def _lenet_300_100(make: PaperLayers) -> list[layers.Layer]:
    first = make.dense(300, 784, "dense_1", activation="relu")
    second = make.dense(100, 300, "dense_2", activation="relu")
    return [layers.Flatten(), first, second, make.head(100, "dense_3")]


def _lenet_5(make: PaperLayers) -> list[layers.Layer]:
    body: list[layers.Layer] = []
    for number, (channels, fan_in) in enumerate(((20, 1), (50, 20)), 1):
        options = {"activation": "relu", "name": f"conv_{number}"}
        body += [make.convolution(channels, 5, fan_in, **options), layers.MaxPooling2D()]
    hidden = make.dense(500, 800, "dense_1", activation="relu")
    return [*body, layers.Flatten(), hidden, make.head(500, "dense_2")]


def _alexnet(make: PaperLayers, hidden: int) -> list[layers.Layer]:
    body: list[layers.Layer] = []
    fan_in = CIFAR_SHAPE[-1]
    for number, (channels, size, padding) in enumerate(ALEXNET, 1):
        options = {"strides": 2, "name": f"conv_{number}", **make.he_normal()}
        convolution = make.convolution(channels, size, fan_in, **options)
        body += [layers.ZeroPadding2D(padding), convolution, *make.norm_relu()]
        fan_in = channels
    body.append(layers.Flatten())
    for number in (1, 2):
        body += [make.dense(hidden, fan_in, f"dense_{number}"), *make.norm_relu()]
        fan_in = hidden
    return [*body, make.head(hidden)]


def _vgg16(make: PaperLayers, variant: str) -> list[layers.Layer]:
    """In "c", third convolutions are 1x1 with a padding of 1; "like" has one hidden layer."""
    body: list[layers.Layer] = []
    fan_in, numbers = CIFAR_SHAPE[-1], itertools.count(1)
    for block in VGG16:
        for position, channels in enumerate(block):
            is_small = variant == "c" and position == 2
            options = {"name": f"conv_{next(numbers)}", **make.he_normal()}
            options["padding"] = "valid" if is_small else "same"
            convolution = make.convolution(channels, 1 if is_small else 3, fan_in, **options)
            padding = [layers.ZeroPadding2D(1)] if is_small else []
            body += [*padding, convolution, *make.norm_relu()]
            fan_in = channels
        body.append(layers.MaxPooling2D())
    body.append(layers.Flatten())
    fan_in = 2048 if variant == "c" else 512
    for number in (1,) if variant == "like" else (1, 2):
        body += [make.dense(512, fan_in, f"dense_{number}", activation="relu"), make.norm()]
        fan_in = 512
    return [*body, make.head(512)]


def _sequential(name: str, shape: tuple[int, ...], body: list[layers.Layer]) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape), *body], name=name.replace("-", "_"))
