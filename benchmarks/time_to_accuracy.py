"""Measures test error against training time on CIFAR-10, for dense and sparse trainings.

    # every contender, seed 0
    python -m benchmarks.time_to_accuracy --data cifar10.npz
    python -m benchmarks.time_to_accuracy --data cifar10.npz --seeds 0 1 2 --contenders dense erk-5
    # of the finished runs
    python -m benchmarks.time_to_accuracy --tables

Each run is a complete training: its learning rate falls to 0 over its own number of epochs. Its
time counts everything from the first batch to the end of the evaluation, data and tracing included.
A run that is in the records is not repeated: a stopped benchmark continues where it was.
"""

import argparse
import concurrent.futures
import dataclasses
import time
from pathlib import Path
from typing import Any

from benchmarks import options, records, report, time_front, time_plot
from benchmarks.processes import pool
from benchmarks.records import Record

COMMAND = "python -m benchmarks.time_to_accuracy --data cifar10.npz"
BATCH, LEARNING_RATE = 128, 0.1
WARM_UP = 0.1  # of the steps
NETWORKS = ("vgg11", "conv8", "wrn-10-4", "wrn-16-4", "vgg16-d")


@dataclasses.dataclass(frozen=True)
class Contender:
    """How a network is trained; a dense one has density 1."""

    density: float = 1.0
    method: str = "SparseMomentum"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    fused_normalization: bool = False
    policy: str = "float32"
    blocks: tuple[int, int] | None = None  # in, out channels; of each tap
    epochs: tuple[int, ...] = (5, 8)


DENSE_EPOCHS = (3, 5)
WINDOW = {"growth_window": 10}  # steps with dense weight gradients before an update
# The layers keep their densities: a weight costs most where momentum would move it, on large maps.
ERK = {**WINDOW, "redistribute": None, "distribution": "erk"}
CONTENDERS = {
    "dense": Contender(epochs=DENSE_EPOCHS),
    "dense-fused": Contender(fused_normalization=True, epochs=DENSE_EPOCHS),
    "dense-bfloat16": Contender(policy="mixed_bfloat16", epochs=DENSE_EPOCHS),
    "dense-bfloat16-fused": Contender(
        policy="mixed_bfloat16", fused_normalization=True, epochs=DENSE_EPOCHS
    ),
    "sparse-20": Contender(0.2, settings=WINDOW),
    "sparse-10": Contender(0.1, settings=WINDOW),
    "sparse-5": Contender(0.05, settings=WINDOW),
    "erk-20": Contender(0.2, settings=ERK),
    "erk-10": Contender(0.1, settings=ERK),
    "erk-5": Contender(0.05, settings=ERK),
    "bfloat16-erk-5": Contender(0.05, settings=ERK, policy="mixed_bfloat16"),
    "blocks-erk-10": Contender(0.1, settings=ERK, blocks=(4, 4)),
    "blocks-erk-5": Contender(0.05, settings=ERK, blocks=(4, 4)),
    "bfloat16-blocks-erk-10": Contender(0.1, settings=ERK, blocks=(4, 4), policy="mixed_bfloat16"),
    "bfloat16-blocks-erk-5": Contender(0.05, settings=ERK, blocks=(4, 4), policy="mixed_bfloat16"),
    "static-erk-5": Contender(0.05, "StaticSparsity", {"distribution": "erk"}),
    "rigl-20": Contender(0.2, "RigL"),
    "rigl-10": Contender(0.1, "RigL"),
    "rigl-5": Contender(0.05, "RigL"),
    "granet-10": Contender(0.1, "GraNet"),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    contender: str
    epochs: int
    seed: int
    images: int
    threads: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables and the plot."""
    arguments = _arguments()
    path = arguments.output.with_suffix(".jsonl")
    runs = [] if arguments.tables else records.missing(planned(arguments), path)
    with pool(arguments.workers) as processes:
        futures = [processes.submit(train, run, arguments.data) for run in runs]
        for future in concurrent.futures.as_completed(futures):
            result = future.result()
            records.add(path, result)
            shown = ("contender", "epochs", "seed", "test_error", "seconds")
            print({key: result[key] for key in shown}, flush=True)
    known = records.finished(path)
    text = report.header("Test error against training time", COMMAND, records.circumstances(known))
    text += time_front.sections(known)
    report.publish(arguments.output, text)
    time_plot.plot(known, arguments.output.with_suffix(".png"))


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed and the short ones first, so that a part of them is of use."""
    lengths = {name: arguments.epochs or CONTENDERS[name].epochs for name in arguments.contenders}
    common = (arguments.images, arguments.threads)
    return [
        Run(arguments.network, name, lengths[name][i], seed, *common)
        for seed in arguments.seeds
        for i in range(max(map(len, lengths.values())))
        for name in lengths
        if i < len(lengths[name])
    ]


def train(run: Run, data: Path | None) -> Record:
    """Trains and evaluates; the run's settings with its error in % and its seconds."""
    import keras

    from benchmarks import classifier, turns
    from examples.batches import Batches
    from examples.data import load_cifar10

    turns.limit_threads(run.threads)
    keras.utils.set_random_seed(run.seed)
    keras.config.set_dtype_policy(CONTENDERS[run.contender].policy)
    images = load_cifar10(data)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    batches = Batches(images.x_train[: run.images], images.y_train[: run.images], BATCH, run.seed)
    # With one worker the end of an epoch may wait for tf.data's tuning (TensorFlow 2.21). With two,
    # the first batches of an epoch may be in the order of the one before: no matter here.
    batches.workers = 2
    model, callbacks = compiled(run, run.epochs * len(batches))
    model.fit(batches, epochs=run.epochs, verbose=2, callbacks=callbacks, shuffle=False)
    error = classifier.test_error(model, images.x_test, images.y_test)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    figures = {"test_error": round(error, 3)}
    figures |= {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    figures["density"] = model.optimizer.total_density() if callbacks else 1.0
    return {**dataclasses.asdict(run), **figures}


def compiled(run: Run, steps: int) -> tuple[Any, list[Any]]:
    """The network, ready to train for this number of steps, and its callbacks."""
    import keras

    import keras_sparse as ks
    from benchmarks import classifier

    contender = CONTENDERS[run.contender]
    model = _network(run.network)
    warm_up = round(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=LEARNING_RATE, warmup_steps=warm_up
    )
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    callbacks = []
    if contender.density < 1:
        model = ks.sparsify(model)
        method = getattr(ks, contender.method)
        settings = dict(contender.settings)
        if contender.blocks:
            settings["structure"] = ks.Blocks(*contender.blocks, per_tap=True)
        optimizer = method(optimizer, contender.density, seed=run.seed, **settings)
        callbacks = [ks.UpdateMasks()]
    elif contender.fused_normalization:
        model = classifier.with_fused_normalization(model)
    return classifier.compiled(model, optimizer), callbacks


def _network(name: str) -> Any:
    from benchmarks.networks import conv8, vgg11
    from examples.models import build

    own = {"conv8": conv8, "vgg11": vgg11}
    return own[name]() if name in own else build(name)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "time_to_accuracy.md")
    add = parser.add_argument
    add("--data", type=Path, help="CIFAR-10, .npz or the tar.gz; default: download")
    add("--tables", action="store_true", help="train nothing, write the tables")
    add("--network", choices=NETWORKS, default=NETWORKS[0])
    add("--contenders", choices=CONTENDERS, nargs="+", default=list(CONTENDERS))
    add("--images", type=int, default=50_000, help="training images")
    add("--epochs", type=int, nargs="+", help="of each training, for all contenders")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--threads", type=int, default=1, help="of one training")
    add("--workers", type=int, default=2, help="trainings at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
