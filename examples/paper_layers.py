"""Makes the layers of the paper's networks: how their parameters start, and their L2 penalty."""

import math
from typing import Any

import keras
from keras import layers

import keras_sparse as ks


class PaperLayers:
    """Makes layers whose parameters start in the same way and have the same penalty."""

    def __init__(self, fan_in_uniform: bool, l2: float, fused_normalization: bool) -> None:
        self._fan_in_uniform, self._l2 = fan_in_uniform, l2
        fused = ks.layers.FusedBatchNormalization
        self._normalization = fused if fused_normalization else layers.BatchNormalization

    def dense(self, units: int, fan_in: int, name: str, **options: Any) -> layers.Layer:
        return layers.Dense(units, name=name, **{**self._parameters(fan_in), **options})

    def head(self, fan_in: int, name: str = "head", **options: Any) -> layers.Layer:
        """In float32: bfloat16 has three digits, too few for a loss."""
        return self.dense(10, fan_in, name, dtype="float32", **options)

    def convolution(self, channels: int, size: int, fan_in: int, **options: Any) -> layers.Layer:
        settings = {**self._parameters(size * size * fan_in), **options}
        return layers.Conv2D(channels, size, **settings)

    def norm(self) -> layers.Layer:
        penalties = {f"{name}_regularizer": self._penalty() for name in ("beta", "gamma")}
        return self._normalization(momentum=0.9, epsilon=1e-5, **penalties)

    def norm_relu(self) -> list[layers.Layer]:
        return [self.norm(), layers.ReLU()]

    def _penalty(self) -> keras.regularizers.Regularizer | None:
        return keras.regularizers.L2(self._l2) if self._l2 else None

    def _parameters(self, fan_in: int) -> dict[str, Any]:
        """Initializers and regularizers of a layer's kernel and bias."""
        options: dict[str, Any] = {}
        if self._l2:
            options |= {f"{name}_regularizer": self._penalty() for name in ("kernel", "bias")}
        if self._fan_in_uniform:
            limit = 1 / math.sqrt(fan_in)
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # ±limit, too
            options["kernel_initializer"] = uniform
            options["bias_initializer"] = keras.initializers.RandomUniform(-limit, limit)
        return options

    def he_normal(self) -> dict[str, Any]:
        """What convolutions before normalization start with, unless it is as in the paper."""
        return {} if self._fan_in_uniform else {"kernel_initializer": "he_normal"}
