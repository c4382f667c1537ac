"""Growth windows: their length, and that sparse layers skip dense gradients outside of them."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
from helpers import STEPS, Interrupt, array, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training.growth_window import steps_of

backend = pytest.mark.backend


def sparse_toy(optimizer=None, **arguments):
    """A toy model of sparse layers, and its optimizer."""
    return compiled(optimizer or sparse(), ks.sparsify(toy_model()), **arguments)


class Flags(keras.callbacks.Callback):
    """Records the steps in which missing weights got gradients; list it after UpdateMasks."""

    def __init__(self):
        super().__init__()
        self.open = []

    def on_train_batch_begin(self, batch, logs=None):
        flags = {bool(array(layer.dense_weight_gradient)) for layer in self.model.layers}
        optimizer = ks.training.find_optimizer.sparse_momentum_of(self.model)
        assert (
            flags
            == {bool(array(optimizer.growth_window_open))}
            == {optimizer.counter("window_opened") >= 0}
        )
        if flags == {True}:
            self.open.append(optimizer.step())


def open_steps(optimizer, *callbacks, every=None, epochs=3, execution=1):
    flags = Flags()
    fit(
        sparse_toy(optimizer, steps_per_execution=execution),
        ks.UpdateMasks(every=every),
        *callbacks,
        flags,
        epochs=epochs,
    )
    return flags.open


# --- how many steps


@backend
@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: ks.SparseMomentum(sgd(), 0.1), 50),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.99, nesterov=True), 0.1),
            525,
        ),
        (lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1), 0.1, gradient_momentum=0.5), 8),
        (lambda: ks.SparseMomentum(keras.optimizers.Lion(0.1, beta_2=0.9), 0.1), 50),
        (lambda: ks.SparseMomentum("adam", 0.1), math.inf),
        (lambda: ks.SparseMomentum("rmsprop", 0.1, gradient_momentum=0.9), math.inf),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0), 0.1),
            math.inf,
        ),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, clipvalue=1.0), 0.1),
            50,
        ),
        (lambda: ks.RigL(sgd(), 0.1), 1),
        (lambda: ks.RigL("adam", 0.1), math.inf),
        (lambda: ks.SET("adam", 0.1), 0),
        (
            lambda: ks.SET(sgd(), 0.1, redistribute="mean_momentum"),
            0,
        ),  # of active weights, which always have gradients
        (
            lambda: ks.SET(
                sgd(),
                0.1,
                redistribute=ks.scores.needs("momentum")(
                    lambda layer: np.abs(layer.momentum).max()
                ),
            ),
            50,
        ),
        (lambda: ks.StaticSparsity("adam", 0.1), 0),
        (lambda: ks.GradualPruning("adam", 0.1), 0),
        (
            lambda: ks.StaticSparsity(keras.optimizers.Lamb(), 0.1),
            math.inf,
        ),  # norms of all gradients are in each weight's step
        (lambda: ks.SparseMomentum("adam", 0.1, growth_window=7), 7),
        (lambda: ks.StaticSparsity(sgd(), 0.1, growth_window=None), math.inf),
    ],
)
def test_steps_before_an_update(make, steps):
    assert make().growth_window_steps() == steps


@backend
@pytest.mark.parametrize("growth_window", ["auto", None, 3])
def test_the_setting_comes_back(growth_window):
    optimizer = sparse(growth_window=growth_window)
    again = ks.SparseMomentum.from_config(optimizer.get_config())
    assert again.growth_window == optimizer.growth_window == growth_window


@backend
@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "always"])
def test_other_settings_are_errors(wrong):
    with pytest.raises(
        ValueError,
        match='`growth_window` must be "auto", None or a positive integer. '
        "Received: growth_window=",
    ):
        sparse(growth_window=wrong)


def test_several_optimizers_need_the_longest_memory():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras has no MultiOptimizer yet")
    slow, fast = (keras.optimizers.SGD(0.1, momentum=momentum) for momentum in (0.9, 0.5))
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(fast, {".*head.*": slow})
    )
    assert steps_of("auto", ["momentum"], several, None) == 50


# --- when the layers' flags are open, in `fit`


@backend
@pytest.mark.parametrize(
    ("settings", "every", "execution", "expected"),
    [
        (
            {"growth_window": 2},
            None,
            1,
            [2, 3, 6, 7, 10, 11],
        ),  # the next `fit` begins with an update
        ({"growth_window": 2}, 5, 1, [3, 4, 8, 9]),
        ({"growth_window": 2}, 6, 1, [4, 5, 10, 11]),
        ({"growth_window": 2}, None, 2, [2, 6, 10]),  # first steps of executions
        ({"growth_window": 3}, None, 2, [0, 2, 4, 6, 8, 10]),
        ({"growth_window": None}, None, 1, list(range(12))),
        ({}, None, 1, list(range(12))),  # 50 steps are more than an epoch
        ({"grow": "gradient", "redistribute": None}, None, 1, [3, 7, 11]),
        ({"grow": "random", "redistribute": None}, None, 1, []),
        ({"grow": "random", "redistribute": None}, 3, 1, []),
    ],
)
def test_open_before_an_update_and_closed_after(settings, every, execution, expected):
    assert open_steps(sparse(**settings), every=every, execution=execution) == expected


def test_accumulated_gradients_count_once():
    inner = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    assert sorted(set(open_steps(sparse(inner=inner, growth_window=1), epochs=4))) == [1, 3, 5, 7]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_an_epoch_of_unknown_length_is_open():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    flags, model = Flags(), sparse_toy(sparse(growth_window=1))
    model.fit(data, epochs=3, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(), flags])
    assert set(flags.open) == set(range(15))  # it may end with any step


@backend
def test_early_stopping_leaves_masks_that_fit_and_the_next_training_goes_on(updates):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = sparse_toy(sparse(growth_window=2))
    fit(model, ks.UpdateMasks(), Stop(), epochs=5)
    assert updates == [4]
    fit(
        model, ks.UpdateMasks(), epochs=2
    )  # the window was open when the first one stopped: it updates at once
    assert updates == [4, 8, 12]


@backend
def test_a_second_training_begins_with_an_update(updates):
    model = sparse_toy()
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=3)
    assert updates == [4, 8, 12, 16]


@backend
@pytest.mark.parametrize("initial_epoch", [False, True])
def test_trainings_of_one_epoch_in_a_loop_update_the_masks(updates, initial_epoch):
    model, flags, callback = sparse_toy(sparse(growth_window=1)), Flags(), ks.UpdateMasks("epoch")
    with pytest.warns(
        UserWarning, match="will not be updated in this training"
    ):  # true of the first
        fit(model, callback, flags, epochs=1)
    for epoch in (1, 2):
        span = {"initial_epoch": epoch, "epochs": epoch + 1} if initial_epoch else {"epochs": 1}
        fit(model, callback, flags, **span)
    assert updates == [4, 8]
    assert flags.open == [3, 7, 11]  # a window a `fit`
    assert callback.history["step"] == [4, 8, 12]


@backend
def test_a_window_that_was_closed_when_an_update_was_due_opens_and_the_update_follows(updates):
    model, flags = sparse_toy(sparse(growth_window=2)), Flags()
    fit(model, ks.UpdateMasks(), epochs=2)
    model.optimizer.open_growth_window(
        False
    )  # as files of trainings that ended without one have it
    fit(model, ks.UpdateMasks(), flags, epochs=2)
    assert updates == [4, 10, 12]
    assert flags.open == [8, 9, 10, 11, 14, 15]


@backend
def test_without_sparse_layers_every_gradient_is_dense_and_nothing_changes(updates):
    model = compiled(sparse(growth_window=1))
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=2)
    assert updates == [4, 8, 12]


@backend
@pytest.mark.parametrize("growth_window", [2, "auto"])
def test_a_resumed_training_is_the_undisturbed_one(tmp_path, growth_window):
    def train(*callbacks):
        keras.utils.set_random_seed(0)
        model = sparse_toy(sparse(growth_window=growth_window))
        fit(model, ks.UpdateMasks(), *callbacks, epochs=4)
        return model

    undisturbed = train()
    with pytest.raises(KeyboardInterrupt):
        train(
            keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
            Interrupt(2, 1),
        )
    resumed = train(keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    for one, other in zip(resumed.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed.optimizer.counter("last_update") == 3 * STEPS


# --- in a loop of your own


@backend
def test_in_a_loop_it_is_open_until_you_close_it():
    model = sparse_toy()
    optimizer = model.optimizer
    optimizer.build(model)
    flags = [layer.dense_weight_gradient for layer in model.layers]
    assert all(map(array, flags))
    optimizer.open_growth_window(False)
    assert not any(map(array, flags))
    with pytest.raises(
        ValueError,
        match=r"The growth window is closed.*"
        r"`optimizer.open_growth_window\(True\)` 50 steps before",
    ):
        optimizer.update_masks()
    optimizer.open_growth_window(True)
    assert all(map(array, flags))


@backend
def test_a_closed_window_is_saved(tmp_path):
    model = sparse_toy()
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)
    model.save_weights(tmp_path / "m.weights.h5")
    other = sparse_toy()
    other.optimizer.build(other)
    other.load_weights(tmp_path / "m.weights.h5")
    assert not array(other.optimizer.growth_window_open)
    assert not any(array(layer.dense_weight_gradient) for layer in other.layers)


# --- does it grow the same weights?

BATCHES, BATCH = 300, 32  # of an epoch


@functools.cache
def digits():
    """The handwritten digits, 8x8: batches drawn from 1,797 images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).integers(0, len(images), (BATCHES, BATCH))
    return (images[order] / 16).astype("float32")[..., None].reshape(
        BATCHES, BATCH, 8, 8, 1
    ), labels[order]


def digits_model(growth_window, implementation="auto", rate=0.01):
    """2304 and 8192 masked weights at density 0.1."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="stem"),
            ks.layers.SparseConv2D(
                16, 3, padding="same", activation="relu", implementation=implementation, name="conv"
            ),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            ks.layers.SparseDense(
                32, activation="relu", implementation=implementation, name="hidden"
            ),
            keras.layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(rate, momentum=0.9),
        0.1,
        dense=["stem", "head"],
        growth_window=growth_window,
        prune_rate=0.3,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    optimizer.build(model)
    return model


def all_masks(model):
    return np.concatenate([mask.reshape(-1) for mask in model.optimizer.masks.values()])


IMPLEMENTATIONS = [
    "stock",
    pytest.param(
        "auto",
        marks=pytest.mark.skipif(
            keras.backend.backend() != "tensorflow" or not ks.ops.available(),
            reason="no custom ops here",
        ),
    ),
]


@pytest.mark.slow
def test_with_a_window_of_250_steps_the_masks_of_a_training_are_the_published_ones():
    def masks_of_epochs(growth_window):
        model, seen = digits_model(growth_window, "stock", rate=0.03), []
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(all_masks(model))
        )
        images, labels = digits()
        data = images.reshape(-1, 8, 8, 1), labels.reshape(-1)
        model.fit(
            *data,
            batch_size=BATCH,
            epochs=4,
            shuffle=False,
            verbose=0,
            callbacks=[ks.UpdateMasks(), note],
        )
        assert model.evaluate(*data, verbose=0) < 0.1  # it learns
        return seen

    published, windowed = masks_of_epochs(None), masks_of_epochs(250)
    assert all((after & ~before).sum() > 100 for before, after in itertools.pairwise(published))
    for one, other in zip(windowed, published, strict=True):
        np.testing.assert_array_equal(one, other)


def same_growth(window, implementation, epochs=2):
    """The share of the published method's growth that a window grows from the same weights."""
    published, windowed = digits_model(None, implementation), digits_model(window, implementation)
    grown, same = 0, 0
    for _ in range(epochs):
        before = all_masks(published)
        for batch, (images, labels) in enumerate(zip(*digits(), strict=True)):
            if batch == BATCHES - window:
                copy_active(published, windowed)
            windowed.optimizer.open_growth_window(batch >= BATCHES - window)
            for model in (published, windowed):
                model.train_on_batch(images, labels)
        for model in (published, windowed):
            model.optimizer.update_masks()
        new = all_masks(published) & ~before
        grown, same = grown + new.sum(), same + (all_masks(windowed) & new).sum()
        windowed.set_weights(published.get_weights())
        windowed.optimizer.set_weights(
            [array(variable) for variable in published.optimizer.variables]
        )
    assert grown > 300
    return same / grown


def copy_active(source, target):
    """Weights and momenta of active weights are close: sparse gradients are summed otherwise."""
    target.set_weights(source.get_weights())
    mask_of = {one.index: one.mask_variable for one in source.optimizer.masked_weights}
    masks = [mask_of.get(i) for i in range(8)]
    for mask, ours, theirs in zip(
        masks,
        target.optimizer.inner_optimizer.momentums,
        source.optimizer.inner_optimizer.momentums,
        strict=True,
    ):
        ours.assign(
            array(theirs) if mask is None else np.where(array(mask), array(theirs), array(ours))
        )


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_each_update_with_a_window_of_50_steps_grows_what_the_published_one_grows(implementation):
    assert (
        same_growth(50, implementation) >= 0.99
    )  # 0.9^50 is 0.5 %: one to three of some 400 weights are others


@pytest.mark.slow
@pytest.mark.parametrize(("window", "share"), [(100, 0.995), (50, 0.99)])  # "auto" is 50
def test_each_update_with_a_window_grows_what_the_published_one_grows(window, share):
    assert same_growth(window, "auto") >= share


@pytest.mark.slow
@pytest.mark.skipif(not ks.ops.available(), reason="there are no compiled ops")
def test_each_update_with_a_window_of_one_step_grows_others():
    assert same_growth(1, "custom_op") < 0.9


@pytest.mark.slow
def test_stock_operations_give_missing_weights_gradients_in_every_step_whatever_the_window():
    assert same_growth(1, "stock") == 1.0
