"""Trains a sparse network on several machines, and resumes after a worker died.

    # two processes on this machine
    python examples/multi_worker.py --workers 2
    # the first of two machines; the other has index 1
    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
                "task": {"type": "worker", "index": 0}}' \\
        python examples/multi_worker.py --checkpoint /shared/run.weights.h5

Each worker decides the masks by itself, from the same numbers. Gradients are summed over all
workers, and random numbers come from the seed and the optimizer step. The first worker saves after
every epoch. When a worker dies, start all of them again with the same command. All workers read the
checkpoint, so put it where all of them can.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras_sparse as ks
from examples.data import Images, load
from examples.local_workers import launch
from examples.models import build

LEARNING_RATE, MOMENTUM = 0.02, 0.9
LONGEST_WAIT = 60  # seconds for the last worker


def main() -> None:
    """Starts all workers on this machine, or is one of them."""
    arguments = _arguments()
    if arguments.workers:
        launch(arguments.workers)
    else:
        work(arguments)


def work(arguments: argparse.Namespace) -> None:
    """Trains as the worker that the environment variable TF_CONFIG says; alone without it."""
    # Before anything else runs in TensorFlow.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    forget_killed_run(strategy, arguments.checkpoint)
    keras.utils.set_random_seed(arguments.seed)
    digits = load(arguments.data)
    with strategy.scope():
        model = build("lenet-300-100")
        if arguments.sparse_layers:
            model = ks.sparsify(model)
        optimizer = ks.SparseMomentum(
            keras.optimizers.SGD(LEARNING_RATE, MOMENTUM, nesterov=True),
            density=arguments.density,
            seed=arguments.seed,
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=False)  # XLA has no collectives for CPUs
        optimizer.build(model)
    if arguments.checkpoint.exists():
        model.load_weights(arguments.checkpoint)  # weights, masks, momenta, and the step

    def data(epoch: int) -> Any:
        return batches(digits, arguments.batch, arguments.seed + epoch)

    train(strategy, model, data, arguments)
    agreement = ks.check_agreement(model)
    if is_chief(strategy):
        print(
            f"{optimizer.step()} steps; density {optimizer.total_density():.4f}; "
            f"masks {agreement.digest} on {agreement.copies} replicas"
        )
    leave_together(strategy, arguments.checkpoint)


def train(
    strategy: Any, model: Any, data: Callable[[int], Any], arguments: argparse.Namespace
) -> None:
    """The loop: from the step that the optimizer is at to the end of the last epoch."""
    optimizer, steps = model.optimizer, len(data(0))
    step = make_step(strategy, model)
    if optimizer.step() == 0:  # else the checkpoint knows
        optimizer.start_training(arguments.epochs * steps)
    for epoch in range(optimizer.step() // steps, arguments.epochs):
        if epoch > 0:
            optimizer.update_masks()  # on every worker: equal numbers give equal masks
        ks.check_agreement(model)  # an error names what differs; it costs little beside an epoch
        model.reset_metrics()
        is_last = epoch + 1 == arguments.epochs
        for i, batch in enumerate(strategy.experimental_distribute_dataset(data(epoch))):
            until_update = math.inf if is_last else steps - i
            # Only sparse layers ask for it.
            optimizer.open_growth_window(until_update <= optimizer.growth_window_steps())
            loss = step(batch)
        if is_chief(strategy):
            print(
                f"epoch {epoch + 1} of {arguments.epochs}: loss {float(loss):.4f}, "
                f"density {optimizer.total_density():.4f}",
                flush=True,
            )
            save(model, arguments.checkpoint)


def make_step(strategy: Any, model: Any) -> Callable[[Any], Any]:
    """A function that makes one optimizer step on a batch and returns the mean loss so far."""

    @tf.function
    def step(batch: Any) -> Any:
        # What `fit` would do: loss, gradients, optimizer, metrics.
        logs = strategy.run(model.train_step, args=(batch,))
        return strategy.reduce("MEAN", logs["loss"], axis=None)

    return step


def batches(digits: Images, size: int, seed: int) -> Any:
    """One epoch of global batches in the order of the seed; each worker takes its part of each."""
    data = tf.data.Dataset.from_tensor_slices((digits.x_train, digits.y_train))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return (
        data.shuffle(len(digits.x_train), seed)
        .batch(size, drop_remainder=True)
        .with_options(options)
    )


def is_chief(strategy: Any) -> bool:
    """Is this the worker that prints and saves?"""
    return strategy.cluster_resolver.task_id in (None, 0)  # None: there is no TF_CONFIG


def leaving_files(strategy: Any, checkpoint: Path) -> list[Path]:
    """By which each worker but the chief says that it has ended, beside the checkpoint."""
    count = len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", [None]))
    return [checkpoint.with_name(f"{checkpoint.name}.worker{i}") for i in range(1, count)]


def forget_killed_run(strategy: Any, checkpoint: Path) -> None:
    """Removes this worker's file of a run that was killed. The training comes after it."""
    if not is_chief(strategy):
        own = leaving_files(strategy, checkpoint)[strategy.cluster_resolver.task_id - 1]
        own.unlink(missing_ok=True)


def leave_together(strategy: Any, checkpoint: Path) -> None:
    """Returns when all workers are here. One that ends closes connections that others still read.

    Each worker leaves a file beside the checkpoint, and the chief takes them away when it has all.
    """
    files = leaving_files(strategy, checkpoint)
    end = time.monotonic() + LONGEST_WAIT
    if is_chief(strategy):
        while not all(file.exists() for file in files) and time.monotonic() < end:
            time.sleep(0.02)
        for file in files:
            file.unlink(missing_ok=True)
        return
    own = files[strategy.cluster_resolver.task_id - 1]
    own.parent.mkdir(parents=True, exist_ok=True)
    own.touch()
    while own.exists() and time.monotonic() < end:
        time.sleep(0.02)


def save(model: Any, path: Path) -> None:
    """Writes weights, masks, momenta and counters; a kill while it writes leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished.{path.name}")
    model.save_weights(unfinished, overwrite=True)
    os.replace(unfinished, path)


def _arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add = parser.add_argument
    workers = "number of workers to start on this machine; 0: the one that TF_CONFIG names"
    add("--workers", type=int, default=0, help=workers)
    checkpoint = Path("demo/multi_worker.weights.h5")
    add("--checkpoint", type=Path, default=checkpoint, help="on a disk that all workers see")
    add("--epochs", type=int, default=5)
    add("--batch", type=int, default=64, help="of all workers together")
    add("--density", type=float, default=0.1, help="active / all weights, in (0, 1]")
    add("--sparse-layers", action="store_true", help="layers that skip missing weights")
    add("--data", type=Path, help="MNIST as .npz; default: keras.datasets, or small digits")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
