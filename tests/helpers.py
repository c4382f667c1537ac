"""What do many tests of training share?  Small models, small data, and what is true of every sparse model."""

import itertools

import keras
import numpy as np

import keras_sparse as ks

STEPS = 4  # an epoch: 32 examples in batches of 8


def toy_data(shape=(8,), outputs=4, examples=32):
    """Random inputs and targets, always the same."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, *shape)).astype("float32"), rng.normal(
        size=(examples, outputs)
    ).astype("float32")


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
    """Trains quietly and in order; returns Keras' History."""
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(*(data or toy_data()), epochs=epochs, callbacks=list(callbacks), **arguments)


def array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


def arrays(variables):
    return [array(variable) for variable in variables]


def active(optimizer):
    """Number of active weights."""
    return sum(int(mask.sum()) for mask in optimizer.masks.values())


def assert_sparse(model, count=None):
    """Weights are 0 where their masks are False, and hardly anywhere else; ``count`` weights are active."""
    optimizer = ks.training.find_optimizer.sparse_momentum_of(model)
    for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values(), strict=True):
        weight = array(variable)
        np.testing.assert_array_equal(weight[~mask], 0, err_msg=variable.path)
        assert np.count_nonzero(weight) > 0.5 * np.count_nonzero(
            mask
        )  # what has just grown may still be 0
    if count is not None:
        assert active(optimizer) == count


def assert_same(these, those):
    """Equal to the last bit, pair by pair."""
    assert len(these) == len(those)
    for one, other in zip(these, those, strict=True):
        np.testing.assert_array_equal(one, other)


class Recorder(keras.callbacks.Callback):
    """Notes, at every beginning and end, the masks and the steps; list it after UpdateMasks."""

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
        """Optimizer steps whose gradients were dense: {first step of each execution with the growth window open}."""
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
