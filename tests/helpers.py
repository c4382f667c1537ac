"""Shared by tests of training: small models, small data, and checks that hold at every batch."""

import functools
import itertools

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse._keras import to_numpy

STEPS = 4  # an epoch: 32 examples in batches of 8
OF_ARRAYS = {"batch_size", "shuffle", "validation_split", "sample_weight"}  # of fit, not of batches


def toy_data(shape=(8,), outputs=4, examples=32):
    """Random inputs and targets, always the same."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, *shape)).astype("float32"), rng.normal(
        size=(examples, outputs)
    ).astype("float32")


@functools.cache
def toy_batches():
    """Batches of 8 of the toy data: an iterator of them is made in a third of an array's time."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(toy_data()).batch(8)


def toy_model(outputs=4):
    """128 + 64 kernel weights in layers "hidden" and "head"; tanh, so that no gradient is 0."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, "tanh", name="hidden"),
            keras.layers.Dense(outputs, name="head"),
        ],
        name="toy",
    )


def numbered():
    """A toy model: its hidden layer has the weights 1 ... 128, its head -1001 ... -1064."""
    model = toy_model()
    model.get_layer("hidden").kernel.assign(np.arange(1.0, 129).reshape(8, 16))
    model.get_layer("head").kernel.assign(-np.arange(1001.0, 1065).reshape(16, 4))
    return model


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def sparse(**settings):
    """SparseMomentum at density 0.25 with a prune rate of 0.5 throughout, or other settings."""
    return ks.SparseMomentum(
        settings.pop("inner", None) or sgd(),
        settings.pop("density", 0.25),
        **{"prune_rate": 0.5, "seed": 0, **settings},
    )


def built(density=0.25, **settings):
    """A toy model whose SparseMomentum has its masks."""
    model = compiled(ks.SparseMomentum(sgd(), density, **{"seed": 0, **settings}))
    model.optimizer.build(model)
    return model


def compiled(optimizer=None, model=None, loss="mse", **arguments):
    """A toy model compiled with SparseMomentum(SGD, 0.25), or another optimizer."""
    model = model or toy_model()
    model.compile(
        ks.SparseMomentum(sgd(), 0.25, seed=0) if optimizer is None else optimizer,
        loss,
        **arguments,
    )
    return model


def fit(model, *callbacks, epochs=3, data=None, **arguments):
    """Trains quietly and in order; returns Keras' History.

    With an UpdateMasks among the callbacks, weights are checked to be masked at every batch.
    """
    checks = [MasksHold()] if any(isinstance(one, ks.UpdateMasks) for one in callbacks) else []
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if data is None and on_tensorflow and not arguments.keys() & OF_ARRAYS:
        data = (toy_batches(),)
    else:
        data, arguments = data or toy_data(), {"batch_size": 8, **arguments}
    arguments = {"shuffle": False, "verbose": 0, **arguments}
    return model.fit(*data, epochs=epochs, callbacks=[*callbacks, *checks], **arguments)


def after_two_steps(optimizer, gradients=(2.0, -1.0)):
    """momentum_of a 1 x 2 kernel whose second weight gets minus the gradients of the first."""
    bias, kernel = keras.Variable([0.0], name="bias"), keras.Variable([[1.0, 1.0]], name="kernel")
    optimizer.build([bias, kernel])
    for gradient in gradients:
        pair = [[0.0], [[gradient, -gradient]]]
        optimizer.apply(list(map(keras.ops.convert_to_tensor, pair)), [bias, kernel])
    momentum = ks.momentum_of(optimizer, 1)
    assert momentum.dtype == np.float32
    return momentum


def apply_ones(optimizer, model):
    """A step of an optimizer, with gradients of 1 for all that the model trains."""
    variables = model.trainable_variables
    optimizer.apply([keras.ops.ones(variable.shape) for variable in variables], variables)


def array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def arrays(variables):
    return [array(variable) for variable in variables]


def active(optimizer):
    """Number of active weights."""
    return sum(int(mask.sum()) for mask in optimizer.masks.values())


def assert_masks_hold(optimizer):
    """Weights of this SparseMomentum are 0 where their masks are False; frozen ones are theirs.

    They are +0.0: zip files of both zeros are a third larger at a density of 0.1.
    """
    for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values(), strict=True):
        if variable.trainable:
            missing = to_numpy(variable)[~mask]
            outside = np.count_nonzero(missing) + np.count_nonzero(np.signbit(missing))
            assert outside == 0, f"{outside} missing weights of {variable.path} are not +0.0"


class MasksHold(keras.callbacks.Callback):
    """Fails in the first batch that begins or ends with a missing weight other than 0.

    Masks are put on the weights again at the end of a training, so a check there sees no step.
    List it after UpdateMasks. ``ends`` counts the ends of batches that were checked.
    """

    def on_train_begin(self, logs=None):
        self.ends = 0

    def on_train_batch_begin(self, batch, logs=None):
        self._check()

    def on_train_batch_end(self, batch, logs=None):
        self.ends += self._check()

    def _check(self):
        optimizers = ks.training.find_optimizer.sparse_momenta_of(self.model)
        built = [optimizer for optimizer in optimizers if optimizer.built]
        for optimizer in built:
            assert_masks_hold(optimizer)
        return len(built) > 0


def assert_sparse(model, count=None):
    """Missing weights are 0, and hardly any other; ``count`` weights are active."""
    optimizer = ks.training.find_optimizer.sparse_momentum_of(model)
    for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values(), strict=True):
        weight = array(variable)
        np.testing.assert_array_equal(weight[~mask], 0, err_msg=variable.path)
        # what has just grown may still be 0
        assert np.count_nonzero(weight) > 0.5 * np.count_nonzero(mask)
    if count is not None:
        assert active(optimizer) == count


def assert_same(these, those):
    """Equal to the last bit, pair by pair."""
    assert len(these) == len(those)
    for one, other in zip(these, those, strict=True):
        np.testing.assert_array_equal(one, other)


class Recorder(keras.callbacks.Callback):
    """Notes masks and steps at every beginning and end; list it after UpdateMasks."""

    def on_train_begin(self, logs=None):
        self.seen = []  # (where, epoch or batch, optimizer step, all masks in one array)

    def note(self, where, index):
        optimizer = ks.training.find_optimizer.sparse_momentum_of(self.model)
        if optimizer.built:
            masks = np.concatenate([mask.reshape(-1) for mask in optimizer.masks.values()])
            self.seen.append(
                (where, index, optimizer.step(), masks, bool(array(optimizer.growth_window_open)))
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.note("epoch begin", epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch end", epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.note("batch begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.note("batch end", batch)

    def changes(self):
        """[(where, optimizer step)] of all that the masks changed at."""
        return [
            (after[0], after[2])
            for before, after in itertools.pairwise(self.seen)
            if not np.array_equal(before[3], after[3])
        ]

    def open_steps(self):
        """Optimizer steps with an open growth window: the first of each execution."""
        return [
            step for where, _, step, _, is_open in self.seen if where == "batch begin" and is_open
        ]


class Interrupt(keras.callbacks.Callback):
    """Fails at the beginning of an epoch, or after a batch of it."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.now = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        if self.at == (epoch, None):
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.at == (self.now, batch):
            raise KeyboardInterrupt
