"""Times a step with masks against the dense step of the same model."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import keras

import keras_sparse as ks
from benchmarks import classifier
from benchmarks.networks import resnet_20
from benchmarks.turns import limit_threads
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
    limit_threads(1)
    steppers = [stepper(case, masked, jit_compile) for masked in (False, True)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        # None is always the one that comes after the other.
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            begin = time.process_time()
            for _ in range(case.steps_a_turn):
                steppers[which]()
            seconds[which].append((time.process_time() - begin) / case.steps_a_turn)
    return seconds


def stepper(case: Case, masked: bool, jit_compile: bool) -> Callable[[], None]:
    """A function that makes one training step on random data."""
    keras.utils.set_random_seed(0)
    model = case.make()
    optimizer: Any = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    if masked:
        optimizer = ks.SparseMomentum(optimizer, density=DENSITY)
    # Without a metric: only the loss is read.
    classifier.compiled(model, optimizer, metrics=None, jit_compile=jit_compile)
    step = classifier.stepper(model, *classifier.noise(model.input_shape[1:], case.batch))
    for _ in range(WARM_UP):
        step()
    return step
