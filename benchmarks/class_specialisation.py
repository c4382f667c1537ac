"""How specialised the channels of a convolutional network are: the share of a channel's activity in its main class.

As in the code of Dettmers & Zettlemoyer 2019 (``plot_class_feature_histograms``): the outputs of each ReLU after
a convolution are summed by channel and class of the image. A channel's class specialisation is the largest
share that one class has in its sum: 0.1 if all ten classes are alike, 1 if it is active for one class only.
The least active channels, which together hold less than 5 % of a layer's activity, are left out.
"""

from typing import Any

import keras
import numpy as np

LEFT_OUT = 0.05  # of a layer's activity
BATCH = 500


def specialisation_of(activity: np.ndarray) -> np.ndarray:
    """The class specialisation of each channel but the least active.

    Args:
        activity: of shape (channels, classes), not negative.

    >>> specialisation_of(np.array([[3.0, 1.0], [2.0, 2.0], [0.1, 0.0]])).tolist()
    [0.5, 0.75]
    """
    of_channels = activity.sum(axis=1)
    if not of_channels.sum() > 0:  # no activity, or NaN of a training that diverged
        return np.zeros(0)
    order = np.argsort(of_channels, kind="stable")
    first = int(np.searchsorted(np.cumsum(of_channels[order]) / of_channels.sum(), LEFT_OUT))
    kept = activity[order[first:]]
    return kept.max(axis=1) / kept.sum(axis=1)


def activities(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """{name of a layer with ReLU: activity of its channels by class}, of layers whose outputs are images."""
    layers = [layer for layer in model.layers if _is_relu(layer) and len(layer.output.shape) == 4]
    if not layers:
        return {}
    features = keras.Model(model.inputs[0], [layer.output for layer in layers])
    classes = np.eye(int(labels.max()) + 1)[labels]
    sums = [0.0] * len(layers)
    for i in range(0, len(images), BATCH):
        outputs = features(images[i : i + BATCH], training=False)
        for j, output in enumerate(keras.tree.flatten(outputs)):
            by_image = np.abs(keras.ops.convert_to_numpy(output)).sum(axis=(1, 2))
            sums[j] = sums[j] + by_image.T @ classes[i : i + BATCH]
    return {layer.name: np.asarray(total) for layer, total in zip(layers, sums, strict=True)}


def _is_relu(layer: Any) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu
