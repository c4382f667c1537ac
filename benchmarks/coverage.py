r"""Converts and trains a ViT and a network of each family of keras.applications, dense and sparse.

    # all of them; a network that is in the records is not run again
    python -m benchmarks.coverage
    python -m benchmarks.coverage --networks ViT Xception --density 0.05 --threads 1
    # keeps the density of each layer
    python -m benchmarks.coverage --networks Xception --density 0.05 --threads 1 \
        --setting "redistribute=None"

Each network has random weights and ten classes. It is converted by ``sparsify``, trained for two
epochs on scikit-learn's digits (enlarged, in colour), timed beside the dense network in one
process, exported and read back.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import coverage_tables, options, records, report, turns
from benchmarks.coverage_networks import NETWORKS, SIDE, network
from benchmarks.processes import in_process
from benchmarks.records import Record

BATCH, DENSITY, IMAGES, EPOCHS, EVERY = 32, 0.1, 256, 2, 4
FILLED = 0.9  # a kernel of a larger density has nothing to skip
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "redistribute=None": {"redistribute": None},
    "budget=multiply_adds": {"budget": "multiply_adds"},
}


def main() -> None:
    """A process for each network that has no record yet; then the table."""
    arguments = _arguments()
    path = arguments.output.with_suffix(".jsonl")
    done = {coverage_tables.key(record) for record in records.read(path)}
    for name in arguments.networks:
        how = (arguments.density, arguments.setting)
        if (name, *how) not in done:
            result = in_process(measure, name, *how, arguments.turns, arguments.threads)
            records.add(path, result)
            print(json.dumps(result), flush=True)
    text = coverage_tables.page(records.finished(path))
    report.publish(arguments.output, text)


def measure(name: str, density: float, setting: str, count: int, threads: int) -> Record:
    """All figures of one network; to be called in a fresh process."""
    turns.limit_threads(threads)
    import keras

    import keras_sparse as ks

    keras.utils.set_random_seed(0)
    images, labels = _digits()
    dense = network(name)
    sparse = ks.sparsify(dense)
    outputs = [model.predict(images[:8], verbose=0) for model in (dense, sparse)]
    steps = {"dense": _step(dense, None, images, labels)}
    masks = {"density": density, **SETTINGS[setting]}
    steps["sparse"] = _step(sparse, masks, images, labels)
    before = on_the_op(sparse)
    optimizer = ks.sparse_optimizer(sparse)
    timed = _timed(steps, optimizer, count, threads)
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
    sparse.fit(images, labels, **settings, callbacks=[ks.UpdateMasks(every=EVERY)])
    return {
        "network": name,
        "asked": density,
        "setting": setting,
        "threads": threads,
        "outputs": _difference(*outputs),
        "before": before,
        "after": on_the_op(sparse),
        "dense_seconds": timed["dense"],
        **{kind: timed["dense"] / timed[kind] for kind in ("closed", "open")},
        "density": optimizer.total_density(),
        "export": _export_difference(sparse, images[:8]),
    }


def on_the_op(sparse: Any) -> dict[str, float]:
    """Shares of dense multiply-adds.

    {"masked": those that the op runs, of those of the masked kernels; "all": the same, of those of
    the network; "filled": those of kernels that are almost dense, of those of the masked kernels}.
    """
    import keras_sparse as ks

    described = ks.summary(sparse, "dict", batch=BATCH)
    layers, everything = described["layers"], described["total"]["multiply_adds_dense"]
    masked = sum(layer["multiply_adds_dense"] for layer in layers)
    on_op, filled = (
        sum(layer["multiply_adds_dense"] for layer in some)
        for some in (
            [layer for layer in layers if layer["runs_as"] == "custom op"],
            [layer for layer in layers if layer["density"] > FILLED],
        )
    )
    return {"masked": on_op / masked, "all": on_op / everything, "filled": filled / masked}


def _step(model: Any, masks: dict[str, Any] | None, images: Any, labels: Any) -> Callable[[], None]:
    """A training step on one batch; ``masks`` are the arguments of SparseMomentum."""
    import keras

    import keras_sparse as ks
    from benchmarks import classifier

    optimizer: Any = keras.optimizers.SGD(0.01, momentum=0.9)
    if masks is not None:
        optimizer = ks.SparseMomentum(optimizer, **masks)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return classifier.stepper(model, images[:BATCH], labels[:BATCH])


def _timed(
    steps: dict[str, Callable[[], None]], optimizer: Any, count: int, threads: int
) -> dict[str, float]:
    """Median seconds of a step: dense, and sparse with a closed and an open growth window."""

    def windowed(is_open: bool) -> Callable[[], None]:
        def step() -> None:
            optimizer.open_growth_window(is_open)
            steps["sparse"]()

        return step

    contenders = {"dense": steps["dense"], "closed": windowed(False), "open": windowed(True)}
    for contender in contenders.values():
        contender()
    seconds = turns.take_turns(contenders, count, turns.clock_for(threads))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _export_difference(sparse: Any, images: Any) -> float:
    import tensorflow as tf

    import keras_sparse as ks

    with tempfile.TemporaryDirectory() as folder:
        ks.export(sparse, folder, verbose=False)
        served = tf.saved_model.load(folder).serve(images).numpy()
    return _difference(sparse.predict(images, verbose=0), served)


def _difference(wanted: Any, got: Any) -> float:
    return float(abs(wanted - got).max() / abs(wanted).max())


def _digits() -> tuple[Any, Any]:
    """float32 (IMAGES, SIDE, SIDE, 3) in [-1, 1], and int32 labels."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = (images[:IMAGES].reshape(-1, 8, 8, 1) / 8 - 1).astype("float32")
    large = keras.ops.convert_to_numpy(keras.ops.image.resize(grey, (SIDE, SIDE)))
    return np.repeat(large, 3, axis=-1), labels[:IMAGES].astype("int32")


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "coverage.md")
    add = parser.add_argument
    add("--networks", choices=NETWORKS, nargs="+", default=NETWORKS)
    add("--density", type=float, default=DENSITY)
    add("--setting", choices=SETTINGS, default="default", help="of SparseMomentum")
    add("--threads", type=int, choices=(1, 2), default=2)
    add("--turns", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
