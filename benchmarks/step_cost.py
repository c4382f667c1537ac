"""Times a step with masks against the dense step of the same model."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_sparse as ks
from benchmarks.networks import resnet_20
from examples.models import build

DENSITY = 0.1
WARM_UP = 3  # steps, the first of which compiles


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to step, and how many steps make a turn long enough for the clock."""

    name: str
    make: Callable[[], keras.Model]
    batch: int
    steps_a_turn: int


CASES = (
    Case("LeNet-5", lambda: build("lenet-5"), batch=100, steps_a_turn=10),
    Case("ResNet-20", resnet_20, batch=128, steps_a_turn=1),
)


def compare_steps(case: Case, jit_compile: bool, turns: int) -> tuple[list[float], list[float]]:
    """CPU seconds of a dense and of a masked step, turn by turn."""
    one_thread()
    steppers = [stepper(case, masked, jit_compile) for masked in (False, True)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for which in (
            (0, 1) if turn % 2 == 0 else (1, 0)
        ):  # none is always the one that comes after the other
            begin = time.process_time()
            for _ in range(case.steps_a_turn):
                steppers[which]()
            seconds[which].append((time.process_time() - begin) / case.steps_a_turn)
    return seconds


def one_thread() -> None:
    """Threads that wait for work spin, which is CPU time spent on nothing."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def stepper(case: Case, masked: bool, jit_compile: bool) -> Callable[[], Any]:
    """A function that makes one training step on random data."""
    keras.utils.set_random_seed(0)
    model = case.make()
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    if masked:
        optimizer = ks.SparseMomentum(optimizer, density=DENSITY)
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    model.optimizer.build(model if masked else model.trainable_variables)
    train_function, batches = (
        model.make_train_function() or model.train_function,
        _batches(model.input_shape[1:], case.batch),
    )

    def step() -> Any:
        return {
            name: float(value) for name, value in train_function(batches).items()
        }  # reading the loss waits for the step

    for _ in range(WARM_UP):
        step()
    return step


def _batches(shape: tuple[int, ...], size: int) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((size, *shape), dtype=np.float32)
    labels = rng.integers(0, 10, size).astype("int32")
    return iter(tf.data.Dataset.from_tensors((images, labels)).cache().repeat())
