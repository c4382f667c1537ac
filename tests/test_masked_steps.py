"""Which weights a step masks: those that it may have changed; and what constraints see."""

import keras
import numpy as np
import pytest
from helpers import array, built, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training import masked_steps


@pytest.mark.parametrize(
    ("inner", "masked"),
    [
        (lambda: keras.optimizers.Adagrad(0.1), [0]),
        (lambda: keras.optimizers.Adagrad(0.1, use_ema=True), [0, 2]),  # averages are of all
    ],
)
def test_a_step_of_some_weights_masks_these_or_all_that_averages_change(monkeypatch, inner, masked):
    model, seen = toy_model(), []
    optimizer = sparse(inner=inner(), gradient_momentum=0.9)
    optimizer.build(model)
    monkeypatch.setattr(
        masked_steps, "apply_masks", lambda weights: seen.append([one.index for one in weights])
    )
    variables = model.trainable_variables[:2]
    optimizer.apply([keras.ops.ones(variable.shape) for variable in variables], variables)
    assert seen == [masked]


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)
def test_one_of_several_optimizers_with_averages_is_enough():
    def several(*parts):
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(parts[0], {".*head.*": parts[1]})
        )

    averaging = keras.optimizers.SGD(0.1, use_ema=True)
    assert masked_steps._keeps_averages_of_weights(several(sgd(), averaging))
    assert not masked_steps._keeps_averages_of_weights(several(sgd(), sgd()))


def test_what_is_doubtful_or_to_be_told_is_said_in_the_first_step():
    optimizer = built().optimizer
    optimizer._notice = "a notice"
    with pytest.warns(UserWarning, match="a notice"):
        optimizer._check_ready()
    optimizer._check_ready()  # once
    optimizer._doubt = ValueError("a doubt")
    with pytest.raises(ValueError, match="a doubt"):
        optimizer._check_ready()


def test_averages_of_weights_are_masked_when_they_are_put_in():
    optimizer = built().optimizer
    kernel = optimizer.masked_variables[0]
    kernel.assign(np.ones(kernel.shape))
    optimizer.finalize_variable_values(optimizer.masked_variables)
    np.testing.assert_array_equal(array(kernel) != 0, optimizer.masks["toy/hidden/kernel"])


@pytest.mark.backend
def test_a_constraint_sees_active_weights_alone():
    """Momenta of missing weights are large, and a norm over their steps would be, too."""
    keras.utils.set_random_seed(0)
    unit = keras.constraints.UnitNorm(axis=0)
    dense = keras.layers.Dense(4, kernel_constraint=unit)
    model = keras.Sequential([keras.Input((20,)), dense])
    model.compile(ks.StaticSparsity(sgd(), 0.5, seed=0), "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(128, n)).astype("float32") for n in (20, 4))
    model.fit(x, y, batch_size=32, verbose=0)
    norms = np.linalg.norm(array(dense.kernel), axis=0)
    np.testing.assert_allclose(norms, np.ones(4), atol=1e-5)
    assert dense.kernel.constraint is unit
