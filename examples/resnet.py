"""Residual networks: wide ResNets for CIFAR-10, and ResNet-50 as the ImageNet results train it."""

from typing import Any

import keras
from keras import layers

from examples.paper_layers import PaperLayers

CIFAR_SHAPE = (32, 32, 3)

BLOCKS = (3, 4, 6, 3)  # of each stage
EXPANSION = 4  # channels of a stage, relative to its 3x3 convolutions


def resnet_50(
    image_size: int = 224,
    classes: int = 1000,
    width: int = 64,
    l2: float = 0.0,
    policy: str = "float32",
) -> keras.Model:
    """ResNet-50 (He et al. 2015) from normalised images to float32 logits.

    It has 25.5 M kernel weights at width 64. It is version 1.5, with strides in the 3x3
    convolutions.

    Args:
        image_size: height and width in pixels.
        classes: number of logits.
        width: channels of the first stage; each later one has twice as many.
        l2: factor of the penalty ``l2 * sum(w^2)`` on kernels, without biases and normalization.
        policy: dtype policy, e.g. ``"mixed_bfloat16"``.
    """
    compute_dtype = keras.dtype_policies.get(policy).compute_dtype
    inputs = keras.Input((image_size, image_size, 3), dtype=compute_dtype, name="images")
    make = _Layers(l2, policy)
    x = make.norm("stem", make.convolution("stem", inputs, width, 7, 2), relu=True)
    x = layers.MaxPooling2D(3, 2, padding="same", dtype=policy, name="stem_pool")(x)
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            x = make.bottleneck(
                f"stage_{stage + 1}_block_{block + 1}",
                x,
                width * 2**stage,
                2 if stage > 0 and block == 0 else 1,
            )
    x = layers.GlobalAveragePooling2D(dtype=policy, name="pool")(x)
    # In float32: bfloat16 has three digits, too few for a loss.
    outputs = layers.Dense(
        classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        kernel_regularizer=make.l2(),
        dtype="float32",
        name="head",
    )(x)
    return keras.Model(inputs, outputs, name="resnet_50")


class _Layers:
    """Makes layers that have the same penalty and dtypes."""

    def __init__(self, l2: float, policy: str) -> None:
        self._l2, self._policy = l2, policy

    def l2(self) -> keras.regularizers.Regularizer | None:
        return keras.regularizers.L2(self._l2) if self._l2 else None

    def convolution(
        self, name: str, x: keras.KerasTensor, channels: int, size: int, stride: int = 1
    ) -> keras.KerasTensor:
        settings = {
            "padding": "same",
            "use_bias": False,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": self.l2(),
        }
        return layers.Conv2D(
            channels, size, stride, dtype=self._policy, name=f"{name}_conv", **settings
        )(x)

    def norm(self, name: str, x: keras.KerasTensor, relu: bool) -> keras.KerasTensor:
        x = layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=self._policy, name=f"{name}_norm"
        )(x)
        return layers.ReLU(dtype=self._policy, name=f"{name}_relu")(x) if relu else x

    def bottleneck(
        self, name: str, x: keras.KerasTensor, channels: int, stride: int
    ) -> keras.KerasTensor:
        """1x1 to fewer channels, 3x3, 1x1 to more, and a shortcut, with a convolution if needed."""
        wide = EXPANSION * channels
        branch = self.norm(f"{name}_1", self.convolution(f"{name}_1", x, channels, 1), relu=True)
        branch = self.norm(
            f"{name}_2", self.convolution(f"{name}_2", branch, channels, 3, stride), relu=True
        )
        branch = self.norm(f"{name}_3", self.convolution(f"{name}_3", branch, wide, 1), relu=False)
        if x.shape[-1] != wide or stride != 1:
            x = self.norm(
                f"{name}_shortcut",
                self.convolution(f"{name}_shortcut", x, wide, 1, stride),
                relu=False,
            )
        return layers.ReLU(dtype=self._policy, name=f"{name}_relu")(
            layers.Add(dtype=self._policy, name=f"{name}_add")([branch, x])
        )


def wide_resnet_of(make: PaperLayers, depth: int, width: int, dropout: float) -> keras.Model:
    """Zagoruyko & Komodakis 2016: pre-activation basic blocks in three stages."""
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"`depth` must be 10, 16, 22, ...: 6 n + 4. Received: depth={depth}")
    inputs = keras.Input(CIFAR_SHAPE)
    x = _same(make, "stem", inputs, 16)
    for stage, channels in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range((depth - 4) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"stage_{stage + 1}_block_{block + 1}"
            x = _pre_activation_block(make, name, x, channels, stride, dropout)
    x = layers.GlobalAveragePooling2D()(_apply(make.norm_relu(), x))
    # The paper's code sets the bias to 0 here.
    outputs = make.head(64 * width, bias_initializer="zeros")(x)
    return keras.Model(inputs, outputs, name=f"wrn_{depth}_{width}")


def _pre_activation_block(
    make: PaperLayers, name: str, x: Any, channels: int, stride: int, dropout: float
) -> Any:
    """Where the number of channels changes, the activated input also feeds the shortcut."""
    activated = _apply(make.norm_relu(), x)
    branch = _same(make, f"{name}_conv_1", activated, channels, 3, stride)
    branch = _apply(make.norm_relu(), branch)
    if dropout:
        branch = layers.Dropout(dropout)(branch)
    branch = _same(make, f"{name}_conv_2", branch, channels)
    shortcut = x
    if x.shape[-1] != channels:
        shortcut = _same(make, f"{name}_shortcut", activated, channels, 1, stride)
    return layers.Add()([branch, shortcut])


def _same(
    make: PaperLayers, name: str, x: Any, channels: int, size: int = 3, stride: int = 1
) -> Any:
    """A convolution of a wide ResNet."""
    normal = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    options = {"strides": stride, "padding": "same", "use_bias": False, "name": name}
    options["kernel_initializer"] = normal
    return make.convolution(channels, size, x.shape[-1], **options)(x)


def _apply(chain: list[layers.Layer], x: Any) -> Any:
    for layer in chain:
        x = layer(x)
    return x
