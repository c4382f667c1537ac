"""A layer is scale-invariant if its outputs are normalized: then its weights need no initial scale.

Normalization gives the signal its size again. Larger weights then only make smaller steps:
gradients shrink as weights grow.
"""

import keras

from keras_sparse._keras import consumers

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)
# Twice the inputs give twice the outputs.
HOMOGENEOUS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
)
ACTIVATIONS = (keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)


def is_scale_invariant(layer: keras.layers.Layer) -> bool:
    """Do all outputs of a layer lead to normalization, through homogeneous layers at most?

    Known of the layers of Functional and Sequential models. False where it is not known: a signal
    that vanishes is the worse fault.

    >>> body = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    >>> model = keras.Sequential([keras.Input((8,)), *body])
    >>> [is_scale_invariant(layer) for layer in (body[0], body[2])]
    [True, False]
    """
    if getattr(layer, "activation", None) not in (None, *ACTIVATIONS):
        return False
    found = consumers(layer)
    return bool(found) and all(
        isinstance(consumer, NORMALIZATIONS)
        or (isinstance(consumer, HOMOGENEOUS) and is_scale_invariant(consumer))
        for consumer in found
    )
