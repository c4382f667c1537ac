"""Networks of the benchmarks that the examples do not have."""

from typing import Any

import keras
from keras import layers

from benchmarks.transformer import encoder

Shape = tuple[int, ...]


CONV8 = ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (256, 2), (256, 1))  # channels, stride


def conv8() -> keras.Model:
    """Seven convolutions with batch normalization for CIFAR-10, and a dense layer.

    The first convolution and the classifier are dense in all benchmarks. The six others have 2, 4,
    8, 16, 16 and 16 blocks of 64x64 channels.
    """
    body: list[layers.Layer] = []
    for i, (channels, stride) in enumerate(CONV8):
        options = {"use_bias": False, "kernel_initializer": "he_normal"}
        name = f"convolution_{i}" if i else "first"
        body.append(layers.Conv2D(channels, 3, stride, "same", name=name, **options))
        body += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(10, name="classifier")]
    return keras.Sequential([keras.Input((32, 32, 3)), *body, *head])


def vgg11() -> keras.Model:
    """VGG11 with batch normalization for CIFAR-10 (Simonyan & Zisserman 2015, A): 9.2 M weights.

    The mean of the last maps feeds the head. With maxima, 0.1 is no stable learning rate.
    """
    body: list[layers.Layer] = []
    for channels in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512):
        if channels == 0:
            body.append(layers.MaxPooling2D())
            continue
        options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
        body.append(layers.Conv2D(channels, 3, **options))
        body += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(10, name="head")]
    return keras.Sequential([keras.Input((32, 32, 3)), *body], name="vgg11")


def vit() -> keras.Model:
    """A vision transformer (Dosovitskiy et al. 2021) for MNIST: 49 patches of 4x4, three blocks.

    A depthwise convolution tells where a patch is (Chu et al. 2021, conditional positions).
    """
    patch, width, heads, blocks = 4, 64, 2, 3
    images = keras.Input((28, 28, 1))
    x = layers.Conv2D(width, patch, patch)(images)
    x = x + layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Reshape((-1, width))(x)
    x = encoder(layers, x, width, heads, blocks)
    return keras.Model(images, layers.Dense(10)(x), name="vit")


def resnet_20() -> keras.Model:
    """ResNet-20 for CIFAR-10 (He et al. 2016): three stages of three basic blocks.

    Strided shortcuts are 1x1 convolutions.
    """
    inputs = keras.Input((32, 32, 3))
    x = _conv_norm(inputs, 16, 3, 1, relu=True)
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = _conv_norm(x, width, 3, stride, relu=True)
            branch = _conv_norm(branch, width, 3, 1, relu=False)
            shortcut = _conv_norm(x, width, 1, stride, relu=False) if stride == 2 else x
            x = layers.ReLU()(layers.Add()([branch, shortcut]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name="resnet_20")


def _conv_norm(x: Any, width: int, size: int, stride: int, relu: bool) -> Any:
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(width, size, stride, **options)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if relu else x


def resnet_50_kernels() -> list[Shape]:
    """Shapes of ResNet-50's kernels, 25.5 M weights in 54 layers."""
    shapes: list[Shape] = [(7, 7, 3, 64)]
    width_in = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(1, 1, width_in, width), (3, 3, width, width), (1, 1, width, 4 * width)]
            if block == 0:
                shapes.append((1, 1, width_in, 4 * width))
            width_in = 4 * width
    return [*shapes, (2048, 1000)]
