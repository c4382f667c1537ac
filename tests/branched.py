"""A Functional model with branches, for tests of what is converted and what stays."""

import keras


def branches():
    """A Functional model with a model in it, a shared layer, two outputs, and layers that stay."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, name="in_it"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 1, name="stem", activation="relu", kernel_regularizer="l2")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", groups=4, name="grouped")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = keras.layers.Flatten()(inner(x) + inner(-x))
    shared = keras.layers.Dense(8, name="shared")
    return keras.Model(
        image,
        {"a": shared(x), "b": keras.layers.Dense(2, name="last", trainable=False)(shared(2 * x))},
        name="branches",
    )
