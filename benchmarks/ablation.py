"""Compares RigL, SRigL and SRigL without ablation on MNIST, and what ``ks.compact`` then removes.

    python -m benchmarks.ablation --data mnist.npz

SRigL gives all units of a layer the same number of inputs. Its ablation removes units, and gives
their weights to the others. Each finished run is a line of a ``.jsonl`` file beside the table, and
is not repeated.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_sparse as ks
from benchmarks import accuracy_data, accuracy_networks, classifier, options, records, report
from benchmarks.ablation_update import first_mask, updated
from benchmarks.records import Record
from benchmarks.turns import limit_threads
from keras_sparse.rules.density import erdos_renyi

COMMAND = "python -m benchmarks.ablation --data mnist.npz"
NETWORK = "lenet-300-100"
EPOCHS = 5
EVERY = 108  # steps between two updates, a fifth of an epoch
STOP = 0.75  # of the training: masks stay from there on
PRUNE_RATE = 0.3  # at first; a cosine brings it to 0 at the end
ABLATION = {"SRigL without ablation": 0.0, "SRigL, 30 %": 0.3, "SRigL, 95 %": 0.95}
METHODS = ("RigL", *ABLATION)
DENSITIES = (0.05, 0.01)
COLUMNS = ("density", "method", "test error %", "hidden units", "weights after compact", "seeds")
NOTE = f"""\
LeNet-300-100 on MNIST, {EPOCHS} epochs by SGD with a momentum of 0.9; mean ± standard error of the
test error. Layers have densities by Erdős-Rényi, all methods the same. Masks change every {EVERY}
steps in the first {STOP:.0%} of the training. *SRigL* removes a unit if less than 30 % (95 %)
of its fan-in is salient; the last layer loses none. *Hidden units* have an active weight on both
sides, of 300 + 100. *Weights after compact* are those of `ks.compact`, biases included, of 266,610.
Its predictions were compared; the largest difference is below the table.

The paper's figures are of ResNet-18 on CIFAR-10 and larger networks. Here a constant fan-in costs
much accuracy at 1 %. The ablation of the paper's convolutional networks, 30 %, does not win it
back, and 95 %, its setting for transformers, removes nearly all units in this network.

"""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    method: str
    density: float
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the table."""
    parser = options.parser_of_cells(__doc__, "ablation")
    parser.add_argument("--data", type=Path, required=True, help="MNIST as .npz")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    limit_threads(1)
    seeds = range(arguments.seeds)
    runs = [Run(method, d, seed) for seed in seeds for d in DENSITIES for method in METHODS]
    known = records.complete(arguments.cells, runs, lambda run: measured(run, arguments.data))
    text = report.header("Ablation of units", COMMAND, records.circumstances(known)) + NOTE
    text += report.table(COLUMNS, rows_of(known))
    largest = max(record["difference"] for record in known)
    text += f"\nLargest difference of predictions after `ks.compact`: {largest:.0e}.\n"
    report.publish(arguments.output, text)


def measured(run: Run, data: Path) -> Record:
    """Trains; the error, and what compact leaves."""
    network = accuracy_networks.network(NETWORK)
    keras.utils.set_random_seed(run.seed)
    training, _, test = accuracy_data.parts("mnist", data, network.images)
    model, steps = network.build(), EPOCHS * (len(training[1]) // network.batch)
    sgd: Any = keras.optimizers.SGD(network.rate(0.1, steps), momentum=0.9, nesterov=True)
    masks = _first_masks(model, run)
    density = sum(m.sum() for m in masks.values()) / sum(m.size for m in masks.values())
    settings: Any = {"initial_masks": masks, "seed": run.seed}
    if run.method == "RigL":
        optimizer: Any = ks.RigL(sgd, float(density), **settings)
        callback: Any = ks.UpdateMasks(EVERY)
    else:
        optimizer = ks.StaticSparsity(sgd, float(density), **settings)
        callback = SRigL(steps, ABLATION[run.method], training)
    classifier.compiled(model, optimizer, steps_per_execution=EVERY)
    batches = accuracy_data.batches(network, training, run.seed)
    model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[callback])
    small, images = ks.compact(model), test[0][:100]
    apart = model.predict(images, verbose=0) - small.predict(images, verbose=0)
    return {
        "test_error": round(classifier.test_error(model, *test), 4),
        "final_density": optimizer.total_density(),
        "units": _units(list(optimizer.masks.values())),
        "weights": small.count_params(),
        "difference": float(np.abs(apart).max()),
    }


class SRigL(keras.callbacks.Callback):
    """Updates the masks of a StaticSparsity by SRigL's rule.

    Args:
        steps: of the training.
        ablation: see ``ablation_update``; not in the last layer.
        training: images and labels, of which each update takes the gradients of 1,000.
    """

    def __init__(self, steps: int, ablation: float, training: Any) -> None:
        super().__init__()
        self._steps, self._ablation, self._training = steps, ablation, training

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """At the end of each execution of EVERY steps."""
        optimizer = self.model.optimizer
        done = int(optimizer.iterations)
        if done % EVERY or done > STOP * self._steps:
            return
        rate = PRUNE_RATE / 2 * (1 + math.cos(math.pi * done / self._steps))
        kernels = {layer.kernel.path: layer.kernel for layer in classifier.with_kernels(self.model)}
        gradients, masks = self._gradients(done, list(kernels.values())), optimizer.masks
        found = {}
        for number, (path, kernel) in enumerate(kernels.items()):
            is_last = number == len(kernels) - 1
            share = 0.0 if is_last else self._ablation
            found[path] = updated(kernel.numpy(), gradients[number], masks[path], rate, share)
        optimizer.set_masks(found)

    def _gradients(self, done: int, kernels: list[Any]) -> list[np.ndarray]:
        begin = 1000 * (done // EVERY) % len(self._training[1])
        images, labels = (part[begin : begin + 1000] for part in self._training)
        with tf.GradientTape() as tape:
            outputs = self.model(images, training=True)
            loss = self.model.compute_loss(images, labels, outputs)
        return [each.numpy() for each in tape.gradient(loss, [k.value for k in kernels])]


def _first_masks(model: keras.Model, run: Run) -> dict[str, np.ndarray]:
    """Random masks of a constant fan-in, whose densities are by Erdős-Rényi."""
    rng = np.random.default_rng(run.seed)
    kernels = [layer.kernel for layer in classifier.with_kernels(model)]
    shapes = [tuple(kernel.shape) for kernel in kernels]
    masks = {}
    for kernel, shape, count in zip(kernels, shapes, erdos_renyi(shapes, run.density), strict=True):
        fan_in = max(1, round(count / shape[1]))
        masks[kernel.path] = first_mask(*shape, fan_in, rng)
    return masks


def _units(masks: Sequence[np.ndarray]) -> list[int]:
    """Units of each hidden layer that read and are read."""
    pairs = itertools.pairwise(masks)
    return [int(np.count_nonzero(one.any(0) & two.any(1))) for one, two in pairs]


def rows_of(known: Sequence[Record]) -> list[Sequence[object]]:
    """A row for each density and method."""
    rows: list[Sequence[object]] = []
    for density in DENSITIES:
        for method in METHODS:
            own = [r for r in known if (r["density"], r["method"]) == (density, method)]
            if not own:
                continue
            error = report.mean_and_error([r["test_error"] for r in own])
            means = np.mean([r["units"] for r in own], axis=0)
            units = " + ".join(f"{mean:.0f}" for mean in means)
            weights = f"{np.mean([r['weights'] for r in own]):,.0f}"
            share = f"{100 * own[0]['final_density']:.1f} %"
            rows.append((share, method, error, units, weights, len(own)))
    return rows


if __name__ == "__main__":
    main()
