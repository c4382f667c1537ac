"""A warning names a final density that a training will not reach, before it and after it."""

import keras
import numpy as np
import pytest
from helpers import array, assert_sparse, compiled, fit, sgd, toy_data

import keras_sparse as ks
from keras_sparse.training.final_density import not_reached

tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
schedules = keras.optimizers.schedules
backend = pytest.mark.backend


def told(model, *callbacks, every="auto", **arguments):
    with pytest.warns(UserWarning, match="density") as caught:
        fit(model, ks.UpdateMasks(every), *callbacks, **arguments)
    return [text for warning in caught if "density" in (text := str(warning.message))]


@pytest.mark.parametrize(
    ("schedule", "reached"),
    [
        (tfmot.ConstantSparsity(0.75, begin_step=100), "1"),
        (tfmot.PolynomialDecay(0.0, 0.75, 0, 24, power=1, frequency=4), "0.75"),
        (schedules.PolynomialDecay(1.0, 24, 0.25), "0.625"),
    ],
)
def test_a_schedule_that_goes_on_after_the_training_is_told_before_it_and_after_it(
    schedule, reached
):
    before, after = told(compiled(ks.GradualPruning(sgd(), schedule)))
    assert (
        f"when this training ends, at step 12: the density will be {reached}, "
        "and the schedule falls to 0.25 only later" in before
    )
    assert f"left with a density of {reached} where 0.25 was asked for" in after


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_blocks_that_are_too_large_for_the_density_are_told(scope):
    block_of_each = {"scope": scope, "block_shape": (4, 4)}  # 16 of 128 and of 64 weights
    model = compiled(ks.GradualPruning(sgd(), 16 / 192, **block_of_each))
    (message,) = told(model)
    assert "left with a density of 0.1667 where 0.08333 was asked for: each masked" in message
    assert "Choose smaller blocks" in message
    assert_sparse(model, count=32)


def test_fits_in_a_loop_are_told_once():
    model = compiled(ks.GradualPruning(sgd(), schedules.PolynomialDecay(1.0, 12, 0.25)))
    assert len(told(model, epochs=1)) == 2
    for _ in range(2):
        fit(model, ks.UpdateMasks(), epochs=1)
    assert_sparse(model, count=48)


@backend
@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping_before_the_end_is_told(restore):
    """The first epoch is the best, and it was dense."""
    model = compiled(ks.GradualPruning(sgd(), schedules.PolynomialDecay(1.0, 40, 0.25)))
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=1, mode="max", restore_best_weights=restore
    )
    (message,) = told(model, stopping, epochs=10, every="epoch")
    found = model.optimizer.total_density()
    assert f"left with a density of {found:.4g} where 0.25 was asked for" in message
    assert "stopped at step 8 of 40" in message
    assert found == pytest.approx(1.0 if restore else 0.925, abs=1 / 192)
    assert np.mean(
        [(array(v) != 0).mean() for v in model.optimizer.masked_variables]
    ) == pytest.approx(found, abs=0.01)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_one_epoch_of_unknown_length_is_told():
    import tensorflow as tf

    model = compiled(ks.GradualPruning(sgd(), 0.25))
    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    with pytest.warns(
        UserWarning,
        match="length of this training of one epoch is not known: the density will stay at 1. Pass",
    ):
        model.fit(data, epochs=1, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks()])


@pytest.mark.parametrize(
    ("step", "asked_later", "why"),
    [
        (0, True, "the training was stopped at step 0 of 12"),
        (11, False, "the training was stopped at step 11 of 12"),
        (12, True, "the density schedule reaches it only after this training"),
        (12, False, "weights of an earlier step were put back"),
    ],
)
def test_the_warning_names_the_reason(step, asked_later, why):
    message = not_reached(0.5, 0.25, step, 12, asked_later)
    assert f"a density of 0.5 where 0.25 was asked for: {why}. Train on" in message
