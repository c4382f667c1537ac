"""The training steps that train_step.py compares, and the memory that they take."""

import dataclasses
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from benchmarks import classifier, report, turns
from benchmarks.export_networks import vit
from benchmarks.networks import vgg11
from examples.models import vgg16_d, wide_resnet
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure


def hidden_layers(units: int) -> keras.Model:
    """Two hidden layers with this many units each."""
    layers = keras.layers
    hidden = [layers.Dense(units, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), *hidden, layers.Dense(10)])


MODELS: dict[str, Callable[[], keras.Model]] = {
    "WRN-16-8": lambda: wide_resnet(16, 8),
    "VGG16-D": vgg16_d,
    "VGG11": vgg11,
    "WRN-28-10": lambda: wide_resnet(28, 10),
    "WRN-16-4": lambda: wide_resnet(16, 4),
    "WRN-10-1": lambda: wide_resnet(10, 1),  # to try this script out
    "MLP-1024": lambda: hidden_layers(1024),
    "MLP-4096": lambda: hidden_layers(4096),
    "ViT": lambda: vit(keras),
}
OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(),
    "adamw": lambda: keras.optimizers.AdamW(),
}
TRAINED = report.ROOT / "benchmarks" / "data" / "trained_densities.json"
WARM_UP = 3  # steps, the first of which compiles


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained, and with how many threads."""

    model: str
    batch: int
    density: float
    threads: int
    trained: bool  # with the layers' densities of a training instead of the same for all
    structure: Structure = dataclasses.field(default_factory=Weights)  # of the masks
    policy: str = "float32"  # of the sparse model
    optimizer: str = "sgd"  # a key of OPTIMIZERS


class Training:
    """A compiled model that makes one training step at a time, on random data.

    Args:
        case: what is trained.
        sparse: with SparseMomentum and sparse layers, or as plain Keras has it.
        jit_compile: with XLA.
        fused_normalization: dense, but for the batch normalization that sparse models have.
        policy: dtype policy of the layers.
        implementation: of sparse layers.
        growth_batch: share of the batch that missing weights take their gradients from.
        execution: steps that run without Keras between them.
    """

    def __init__(
        self,
        case: Case,
        sparse: bool,
        jit_compile: bool = False,
        fused_normalization: bool = False,
        policy: str = "float32",
        implementation: str = "auto",
        growth_batch: float = 1.0,
        execution: int = 1,
    ) -> None:
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        model = MODELS[case.model]()
        if fused_normalization:
            model = classifier.with_fused_normalization(model)
        optimizer: Any = OPTIMIZERS[case.optimizer]()
        if sparse:
            model = ks.sparsify(model, implementation=implementation)
            gc.collect()  # the dense model, which nobody holds any more
            optimizer = _sparse_optimizer(case, optimizer, growth_batch)
        # Without a metric: only the loss is read.
        options = {"jit_compile": jit_compile, "steps_per_execution": execution}
        classifier.compiled(model, optimizer, metrics=None, **options)
        self.model, self.optimizer, self.execution = model, optimizer, execution
        self._step = classifier.stepper(model, *classifier.noise((32, 32, 3), case.batch))
        for _ in range(WARM_UP):
            self.step()

    def step(self) -> None:
        """One optimizer step, or ``execution`` of them; reading the loss waits for it."""
        self._step()

    def open_window(self, is_open: bool) -> None:
        """Says whether the steps to come compute dense weight gradients."""
        self.optimizer.open_growth_window(is_open)

    def update(self, step_seconds: float, clock: turns.Clock) -> float:
        """Seconds of a mask update and of what it adds to the step that comes after it."""
        begin = clock()
        self.optimizer.update_masks()
        self.step()
        return clock() - begin - step_seconds


def windowed(sparse: Training, is_open: bool) -> Callable[[], None]:
    """The sparse step with the growth window open or closed."""

    def step() -> None:
        sparse.open_window(is_open)
        sparse.step()

    return step


def _sparse_optimizer(case: Case, inner: Any, growth_batch: float) -> ks.SparseMomentum:
    distribution: Any = "uniform"
    if case.trained:
        distribution = json.loads(TRAINED.read_text())[case.model]
    settings: Any = {"distribution": distribution, "redistribute": None, "prune_rate": 0.3}
    settings["growth_batch"] = growth_batch
    optimizer = ks.SparseMomentum(inner, case.density, structure=case.structure, **settings)
    optimizer.updates_are_planned = True  # by `update` above
    return optimizer


def peak_memory(case: Case, sparse: bool) -> float:
    """Most memory in GB that a process which trains for a few steps ever held.

    To be called in a fresh process.
    """
    turns.limit_threads(case.threads)
    training = Training(case, sparse, policy=case.policy if sparse else "float32")
    if sparse:
        training.update(0.0, time.perf_counter)
        training.open_window(False)
    for _ in range(WARM_UP):
        training.step()
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6
