"""Measures test errors of quantized networks, dense and sparse, and counts the zeros that stay.

    python -m benchmarks.quantization --data mnist.npz

Networks of MNIST are trained with sparse momentum, and are quantized afterwards by Keras
(``model.quantize``) and by LiteRT's converter. Others are quantized before: ``"float8"`` trains
the kernels on; with ``"int8"``, those of dense layers stay, and convolutions train on. Each
finished run is a line of a ``.jsonl`` file beside the table, and is not repeated.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import accuracy_data, accuracy_networks, classifier, options, records, report
from benchmarks.quantized_networks import (
    CALIBRATION,
    kernels_of,
    nonzero_of,
    of_litert,
    quantize,
    zeros_kept,
)
from benchmarks.records import Record
from benchmarks.turns import limit_threads

COMMAND = "python -m benchmarks.quantization --data mnist.npz"
EPOCHS = {"lenet-300-100": 10, "lenet-5": 5}
EPOCHS_AFTER = 1  # of convolutions behind layers that are quantized
DENSITIES = (1.0, 0.05)
STORED = {
    "float32": "float32",
    "int8": "int8",
    "int4": "int4",
    "litert": "LiteRT int8",
    "float8 before": "float8 before",
    "int8 before": "int8 before",
}
COLUMNS = ("network", "density", *STORED.values(), "zeros kept", "seeds")
NOTE = f"""\
Mean ± standard error of the test error in % on MNIST, by what kernels are stored in. Trained with
`ks.SparseMomentum` (`"auto"` settings), or dense, for
{" and ".join(f"{epochs} epochs ({name})" for name, epochs in EPOCHS.items())}.

- *int8*, *int4*: `model.quantize` after the training. Keras quantizes dense layers, not
  convolutions: all weights of LeNet-300-100, and 94 % of LeNet-5's. Inputs of these layers are
  quantized in every prediction.
- *LiteRT int8*: `ks.export(..., "litert", dtype="int8")`, all layers and their outputs, with ranges
  of outputs from {CALIBRATION} training images.
- *float8 before*: `model.quantize("float8")` before the training, which rounds kernels, inputs and
  gradients of dense layers in each step.
- *int8 before*: the trained network in int8, whose convolutions then train on for
  {EPOCHS_AFTER} epoch at a tenth of the learning rate. LeNet-300-100 has none.
- *zeros kept*: missing weights that are 0 in each of these, of all missing weights.

"""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    density: float  # 1: dense
    seed: int
    before: str  # "", or what the network is quantized to before the training


def main() -> None:
    """Makes the runs that are missing, then prints and writes the table."""
    parser = options.parser_of_cells(__doc__, "quantization")
    parser.add_argument("--data", type=Path, required=True, help="MNIST as .npz")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    limit_threads(1)
    runs = [
        Run(network, density, seed, before)
        for seed in range(arguments.seeds)
        for network in EPOCHS
        for density in DENSITIES
        for before in ("", "float8")
    ]
    known = records.complete(arguments.cells, runs, lambda run: measured(run, arguments.data))
    header = report.header(
        "Test error of quantized networks", COMMAND, records.circumstances(known)
    )
    text = header + NOTE + report.table(COLUMNS, rows_of(known))
    report.publish(arguments.output, text)


def measured(run: Run, data: Path) -> Record:
    """Trains, quantizes in each way; test errors, and zeros kept of how many in each."""
    network = accuracy_networks.network(run.network)
    keras.utils.set_random_seed(run.seed)
    training, _, test = accuracy_data.parts("mnist", data, network.images)
    model = network.build()
    if run.before:
        quantize(model, run.before)
    model = trained(model, run, training, 0.1, EPOCHS[run.network])
    if run.before:
        return {"errors": {f"{run.before} before": _error(model, test)}, "zeros": {}}
    with tempfile.TemporaryDirectory() as folder:
        return _of_quantized(model, run, training, test, Path(folder))


def _of_quantized(model: keras.Model, run: Run, training: Any, test: Any, folder: Path) -> Record:
    """What ``measured`` returns, for a network that was trained in float32."""
    path = folder / "trained.keras"
    ks.export(model, path, "keras", compare_dense=False, verbose=False)
    masks = [kernel != 0 for kernel in kernels_of(keras.saving.load_model(path))]
    errors, zeros = {"float32": _error(model, test)}, {}
    for kind in ("int8", "int4"):
        quantized = keras.saving.load_model(path)
        quantize(quantized, kind)
        errors[kind] = _error(classifier.compiled(quantized, "sgd"), test)
        zeros[kind] = zeros_kept(masks, nonzero_of(quantized))
    if run.network == "lenet-5":
        after = keras.saving.load_model(path)
        quantize(after, "int8")
        after = trained(after, run, training, 0.01, EPOCHS_AFTER, masks[:2])
        errors["int8 before"] = _error(after, test)
        zeros["int8 before"] = zeros_kept(masks[2:], nonzero_of(after)[2:])
    errors["litert"], found = of_litert(model, training[0][:CALIBRATION], test, folder)
    zeros["litert"] = zeros_kept(masks, found)
    return {"errors": errors, "zeros": zeros}


def trained(
    model: keras.Model,
    run: Run,
    training: Any,
    rate: float,
    epochs: int,
    masks: Sequence[np.ndarray] = (),
) -> keras.Model:
    """The model, trained with masks unless the run is dense; ``masks`` are those of its kernels."""
    network = accuracy_networks.network(run.network)
    steps = len(training[1]) // network.batch
    schedule = network.rate(rate, epochs * steps)
    optimizer: Any = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    callbacks: list[Any] = []
    if run.density < 1:
        settings: Any = {"density": run.density, "seed": run.seed}
        if masks:
            density = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
            settings |= {"density": float(density), "initial_masks": "nonzero"}
        optimizer = ks.SparseMomentum(optimizer, **settings)
        callbacks = [ks.UpdateMasks()]
    model = classifier.compiled(model, optimizer, steps_per_execution=steps // 5)
    batches = accuracy_data.batches(network, training, run.seed)
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def _error(model: keras.Model, test: Any) -> float:
    return round(classifier.test_error(model, *test), 4)


def rows_of(known: Sequence[Record]) -> list[Sequence[object]]:
    """A row for each network and density."""
    rows: list[Sequence[object]] = []
    for network in EPOCHS:
        for density in DENSITIES:
            own = [r for r in known if (r["network"], r["density"]) == (network, density)]
            cells = [_cell([r["errors"][key] for r in own if key in r["errors"]]) for key in STORED]
            pairs = [pair for r in own for pair in r["zeros"].values()]
            kept, missing = (sum(column) for column in zip(*pairs, strict=True))
            share = f"{kept:,} of {missing:,}" if density < 1 else ""
            name = "dense" if density == 1 else f"{100 * density:g} %"
            rows.append((network, name, *cells, share, len({r["seed"] for r in own})))
    return rows


def _cell(values: Sequence[float]) -> str:
    return report.mean_and_error(values) if values else ""


if __name__ == "__main__":
    main()
