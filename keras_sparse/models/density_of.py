"""``keras_sparse.density``: distributions of a density, and the density of a model."""

import types
from typing import cast

import keras
import numpy as np

from keras_sparse._keras import check_model
from keras_sparse.models.masked_weights import masked_weights
from keras_sparse.rules import density as distributions


class DensityModule(types.ModuleType):
    """The module ``keras_sparse.density``, which can also be called."""

    uniform = staticmethod(distributions.uniform)
    erdos_renyi = staticmethod(distributions.erdos_renyi)
    erdos_renyi_kernel = staticmethod(distributions.erdos_renyi_kernel)

    def __call__(self, model: keras.Model) -> float:
        """Active / all masked weights of a model, in [0, 1]: the total density of ``summary``.

        Args:
            model: a built model. The masks of its SparseMomentum count; without one, the masks of
                its sparse layers and the nonzero weights of all other kernels.

        Raises:
            TypeError: ``model`` is not a Keras model.
            ValueError: the model has no kernel, or its weights do not fit its masks.

        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> ks.density(model)
        1.0
        """
        check_model(model)
        masks = [mask for _, mask in masked_weights(model)]
        if not masks:
            raise ValueError(
                "`model` must have a kernel: build it, or call it on a batch of data. "
                f"Received: model={model.name}"
            )
        return sum(int(np.count_nonzero(mask)) for mask in masks) / sum(mask.size for mask in masks)


density = cast(DensityModule, distributions)
density.__class__ = DensityModule
