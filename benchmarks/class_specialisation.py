"""The class specialisation of channels: the share of a channel's activity in its most active class.

As in the published code of Dettmers & Zettlemoyer 2019 (``plot_class_feature_histograms``), the
outputs of each ReLU after a convolution are summed by channel and by class of the image. The share
of the largest class in a channel's sum is 0.1 if ten classes are alike, and 1 if one alone
activates it. The least active channels, which together hold less than 5 % of a layer's activity,
are left out. The images here are those of the test set.
"""

from typing import Any

import keras
import numpy as np

LEFT_OUT = 0.05  # of a layer's activity
BATCH = 500


def specialisation_of(activity: np.ndarray) -> np.ndarray:
    """The class specialisation of each channel but the least active, by rising activity.

    Args:
        activity: of shape (channels, classes), not negative.

    >>> specialisation_of(np.array([[3.0, 1.0], [4.0, 4.0], [0.1, 0.0]])).tolist()
    [0.75, 0.5]
    """
    of_channels = activity.sum(axis=1)
    if not of_channels.sum() > 0:  # no activity, or NaN of a training that diverged
        return np.zeros(0)
    order = np.argsort(of_channels, kind="stable")
    held = np.cumsum(of_channels[order]) / of_channels.sum()
    kept = activity[order[np.searchsorted(held, LEFT_OUT) :]]
    return kept.max(axis=1) / kept.sum(axis=1)


def activities(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """{name of a layer with ReLU and images as outputs: activity of its channels by class}."""
    layers = [layer for layer in model.layers if _is_relu(layer) and len(layer.output.shape) == 4]
    if not layers:
        return {}
    features = keras.Model(model.inputs[0], [layer.output for layer in layers])
    classes = np.eye(int(labels.max()) + 1)[labels]
    sums: list[Any] = [0.0] * len(layers)
    for i in range(0, len(images), BATCH):
        outputs = keras.tree.flatten(features(images[i : i + BATCH], training=False))
        for j, output in enumerate(outputs):
            of_images = np.abs(keras.ops.convert_to_numpy(output)).sum(axis=(1, 2))
            sums[j] = sums[j] + of_images.T @ classes[i : i + BATCH]
    return {layer.name: total for layer, total in zip(layers, sums, strict=True)}


def _is_relu(layer: keras.layers.Layer) -> bool:
    activation = getattr(layer, "activation", None)
    return isinstance(layer, keras.layers.ReLU) or activation is keras.activations.relu
