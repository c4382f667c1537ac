"""Masks as state of the optimizer: made, set, applied at every step, saved and loaded."""

import keras
import numpy as np
import pytest
from helpers import active, array, arrays, assert_same, assert_sparse, compiled, fit, sgd, toy_data, toy_model

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def built(density=0.25, **settings):
    model = compiled(ks.SparseMomentum(sgd(), density, **settings))
    model.optimizer.build(model)
    return model


# --- the first masks


@backend
def test_the_masks_are_there_and_applied_when_built():
    model = built()
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == {HIDDEN: 32, HEAD: 16}
    for variable, mask in zip(model.optimizer.masked_variables, model.optimizer.masks.values(), strict=True):
        np.testing.assert_array_equal(array(variable) != 0, mask)
    assert model.optimizer.total_density() == 0.25


@backend
def test_magnitude_keeps_the_largest():
    model = toy_model()
    weight = array(model.layers[0].kernel)
    compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), model).optimizer.build(model)
    threshold = np.sort(np.abs(weight), axis=None)[-32]
    np.testing.assert_array_equal(array(model.layers[0].kernel), np.where(np.abs(weight) >= threshold, weight, 0))


@backend
def test_nonzero_takes_the_masks_of_a_sparse_checkpoint():
    sparse = built(density=0.1)
    model = toy_model()
    model.set_weights(sparse.get_weights())
    optimizer = ks.SparseMomentum(sgd(), 0.9, initial_masks="nonzero")
    compiled(optimizer, model).optimizer.build(model)
    assert_same(list(optimizer.masks.values()), list(sparse.optimizer.masks.values()))


def test_nonzero_of_nothing_raises():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, kernel_initializer="zeros", name="empty")])
    with pytest.raises(ValueError, match="found no nonzero weight in 'sequential/empty/kernel'. Load the sparse weights"):
        ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero").build(model)


@backend
def test_random_masks_come_from_the_seed():
    one, same, other = (built(seed=seed).optimizer.masks[HIDDEN] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@backend
@pytest.mark.parametrize("keep_optimizer", [True, False])
def test_random_masks_over_trained_weights_warn_once(keep_optimizer):
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(model.optimizer if keep_optimizer else sgd(), 0.25), "mse")
    with pytest.warns(UserWarning, match='throws away most of what they have learnt.*`initial_masks="magnitude"`') as caught:
        fit(model, ks.UpdateMasks(), epochs=2)
    assert sum("random mask" in str(warning.message) for warning in caught) == 1
    assert_sparse(model, count=48)


def test_magnitude_masks_over_trained_weights_do_not_warn():
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), "mse")
    fit(model, ks.UpdateMasks(), epochs=2)
    assert_sparse(model, count=48)


@pytest.mark.parametrize("kind", ["magnitude", "nonzero"])
def test_weights_must_be_there_to_be_looked_at(kind):
    model = keras.Sequential([keras.layers.Dense(4)])
    model.compile(ks.SparseMomentum(sgd(), 0.5, initial_masks=kind), "mse")
    with pytest.raises(ValueError, match=f"build the model before `fit`.*Received: initial_masks='{kind}'"):
        fit(model, ks.UpdateMasks())


@pytest.mark.parametrize("kind", ["all", None, True])
def test_unknown_kind_of_masks(kind):
    with pytest.raises(ValueError, match="`initial_masks` must be one of .*Received: initial_masks="):
        ks.SparseMomentum(sgd(), 0.5, initial_masks=kind)


# --- which model


def test_layer_types_need_the_model():
    optimizer, model = ks.SparseMomentum(sgd(), 0.25, dense=keras.layers.EinsumDense), toy_model()
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match=r"the model is not known. Call `optimizer.build\(model\)` first"):
        optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)


def test_masks_made_without_the_model_are_checked_against_it():
    layers = [keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="taps"), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = compiled(ks.SparseMomentum(sgd(), 0.25, sparse="taps"), keras.Sequential(layers))
    model.optimizer.build(model.trainable_variables)
    fit(model, ks.UpdateMasks(), data=toy_data((8, 8, 3)), epochs=2)  # named outright: nothing to guess
    assert len(model.optimizer.masks) == 2


# --- set_masks


@backend
def test_set_masks_masks_the_weights():
    model = built()
    new = np.zeros((16, 4), bool)
    new[3] = True
    hidden = model.optimizer.masks[HIDDEN]
    model.optimizer.set_masks({HEAD: new})
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], new)
    np.testing.assert_array_equal(model.optimizer.masks[HIDDEN], hidden)
    assert not array(model.layers[1].kernel)[~new].any()


@pytest.mark.parametrize(
    ("path", "mask", "message"),
    [
        ("head", np.ones((16, 4), bool), "names a weight that has no mask. Received: 'head'; masked are"),
        (HEAD, np.ones((4, 16), bool), r"must be bool, of the weight's shape \(16, 4\).*shape \(4, 16\)"),
        (HEAD, np.ones((16, 4)), "must be bool.*dtype float64"),
        (HEAD, np.zeros((16, 4), bool), "with an active weight.*0 active"),
    ],
)
def test_set_masks_changes_nothing_if_one_is_wrong(path, mask, message):
    model = built()
    before = model.optimizer.masks
    with pytest.raises(ValueError, match=message):
        model.optimizer.set_masks({HIDDEN: ~before[HIDDEN], path: mask})
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


@backend
def test_masks_are_copies():
    model = built()
    model.optimizer.masks[HEAD][:] = True
    assert active(model.optimizer) == 48


# --- blocks


@backend
@pytest.mark.parametrize("rules", [{}, {"grow": "gradient", "redistribute": None}, {"redistribute": "mean_magnitude", "grow": "random"}])
def test_blocks_stay_whole(rules):
    layers = [keras.Input((8, 8, 4)), keras.layers.Conv2D(8, 3, activation="tanh"), keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D()]
    model = compiled(ks.SparseMomentum(sgd(), 0.25, block_shape=(2, 4), prune_rate=0.5, **rules), keras.Sequential([*layers, keras.layers.Dense(4)]))
    model.optimizer.build(model)
    before = active(model.optimizer)
    fit(model, ks.UpdateMasks(every=2), data=toy_data((8, 8, 4)))
    for mask in model.optimizer.masks.values():
        taps = mask.reshape(-1, mask.shape[-2] // 2, 2, mask.shape[-1] // 4, 4)
        np.testing.assert_array_equal(taps.any(axis=(0, 2, 4)), taps.all(axis=(0, 2, 4)))
    assert active(model.optimizer) == before


def test_blocks_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"must divide.*\(3, 4\) for 'toy/hidden/kernel' of shape \(8, 16\).*dense=\['toy/hidden/kernel'\]"):
        built(block_shape=(3, 4))
    built(block_shape=(4, 4), dense=["hidden"])


@pytest.mark.parametrize("shape", [4, (4,), (4, 0), (4.0, 4), "44", (True, 2)])
def test_what_is_no_block_shape(shape):
    with pytest.raises(ValueError, match="`block_shape` must be None or two positive integers"):
        ks.SparseMomentum(sgd(), 0.5, block_shape=shape)


# --- every step, with whatever Keras can do to it

INNER = {
    "clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.1),
    "weight_decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "loss_scale_factor": lambda: keras.optimizers.SGD(0.05, momentum=0.9, loss_scale_factor=8.0),
    "accumulation": lambda: keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.9),
    "ema_overwrite": lambda: keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.05, 12), momentum=0.9),
}


@backend
@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("name", list(INNER))
def test_settings_of_the_inner_optimizer(name, average):
    model = compiled(ks.SparseMomentum(INNER[name](), 0.25, gradient_momentum=average))
    start = toy_model().get_weights()
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)
    assert all((one != other).any() for one, other in zip(model.get_weights(), start, strict=True))


@backend
@pytest.mark.parametrize("name", list(INNER))
def test_settings_of_the_inner_optimizer_act_as_without_us(name):
    wrapped = compiled(ks.SparseMomentum(INNER[name](), 1.0))
    plain = compiled(INNER[name]())
    plain.set_weights(wrapped.get_weights())
    fit(wrapped, ks.UpdateMasks())
    fit(plain)
    assert_same(wrapped.get_weights(), plain.get_weights())


@backend
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("average", [None, 0.9])
def test_dtypes(policy, name, average):
    policy(name)
    model = compiled(ks.SparseMomentum(sgd(), 0.25, gradient_momentum=average))
    fit(model, ks.UpdateMasks())
    optimizer = ks.compiled.sparse_momentum_of(model)
    assert active(optimizer) == 48
    for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values(), strict=True):
        assert mask.dtype == bool
        assert not array(variable).astype("float32")[~mask].any()
    for layer in optimizer._layers():
        assert layer.momentum.dtype == layer.weight.dtype == np.float32


@backend
def test_a_step_skipped_for_infinite_gradients_does_not_count(policy):
    policy("mixed_float16")
    model, (x, y) = compiled(), toy_data()
    fit(model, ks.UpdateMasks())
    before, optimizer = model.get_weights(), ks.compiled.sparse_momentum_of(model)
    steps = optimizer.step()
    model.train_on_batch(x, y + np.inf)
    assert optimizer.step() == steps
    assert_same(model.get_weights(), before)


@backend
def test_compiled_by_xla_or_not_the_masks_are_equal():
    models = compiled(jit_compile=False), compiled(jit_compile=True)
    models[1].set_weights(models[0].get_weights())
    for model in models:
        fit(model, ks.UpdateMasks())
        assert_sparse(model, count=48)
    assert_same(*[list(model.optimizer.masks.values()) for model in models])
    for one, other in zip(*[model.get_weights() for model in models], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@backend
def test_steps_per_execution_change_nothing():
    models = compiled(), compiled(steps_per_execution=4)
    models[1].set_weights(models[0].get_weights())
    for model in models:
        fit(model, ks.UpdateMasks())
    assert_same(models[1].get_weights(), models[0].get_weights())


def test_run_eagerly():
    model = compiled(run_eagerly=True)
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


@backend
def test_frozen_layers_have_no_mask():
    model = toy_model()
    model.layers[0].trainable = False
    kernel = array(model.layers[0].kernel)
    fit(compiled(model=model), ks.UpdateMasks())
    assert list(model.optimizer.masks) == [HEAD]
    np.testing.assert_array_equal(array(model.layers[0].kernel), kernel)
    assert_sparse(model, count=16)


# --- state


@backend
def test_every_variable_is_listed_once():
    model = built(gradient_momentum=0.9)
    variables = model.optimizer.variables
    assert len({id(variable) for variable in variables}) == len(variables)
    names = [variable.path for variable in variables]
    assert {id(variable) for variable in model.optimizer.inner_optimizer.variables} < {id(variable) for variable in variables}
    assert sum("mask" in name for name in names) == 2
    assert sum("gradient_average" in name.split("/")[-1] for name in names) == 2


@backend
def test_weights_alone_carry_the_masks(tmp_path):
    model = compiled()
    fit(model, ks.UpdateMasks())
    model.save_weights(tmp_path / "all.weights.h5")
    other = built(seed=1)
    other.load_weights(tmp_path / "all.weights.h5")
    assert_same(arrays(other.optimizer.variables), arrays(model.optimizer.variables))
    assert_same(other.get_weights(), model.get_weights())


def test_tensorflow_checkpoints_carry_the_masks(tmp_path):
    import tensorflow as tf

    model = compiled()
    fit(model, ks.UpdateMasks())
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "checkpoint"))
    other = built(seed=1)
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path).assert_existing_objects_matched()
    for one in (model, other):
        fit(one, ks.UpdateMasks())
    assert_same(other.get_weights(), model.get_weights())
    assert_same(list(other.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_a_checkpoint_without_masks_says_what_to_do_and_it_works(tmp_path):
    sparse = compiled()
    fit(sparse, ks.UpdateMasks())
    expected = sparse.optimizer.masks
    sparse.compile(sgd(), "mse")
    sparse.optimizer.build(sparse.trainable_variables)
    sparse.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(ValueError, match='holds no masks and this is a sparse run.*initial_masks="nonzero"'):
        built().load_weights(tmp_path / "plain.weights.h5")
    recovered = compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="nonzero"))
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):  # Keras' own
        recovered.load_weights(tmp_path / "plain.weights.h5")  # before the optimizer is built, as the message says
    fit(recovered, ks.UpdateMasks(every=3), epochs=1)
    assert active(recovered.optimizer) == sum(int(mask.sum()) for mask in expected.values())


def test_masks_need_a_built_optimizer(tmp_path):
    built().save_weights(tmp_path / "sparse.weights.h5")
    with pytest.raises(ValueError, match=r"call `optimizer.build\(model\)` before loading"):
        compiled().load_weights(tmp_path / "sparse.weights.h5")


def test_masks_of_another_model_are_refused(tmp_path):
    one = built()
    store = {}
    one.optimizer.save_own_variables(store)
    other = compiled(model=toy_model(outputs=5))
    other.optimizer.build(other)
    with pytest.raises(ValueError, match=r"masks are of another model. Received: mask_2 of shape \(16, 4\)"):
        other.optimizer.load_own_variables(store)


@backend
def test_a_checkpoint_says_which_weights_are_masked(tmp_path):
    one = built(dense="head")
    fit(one, ks.UpdateMasks())
    one.save_weights(tmp_path / "one.weights.h5")
    model = built()
    model.load_weights(tmp_path / "one.weights.h5")
    assert list(model.optimizer.masks) == [HIDDEN]
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=32)


@backend
def test_compiling_again_with_the_same_optimizer_keeps_the_masks():
    model = compiled()
    fit(model, ks.UpdateMasks())
    before = model.optimizer.masks
    model.compile(model.optimizer, "mae")
    assert_same(list(model.optimizer.masks.values()), list(before.values()))
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


def test_weights_that_are_not_of_this_run_are_refused():
    model = compiled()
    fit(model, ks.UpdateMasks())
    model.set_weights(toy_model().get_weights())
    with pytest.raises(ValueError, match="not those of this sparse run: 192 of them are not zero and the masks have 48 active"):
        fit(model, ks.UpdateMasks())


@backend
def test_set_weights_sets_what_is_delegated_too():
    model, other = compiled(), compiled()
    fit(model, ks.UpdateMasks())
    values = arrays(model.optimizer.variables)
    other.optimizer.build(other)
    other.optimizer.set_weights(values)
    assert_same(arrays(other.optimizer.variables), values)
    with pytest.raises(ValueError, match=rf"one array for each of the {len(values)} variables. Received: {len(values) - 1} arrays"):
        other.optimizer.set_weights(values[1:])


@backend
def test_weights_of_one_path_keep_masks_of_their_own(tmp_path):
    """Loading drops the names of nested Sequentials: a/d/kernel and b/d/kernel are both d/kernel then."""

    def part(name):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="d")], name=name)

    inputs = keras.Input((8,))
    model = compiled(model=keras.Model(inputs, part("b")(part("a")(inputs))))
    data = toy_data(outputs=8)
    fit(model, ks.UpdateMasks(), data=data)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    callback = ks.UpdateMasks()
    fit(loaded, callback, data=data)
    assert_sparse(loaded, count=32)
    assert len(callback.history) == 3
