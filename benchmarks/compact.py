"""Compares networks of keras.applications before and after ``ks.compact``: sizes, predictions.

    python -m benchmarks.compact

Weights are random, those of batch normalization too. Half of all filters are pruned, or all but one
percent of the weights, by one rank over all layers. Predictions are of two random images.
"""

from typing import Any

import numpy as np

from benchmarks import options, report

COMMAND = "python -m benchmarks.compact"
NETWORKS = {  # side of an image
    "VGG16": 32,
    "ResNet50V2": 64,
    "MobileNetV2": 64,
    "DenseNet121": 64,
    "InceptionV3": 96,
    "Xception": 96,
    "EfficientNetB0": 64,
    "NASNetMobile": 64,
    "ConvNeXtTiny": 64,
}
COLUMNS = ("network", "pruned", "weights", "after compact", "share %", "largest difference")
NOTE = """*Pruned*: half of all filters (`structure=ks.Channels("out")`), or 99 % of all weights
(`scope="global"`); never the last layer. *Largest difference*: of a prediction of two random
images, relative to the largest prediction. Weights are random, so accuracy is not measured here.

"""


def main() -> None:
    """Prints and writes the table."""
    parser = options.parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    rows = []
    for name in parser.parse_args().networks:
        for how in ("half of the filters", "99 % of the weights"):
            rows.append((name, how, *compared(name, how)))
            print(rows[-1], flush=True)
    text = report.header("Networks after compact", COMMAND) + NOTE + report.table(COLUMNS, rows)
    report.publish(report.RESULTS / "compact.md", text)


def compared(name: str, how: str) -> tuple[str, str, str, str]:
    """Weights before and after, and the largest difference of predictions."""
    import keras

    import keras_sparse as ks

    keras.utils.set_random_seed(0)
    rng, side = np.random.default_rng(0), NETWORKS[name]
    arguments = {"input_shape": (side, side, 3), "classes": 10, "classifier_activation": None}
    model = getattr(keras.applications, name)(weights=None, **arguments)
    _randomize(model, rng)
    head = model.layers[-1].name
    if how == "half of the filters":
        ks.prune(model, 0.5, structure=ks.Channels("out"), dense=head)
    else:
        ks.prune(model, 0.01, scope="global", dense=head)
    small = ks.compact(model)
    images = rng.normal(size=(2, side, side, 3)).astype("float32")
    expected, found = (np.asarray(one(images, training=False)) for one in (model, small))
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)
    before, after = model.count_params(), small.count_params()
    return f"{before:,}", f"{after:,}", f"{100 * after / before:.0f}", f"{difference:.0e}"


def _randomize(model: Any, rng: np.random.Generator) -> None:
    """Gives each batch normalization statistics of its own."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                is_scale = variable.name in ("gamma", "moving_variance")
                law = rng.uniform(0.5, 1.5, variable.shape)
                variable.assign(law if is_scale else rng.normal(0, 0.2, variable.shape))


if __name__ == "__main__":
    main()
