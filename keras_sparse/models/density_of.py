"""``keras_sparse.density``: the distributions of a density over layers, and called with a model, its density."""

import types
from typing import cast

import keras
import numpy as np

from keras_sparse.models.masked_weights import masked_weights
from keras_sparse.rules import density as distributions


class DensityModule(types.ModuleType):
    """The module ``keras_sparse.density``, which can also be called."""

    uniform = staticmethod(distributions.uniform)
    erdos_renyi = staticmethod(distributions.erdos_renyi)
    erdos_renyi_kernel = staticmethod(distributions.erdos_renyi_kernel)

    def __call__(self, model: keras.Model) -> float:
        """Active / all masked weights of a model, in [0, 1]: the density in the total of ``summary``.

        Args:
            model: a built model. Its masks are those of its SparseMomentum; without one, those of its sparse layers; in all
                other kernels what is not 0 is active.

        Raises:
            ValueError: a model without kernels; weights that are not those of its sparse run.

        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> ks.density(model)
        1.0
        """
        if not isinstance(model, keras.layers.Layer):
            raise TypeError(f"`model` must be a Keras model. Received: model={model!r}")
        masks = [mask for _, mask in masked_weights(model)]
        if not masks:
            raise ValueError(
                f"`model` has no kernel: build it, or call it on a batch of data. Received: model={model.name}"
            )
        return sum(int(np.count_nonzero(mask)) for mask in masks) / sum(mask.size for mask in masks)


density = cast(DensityModule, distributions)
density.__class__ = DensityModule
