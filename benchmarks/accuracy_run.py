"""One training of the accuracy benchmark: what a run is, and what is recorded of it."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

Window = int | str | None


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
    sparse_kernels: bool = False  # True: layers that skip missing weights; the mathematics is the same
    initial_scale: str | None = None  # None: the published method


def run_of(record: dict[str, Any]) -> Run:
    """The run that a record is of."""
    return Run(**{field.name: record[field.name] for field in dataclasses.fields(Run)})


def check(run: Run) -> None:
    """Raises ValueError for a growth window that would have no effect."""
    from accuracy_methods import DENSE, published_window

    if run.method != DENSE and run.growth_window != published_window(run.method) and not run.sparse_kernels:
        raise ValueError(
            "Keras' own layers compute dense weight gradients in all steps: a growth window of another length than the "
            f"method's needs `sparse_kernels=True`. Received: method={run.method!r}, growth_window={run.growth_window!r}"
        )


def train(run: Run, data: Path) -> dict[str, Any]:
    """Trains and returns the run's settings with its errors in %, densities, operations and seconds."""
    import accuracy_networks as networks
    import keras

    import keras_sparse as ks

    check(run)
    network = networks.network(run.network)
    keras.utils.set_random_seed(run.seed)
    training, validation, test = networks.parts(network.data, data, run.images)
    steps = len(training[1]) // network.batch
    model, costs = compiled(run, network, steps)
    masks = None if run.method == "dense" else ks.UpdateMasks("epoch")
    callbacks = [keras.callbacks.TerminateOnNaN(), *([masks] if masks else [])]
    begin = time.perf_counter()
    # shuffle=False: the batches are shuffled already, and Keras warns of being asked to do it.
    batches = networks.batches(network, training, run.seed)
    history = model.fit(batches, epochs=run.epochs, verbose=0, shuffle=False, callbacks=callbacks).history
    seconds = time.perf_counter() - begin
    figures = {"training_error": 100 * (1 - history["accuracy"][-1])}
    for name, part in (("test", test), ("validation", validation)):
        figures[f"{name}_error"] = _error(model, part) if part else None
    densities = [[masks.history[path][i] for path in costs] for i in range(len(history["loss"]))] if masks else []
    return {
        **dataclasses.asdict(run),
        **{key: None if value is None else round(value, 4) for key, value in figures.items()},
        "diverged": not math.isfinite(history["loss"][-1]),
        "final_density": model.optimizer.total_density() if masks else 1.0,
        "seconds": round(seconds, 1),
        **operations(run, model, list(costs.values()), densities, steps, network.batch),
        "multiply_adds": costs,
        "densities": [[round(density, 5) for density in row] for row in densities],
        "specialisation": _specialisation(model, test),
    }


def compiled(run: Run, network: Any, steps: int) -> tuple[Any, dict[str, int]]:
    """The model, ready to train, and {path of a kernel: multiply-adds of one example when it is dense}."""
    import accuracy_methods as methods
    import keras

    import keras_sparse as ks

    model = network.build()
    costs = {row["weight"]: row["multiply_adds_dense"] for row in ks.summary(model, "dict")["layers"]}
    rate = network.rate(run.learning_rate, run.epochs * steps)
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    window = 0
    if run.method != methods.DENSE:
        if run.sparse_kernels:  # a window of its own is that of the custom ops: the stock ones have none
            is_published = run.growth_window == methods.published_window(run.method)
            model = ks.sparsify(model, "auto" if is_published else "custom_op")
        settings = {"seed": run.seed, "initial_scale": run.initial_scale, "growth_window": run.growth_window}
        optimizer = methods.optimizer_of(run.method, optimizer, run.density, **settings)
        window = optimizer.growth_window_steps() if run.sparse_kernels else 0
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    at_once = steps_at_once(steps, window) if network.data == "mnist" else 1
    # TensorFlow's own convolutions are faster on a CPU than XLA's, which cannot run our ops at all.
    jit = "auto" if run.network == "lenet-300-100" and not run.sparse_kernels else False
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=at_once, jit_compile=jit)
    return model, costs


def steps_at_once(steps: int, window: float) -> int:
    """Steps between two looks at the masks: a fifth of an epoch, or so many that a growth window opens on time.

    >>> steps_at_once(540, math.inf), steps_at_once(540, 100)
    (108, 20)
    """
    return max(1, steps // 5) if window in (0, math.inf) else math.gcd(steps, int(window))


def operations(run: Run, model: Any, costs: list[int], densities: list[list[float]], steps: int, batch: int) -> dict[str, float]:
    """Operations of this training, and of the dense one."""
    from training_flops import dense_flops, open_shares, training_flops

    examples = steps * batch
    dense = dense_flops(costs, run.epochs, examples)
    if run.method == "dense":
        return {"training_flops": dense, "dense_training_flops": dense}
    shares = open_shares(model.optimizer.growth_window_steps(), steps, run.epochs)[: len(densities)]
    return {"training_flops": training_flops(costs, densities, shares, examples), "dense_training_flops": dense}


def _error(model: Any, part: Any) -> float:
    return 100 * (1 - model.evaluate(*part, batch_size=1000, verbose=0)[1])


def _specialisation(model: Any, test: Any) -> dict[str, list[float]]:
    from class_specialisation import activities, specialisation_of

    found = {name: specialisation_of(activity) for name, activity in activities(model, *test).items()}
    return {name: [round(float(value), 3) for value in values] for name, values in found.items()}
