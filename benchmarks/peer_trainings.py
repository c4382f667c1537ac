"""One training of a dense network on MNIST by each library: accuracy, density, time of a step."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.accuracy_data import Part

BATCH, RATE, MOMENTUM = 100, 0.05, 0.9
PYTORCH = ("PyTorch", "SparseLab, static", "SparseLab, SET", "SparseLab, RigL")
KERAS = ("Keras", "PQuantML, PDP", "keras_sparse", "keras_sparse, RigL")
PACKAGES = {"PyTorch": "torch", "SparseLab": "sparselab", "PQuantML": "pquant-ml"}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        contender: one of ``PYTORCH`` and ``KERAS``.
        hidden: units of the hidden layers, such as "300-100".
        density: of all kernels; 1 for dense layers.
        images: number of images of an epoch.
        epochs: number of epochs.
        seed: of weights, masks and the order of the images.
    """

    contender: str
    hidden: str
    density: float
    images: int
    epochs: int
    seed: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of all layers."""
        return (784, *map(int, self.hidden.split("-")), 10)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.images // BATCH


def train(run: Run, training: Part, test: Part) -> dict[str, Any]:
    """Error in %, density at the end, and milliseconds of CPU time of a step in each epoch."""
    function = _with_pytorch if run.contender in PYTORCH else _with_keras
    seconds, probabilities, density = function(run, training, test[0])
    return {
        "error": 100 * float(np.mean(probabilities.argmax(-1) != test[1])),
        "reached": density,
        "milliseconds": [1000 * each / run.steps for each in seconds],
    }


def milliseconds(record: dict[str, Any]) -> float:
    """Of a step: the median over epochs, without the first, which compiles."""
    return statistics.median(record["milliseconds"][1:])


def _with_pytorch(run: Run, training: Part, images: np.ndarray) -> tuple[Any, ...]:
    """Eager steps in a loop; SparseLab's algorithm changes the masks once an epoch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    model, algorithm = _pytorch_model(run)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    loss = torch.nn.CrossEntropyLoss()
    x, y = (torch.tensor(each[: run.images]) for each in training)
    x, y, seconds = x.flatten(1), y.long(), []
    for _ in range(run.epochs):
        begin, order = time.process_time(), torch.randperm(len(y))
        for numbers in order.split(BATCH):
            optimizer.zero_grad()
            loss(model(x[numbers]), y[numbers]).backward()
            optimizer.step()
            if algorithm is not None:
                algorithm.step()
        seconds.append(time.process_time() - begin)
    with torch.no_grad():
        probabilities = model(torch.tensor(images).flatten(1)).numpy()
    layers = [layer for layer in model if not isinstance(layer, torch.nn.ReLU)]
    weights = [layer.in_features * layer.out_features for layer in layers]
    active = [getattr(layer, "nnz", n) for layer, n in zip(layers, weights, strict=True)]
    return seconds, probabilities, sum(active) / sum(weights)


def _pytorch_model(run: Run) -> tuple[Any, Any]:
    """The network, and what changes its masks."""
    import torch

    pairs = list(itertools.pairwise(run.sizes))
    if run.contender == "PyTorch":
        layers = [torch.nn.Linear(*pair) for pair in pairs]
        algorithm = None
    else:
        import sparselab

        sparsity, updates = 1 - run.density, {"drop_fraction": 0.3, "update_freq": run.steps}
        layers = [sparselab.SparseLinear(*pair, sparsity=sparsity) for pair in pairs]
        algorithm = {
            "SparseLab, static": lambda: sparselab.Static(sparsity),
            "SparseLab, SET": lambda: sparselab.SET(sparsity, **updates),
            "SparseLab, RigL": lambda: sparselab.RigL(sparsity, **updates),
        }[run.contender]()
    with_relu = [module for layer in layers for module in (torch.nn.ReLU(), layer)]
    model = torch.nn.Sequential(*with_relu[1:])
    if algorithm is not None:
        model.apply(algorithm)
    return model, algorithm


def _with_keras(run: Run, training: Part, images: np.ndarray) -> tuple[Any, ...]:
    """``fit``, with the callback of the library."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(run.seed)
    sgd = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    model, optimizer, callbacks, density = _keras_model(run, sgd)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    x, y = (tf.constant(each[: run.images]) for each in training)
    x = tf.reshape(x, (run.images, 784))
    numbers = tf.data.Dataset.range(run.images).shuffle(run.images).batch(BATCH)
    data = numbers.map(lambda n: (tf.gather(x, n), tf.gather(y, n))).prefetch(8)
    clock = _clock()
    model.fit(data, epochs=run.epochs, verbose=0, callbacks=[*callbacks, clock])
    probabilities = model.predict(images.reshape(-1, 784), batch_size=1000, verbose=0)
    return clock.seconds, probabilities, float(density(model))


def _clock() -> Any:
    import keras

    class Clock(keras.callbacks.Callback):
        """CPU time of each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []
            self._begin = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._begin = time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.process_time() - self._begin)

    return Clock()


def _keras_model(run: Run, sgd: Any) -> tuple[Any, Any, list[Any], Callable[[Any], float]]:
    """The network, its optimizer and callbacks, and how to ask for its density."""
    import keras

    outputs = inputs = keras.Input(run.sizes[:1])
    for units in run.sizes[1:-1]:
        outputs = keras.layers.Dense(units, activation="relu")(outputs)
    model = keras.Model(inputs, keras.layers.Dense(run.sizes[-1])(outputs))
    if run.contender == "Keras":
        return model, sgd, [], lambda _: 1.0
    if run.contender == "PQuantML, PDP":
        return _pquantml(model, run, sgd)
    import keras_sparse as ks

    method = ks.RigL if run.contender.endswith("RigL") else ks.SparseMomentum
    optimizer = method(sgd, run.density, seed=run.seed)
    return ks.sparsify(model, verbose=False), optimizer, [ks.UpdateMasks("epoch")], ks.density


def _pquantml(model: Any, run: Run, sgd: Any) -> tuple[Any, Any, list[Any], Callable[[Any], float]]:
    """PDP without quantization: an epoch before it, half of the epochs with it, then fixed masks.

    The target rises over the first three epochs of pruning.
    """
    import pquant
    from pquant.core.keras.train import PQuantCallback

    config = pquant.pdp_config()
    pruning, training = config.pruning_parameters, config.training_parameters
    pruning.sparsity, pruning.epsilon = 1 - run.density, 0.34
    config.quantization_parameters.enable_quantization = False
    training.pretraining_epochs, training.epochs = 1, run.epochs // 2
    training.fine_tuning_epochs = run.epochs - 1 - training.epochs
    compressed = pquant.add_compression_layers(model, config)
    callback = PQuantCallback(config, log_ebops=False, log_keep_ratio=False)
    return compressed, sgd, [callback], pquant.get_layer_keep_ratio
