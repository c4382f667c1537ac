"""Where an optimizer's step reads no variable but its own, as on JAX, what it needs is made before.

The backend of the tests says so here, whichever it is.
"""

import types
import warnings

import keras
import numpy as np
import pytest
from helpers import built, compiled, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training import (
    agreement,
    mask_variables,
    masked_optimizer,
    masked_steps,
    starting_masks,
    state_in_files,
)

HEAD = "toy/head/kernel"
MODULES = (mask_variables, masked_optimizer, masked_steps, starting_masks, state_in_files)
stateless = pytest.mark.parametrize("is_stateless", [True, False])


@pytest.fixture
def steps(monkeypatch):
    """Says whether steps are stateless."""

    def are(is_stateless):
        for module in MODULES:
            monkeypatch.setattr(module, "optimizer_steps_are_stateless", lambda: is_stateless)

    return are


@stateless
def test_a_layers_mask_is_the_optimizers_own_where_a_step_may_read_it(steps, is_stateless):
    steps(is_stateless)
    model = compiled(sparse(), ks.sparsify(toy_model(), verbose=False))
    model.optimizer.build(model)
    mask, layer = model.optimizer.mask_variables[1], model.get_layer("head")
    assert (mask is not layer.kernel_mask.mask) == is_stateless
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), layer.mask)


@stateless
def test_the_masks_of_new_weights_are_made_with_the_first_step_or_before_it(steps, is_stateless):
    steps(is_stateless)
    model = built(initial_masks="magnitude")
    model.get_layer("head").kernel.assign(np.arange(64.0).reshape(16, 4))
    model.optimizer.load_own_variables({"not_begun": True})
    last_rows = np.arange(16)[:, None].repeat(4, axis=1) >= 12
    assert (model.optimizer.masks[HEAD] == last_rows).all() == is_stateless
    model.optimizer._check_ready()
    assert model.optimizer.begins_anew == is_stateless
    assert (model.optimizer.masks[HEAD] == last_rows).all()


@pytest.mark.parametrize(("is_stateless", "step"), [(True, 0), (True, 1), (False, 0), (False, 1)])
def test_a_step_of_unknown_number_warns_of_the_scale_and_only_once(steps, is_stateless, step):
    steps(is_stateless)
    optimizer = ks.SparseMomentum(sgd(), 0.25)
    optimizer.build(toy_model().trainable_variables)
    optimizer.iterations.assign(step)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            optimizer._check_ready()
    told = ["The masked weights keep"] * (is_stateless or step == 0)
    assert [str(one.message)[:23] for one in caught] == told


@stateless
@pytest.mark.parametrize(
    "settings", [{"budget": "multiply_adds"}, {"dense": "*", "sparse": keras.layers.Dense}]
)
def test_the_model_of_a_step_brings_its_masks_unless_they_must_be_there(
    steps, monkeypatch, is_stateless, settings
):
    steps(is_stateless)
    model, optimizer = toy_model(), ks.SparseMomentum(sgd(), 0.25, **settings)
    optimizer.build(model.trainable_variables)
    monkeypatch.setattr(masked_optimizer, "calling_model", lambda variables: model)
    if is_stateless and "budget" in settings:
        with pytest.raises(ValueError, match="`optimizer.build.model.` before training"):
            optimizer._check_ready()
        return
    optimizer._check_ready()
    assert len(optimizer.masks) == (0 if is_stateless else 2)


@pytest.mark.parametrize(("is_replicated", "copies"), [(True, 2), (False, 1)])
def test_a_jax_array_has_a_copy_on_each_device_or_is_one_value_in_pieces(
    monkeypatch, is_replicated, copies
):
    class Value:
        is_fully_addressable, is_fully_replicated = True, is_replicated
        addressable_shards = [types.SimpleNamespace(data=[True, False])] * 2

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(agreement, "to_numpy", lambda value: np.array([True, False]))
    found = agreement._copies(types.SimpleNamespace(value=Value()))
    assert [one.tolist() for one in found] == [[True, False]] * copies
    Value.is_fully_addressable = False
    Value.sharding = "two processes"
    with pytest.raises(NotImplementedError, match="Received: kernel on two processes"):
        agreement._copies(types.SimpleNamespace(value=Value(), path="kernel"))


@stateless
def test_first_masks_wait_for_weights_unless_a_step_cannot_make_them(steps, is_stateless):
    steps(is_stateless)
    assert sparse()._can_wait() is not is_stateless
    assert not sparse(initial_masks="snip")._can_wait()
