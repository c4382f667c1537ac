"""One training of the accuracy benchmark: what a run is, and what is recorded of it."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

Window = int | str | None
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001}  # unless a run says otherwise


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    method: str  # "dense" or a key of accuracy_methods.METHODS
    density: float
    epochs: int
    seed: int
    images: int  # to train with
    learning_rate: float = 0.1
    growth_window: Window = None  # None: dense weight gradients in all steps
    sparse_kernels: bool = False  # True: layers that skip missing weights, to the same result
    initial_scale: str | None = None  # None: the published method
    growth_batch: float = 1.0  # share of a batch that missing weights take their gradients from
    optimizer: str = "sgd"  # with Nesterov momentum 0.9; or another key of LEARNING_RATES


def check(run: Run) -> None:
    """Raises ValueError for a growth window that would have no effect."""
    from benchmarks.accuracy_methods import DENSE, published_window

    if run.method == DENSE or run.sparse_kernels:
        return
    if run.growth_window != published_window(run.method) or run.growth_batch < 1:
        raise ValueError(
            "Keras' own layers compute dense weight gradients in all steps: a growth window "
            "that is not the method's own, or a growth batch, needs `sparse_kernels=True`. "
            f"Received: method={run.method!r}, growth_window={run.growth_window!r}, "
            f"growth_batch={run.growth_batch!r}"
        )


def train(run: Run, data: Path) -> dict[str, Any]:
    """Trains; returns the run's settings, its errors in %, densities, operations and seconds."""
    import keras

    from benchmarks import accuracy_data, accuracy_networks

    check(run)
    network = accuracy_networks.network(run.network)
    keras.utils.set_random_seed(run.seed)
    training, validation, test = accuracy_data.parts(network.data, data, run.images)
    steps = len(training[1]) // network.batch
    model, costs = compiled(run, network, steps)
    callbacks = [keras.callbacks.TerminateOnNaN(), *mask_callbacks(run, model, list(costs))]
    batches = accuracy_data.batches(network, training, run.seed)
    # The batches are shuffled already, and Keras warns of being asked to do it.
    options: Any = {"epochs": run.epochs, "shuffle": False, "verbose": 0}
    begin = time.perf_counter()
    history = model.fit(batches, callbacks=callbacks, **options).history
    seconds = time.perf_counter() - begin
    return {
        **dataclasses.asdict(run),
        "test_error": _error(model, test),
        "validation_error": _error(model, validation) if validation else None,
        "training_error": round(100 * (1 - history["accuracy"][-1]), 4),
        "diverged": not math.isfinite(history["loss"][-1]),
        "seconds": round(seconds, 1),
        **_of_masks(run, model, callbacks[-1], costs, steps * network.batch),
        "multiply_adds": costs,
        "specialisation": _specialisation(model, test),
    }


def _of_masks(
    run: Run, model: Any, log: Any, costs: dict[str, int], examples: int
) -> dict[str, Any]:
    """Densities, exploration and operations; ``log`` is the DensityLog of a sparse training."""
    is_dense = run.method == "dense"
    densities = [] if is_dense else log.densities
    return {
        "final_density": 1.0 if is_dense else model.optimizer.total_density(),
        "exploration_rate": 1.0 if is_dense else model.optimizer.exploration_rate(),
        **operations(run, model, list(costs.values()), densities, examples),
        "densities": densities,
    }


def compiled(run: Run, network: Any, steps: int) -> tuple[Any, dict[str, int]]:
    """The model, ready to train, and {path of a kernel: its multiply-adds when it is dense}."""
    import keras

    import keras_sparse as ks

    model = network.build()
    rows = ks.summary(model, "dict")["layers"]
    rate = network.rate(run.learning_rate, run.epochs * steps)
    optimizer: Any = keras.optimizers.Adam(rate)
    if run.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    at_once = max(1, steps // 5)
    if run.method != "dense":
        model, optimizer = _sparse(run, model, optimizer)
        window = optimizer.growth_window_steps()
        at_once = steps_at_once(steps, window) if run.sparse_kernels else at_once
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # On a CPU TensorFlow's own convolutions are faster than XLA's, which cannot run our ops.
    jit = "auto" if run.network == "lenet-300-100" and not run.sparse_kernels else False
    at_once = at_once if network.data == "mnist" else 1
    options: Any = {"steps_per_execution": at_once, "jit_compile": jit}
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    return model, {row["weight"]: row["multiply_adds_dense"] for row in rows}


def mask_callbacks(run: Run, model: Any, paths: list[str]) -> list[Any]:
    """None for a dense training; else those that update the masks, and that log densities."""
    import keras_sparse as ks
    from benchmarks import accuracy_methods as methods
    from benchmarks.density_log import DensityLog

    if run.method == methods.DENSE:
        return []
    update = ks.UpdateMasks(methods.METHODS[run.method].every)
    return [update, DensityLog(model.optimizer, paths)]


def _sparse(run: Run, model: Any, inner: Any) -> tuple[Any, Any]:
    """The model with the layers of the run, and the optimizer of its method."""
    import keras_sparse as ks
    from benchmarks import accuracy_methods as methods

    if run.sparse_kernels:
        # Stock operations have no growth window: one that is not the method's needs custom ops.
        own = methods.published_window(run.method)
        is_own = run.growth_window == own and run.growth_batch == 1
        model = ks.sparsify(model, "auto" if is_own else "custom_op")
    settings: dict[str, Any] = {"seed": run.seed, "initial_scale": run.initial_scale}
    settings |= {"growth_window": run.growth_window, "growth_batch": run.growth_batch}
    return model, methods.optimizer_of(run.method, inner, run.density, **settings)


def steps_at_once(steps: int, window: float) -> int:
    """Steps between two looks at the masks: a fifth of an epoch, or a part of the growth window.

    >>> steps_at_once(540, math.inf), steps_at_once(540, 100)
    (108, 20)
    """
    return max(1, steps // 5) if window in (0, math.inf) else math.gcd(steps, int(window))


def operations(
    run: Run, model: Any, costs: list[int], densities: list[list[float]], examples: int
) -> dict[str, float]:
    """Operations of this training, and of the dense one; ``examples`` are those of an epoch."""
    from benchmarks import accuracy_networks
    from benchmarks.training_flops import dense_flops, open_shares, training_flops

    dense = dense_flops(costs, run.epochs, examples)
    if run.method == "dense":
        return {"training_flops": dense, "dense_training_flops": dense}
    steps = examples // accuracy_networks.network(run.network).batch
    shares = open_shares(model.optimizer.growth_window_steps(), steps, run.epochs)
    shares = shares[: len(densities)]
    flops = training_flops(costs, densities, shares, examples, run.growth_batch)
    return {"training_flops": flops, "dense_training_flops": dense}


def _error(model: Any, part: Any) -> float:
    return round(100 * (1 - model.evaluate(*part, batch_size=1000, verbose=0)[1]), 4)


def _specialisation(model: Any, test: Any) -> dict[str, list[float]]:
    from benchmarks.class_specialisation import activities, specialisation_of

    found = {name: specialisation_of(sums) for name, sums in activities(model, *test).items()}
    return {name: [round(float(value), 3) for value in values] for name, values in found.items()}
