"""ResNet-50 as the ImageNet results train it: version 1.5, with strides in the 3x3 convolutions."""

import keras
from keras import layers

BLOCKS = (3, 4, 6, 3)  # of each stage
EXPANSION = 4  # a stage gives so many times the channels that its 3x3 convolutions have


def resnet_50(image_size: int = 224, classes: int = 1000, width: int = 64, l2: float = 0.0, policy: str = "float32") -> keras.Model:
    """ResNet-50 (He et al. 2015), 25.5 M kernel weights at width 64; takes normalised images and gives float32 logits.

    Args:
        image_size: height and width in pixels.
        classes: how many logits.
        width: channels of the first stage; each later one has twice as many.
        l2: the penalty ``l2 * sum(w^2)`` on kernels alone: neither biases nor normalisation have one.
        policy: of dtypes, e.g. ``"mixed_bfloat16"``: images and activations are bfloat16, variables float32.
    """
    compute_dtype = keras.dtype_policies.get(policy).compute_dtype
    inputs = keras.Input((image_size, image_size, 3), dtype=compute_dtype, name="images")
    make = _Layers(l2, policy)
    x = make.norm("stem", make.convolution("stem", inputs, width, 7, 2), relu=True)
    x = layers.MaxPooling2D(3, 2, padding="same", dtype=policy, name="stem_pool")(x)
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            x = make.bottleneck(f"stage_{stage + 1}_block_{block + 1}", x, width * 2**stage, 2 if stage > 0 and block == 0 else 1)
    x = layers.GlobalAveragePooling2D(dtype=policy, name="pool")(x)
    # In float32: bfloat16 has three digits, too few for a loss.
    outputs = layers.Dense(
        classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), kernel_regularizer=make.l2(), dtype="float32", name="head"
    )(x)
    return keras.Model(inputs, outputs, name="resnet_50")


class _Layers:
    """Makes layers that have the same penalty and dtypes."""

    def __init__(self, l2: float, policy: str) -> None:
        self._l2, self._policy = l2, policy

    def l2(self) -> keras.regularizers.Regularizer | None:
        return keras.regularizers.L2(self._l2) if self._l2 else None

    def convolution(self, name: str, x: keras.KerasTensor, channels: int, size: int, stride: int = 1) -> keras.KerasTensor:
        settings = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal", "kernel_regularizer": self.l2()}
        return layers.Conv2D(channels, size, stride, dtype=self._policy, name=f"{name}_conv", **settings)(x)

    def norm(self, name: str, x: keras.KerasTensor, relu: bool) -> keras.KerasTensor:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=self._policy, name=f"{name}_norm")(x)
        return layers.ReLU(dtype=self._policy, name=f"{name}_relu")(x) if relu else x

    def bottleneck(self, name: str, x: keras.KerasTensor, channels: int, stride: int) -> keras.KerasTensor:
        """1x1 to fewer channels, 3x3, 1x1 to more, and a shortcut; the first block of a stage needs a convolution there."""
        wide = EXPANSION * channels
        branch = self.norm(f"{name}_1", self.convolution(f"{name}_1", x, channels, 1), relu=True)
        branch = self.norm(f"{name}_2", self.convolution(f"{name}_2", branch, channels, 3, stride), relu=True)
        branch = self.norm(f"{name}_3", self.convolution(f"{name}_3", branch, wide, 1), relu=False)
        if x.shape[-1] != wide or stride != 1:
            x = self.norm(f"{name}_shortcut", self.convolution(f"{name}_shortcut", x, wide, 1, stride), relu=False)
        return layers.ReLU(dtype=self._policy, name=f"{name}_relu")(layers.Add(dtype=self._policy, name=f"{name}_add")([branch, x]))
