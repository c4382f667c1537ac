"""The exploration rate: weights that were ever active / all masked weights."""

import json
import zlib

import keras
import numpy as np
import pytest
from helpers import Interrupt, array, built, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse._keras import tensor_of_bytes

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def rows(*active_rows):
    """A mask of the kernel of "hidden", 8 x 16, with these rows."""
    mask = np.zeros((8, 16), bool)
    mask[list(active_rows)] = True
    return mask


def step(model):
    model.train_on_batch(*(part[:8] for part in toy_data()))


@backend
def test_a_weight_that_was_active_once_counts_for_ever():
    model = built(1.0, dense="head")
    optimizer = model.optimizer
    optimizer.set_masks({HIDDEN: rows(0, 1)})
    assert optimizer.exploration_rate() == 2 / 8  # nothing was trained with the first masks
    step(model)
    optimizer.set_masks({HIDDEN: rows(1, 2)})
    assert optimizer.exploration_rate() == 3 / 8
    optimizer.set_masks({HIDDEN: rows(0, 1)})
    assert optimizer.exploration_rate() == 3 / 8
    np.testing.assert_array_equal(optimizer.explored[HIDDEN], rows(0, 1, 2))
    assert optimizer.total_density() == 2 / 8


@backend
@pytest.mark.parametrize("sparsify", [False, True])
def test_in_fit_it_is_the_union_of_the_masks_of_all_steps(sparsify):
    class Union(keras.callbacks.Callback):
        seen = None

        def on_train_batch_begin(self, batch, logs=None):
            _ = self.model
            masks = ks.sparse_optimizer(self.model).masks
            before = self.seen or masks
            self.seen = {path: before[path] | mask for path, mask in masks.items()}

    model = toy_model()
    union, callback = Union(), ks.UpdateMasks("epoch")
    model = compiled(sparse(seed=3), ks.sparsify(model, verbose=False) if sparsify else model)
    log = fit(model, callback, union, epochs=4).history
    optimizer = model.optimizer
    for path, seen in union.seen.items():
        np.testing.assert_array_equal(optimizer.explored[path], seen)
    rates = log["exploration_rate"]
    assert rates == callback.history["exploration_rate"]
    assert rates[0] == 0.25 < rates[1] <= rates[2] <= rates[3] == optimizer.exploration_rate()
    assert rates[3] == sum(seen.sum() for seen in union.seen.values()) / 192


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [(lambda: ks.StaticSparsity(sgd(), 0.25), 0.25), (lambda: ks.GradualPruning(sgd(), 0.25), 1.0)],
)
def test_static_masks_explore_nothing_and_dense_weights_all(optimizer, rate):
    model = compiled(optimizer())
    log = fit(model, ks.UpdateMasks("epoch")).history
    assert log["exploration_rate"] == [rate] * 3
    assert log["density"][-1] == 0.25


def test_blocks_count_their_weights():
    model = built(0.5, block_shape=(4, 4), dense="head")
    step(model)
    first = model.optimizer.masks[HIDDEN]
    model.optimizer.set_masks({HIDDEN: ~first})
    assert model.optimizer.exploration_rate() == 1.0


def test_layers_without_any_mask_are_explored():
    model = toy_model()
    model.trainable = False
    optimizer = sparse()
    optimizer.build([])
    assert optimizer.exploration_rate() == 1.0


# --- files


def explored(model):
    return {path: mask.tolist() for path, mask in model.optimizer.explored.items()}


def trained():
    model = compiled(sparse(), loss=keras.losses.MeanSquaredError())
    fit(model, ks.UpdateMasks("epoch"))
    assert model.optimizer.exploration_rate() > 0.3
    return model


@pytest.fixture(scope="module")
def veteran():
    """A trained model that no test changes."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    return trained()


@backend
def test_weight_files_hold_it(veteran, tmp_path):
    model, other = veteran, built(seed=1)
    model.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    assert explored(other) == explored(model)


@backend
def test_model_files_hold_it_and_it_goes_on(tmp_path):
    model = trained()
    model.save(tmp_path / "a.keras")
    other = keras.models.load_model(tmp_path / "a.keras")
    assert list(explored(other).values()) == list(explored(model).values())
    for one in (model, other):
        fit(one, ks.UpdateMasks("epoch"))
    assert other.optimizer.exploration_rate() == model.optimizer.exploration_rate()


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_files_read_before_the_optimizer_is_built_hold_it(veteran, tmp_path, ending, recwarn):
    veteran.save(tmp_path / f"a.{ending}")
    other = keras.models.load_model(tmp_path / f"a.{ending}")
    fit(other, ks.UpdateMasks(every=100), epochs=1)
    assert list(explored(other).values()) == list(explored(veteran).values())


def test_tensorflow_checkpoints_hold_it(veteran, tmp_path):
    import tensorflow as tf

    model, other, late = veteran, built(seed=1), compiled(sparse(seed=2))
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "c"))
    for one in (other, late):
        tf.train.Checkpoint(model=one, optimizer=one.optimizer).restore(path)
    late.optimizer.build(late)
    assert explored(other) == explored(late) == explored(model)
    assert model.optimizer.exploration_rate() > model.optimizer.total_density()


def test_a_checkpoint_read_into_an_optimizer_without_masks_is_kept(veteran, tmp_path):
    import tensorflow as tf

    model, late, last = veteran, compiled(sparse(seed=2)), built(seed=1)
    path = str(tmp_path / "c")
    for one, other in ((model, late), (late, last)):
        saved = tf.train.Checkpoint(model=one, optimizer=one.optimizer).write(path)
        tf.train.Checkpoint(model=other, optimizer=other.optimizer).read(saved)
        one.optimizer.build(one)
        late.optimizer.build(late)
    assert explored(late) == explored(last) == explored(model)


def test_a_saved_model_can_be_written(veteran, tmp_path):
    import tensorflow as tf

    tf.saved_model.save(veteran, tmp_path / "model")
    assert (tmp_path / "model" / "saved_model.pb").exists()


@backend
def test_an_interrupted_training_ends_with_the_same_rate(tmp_path):
    def run(*callbacks):
        keras.utils.set_random_seed(0)
        model = compiled(sparse())
        backup = ks.BackupAndRestore(tmp_path / "backup")
        fit(model, ks.UpdateMasks("epoch"), backup, *callbacks, epochs=4)
        return model

    expected = explored(run())
    with pytest.raises(KeyboardInterrupt):
        run(Interrupt(2))
    assert explored(run()) == expected


def test_a_file_that_does_not_say_begins_with_its_masks(veteran, tmp_path):
    import h5py

    model, other = veteran, built(seed=1)
    model.save_weights(tmp_path / "old.weights.h5")
    with h5py.File(tmp_path / "old.weights.h5", "r+") as file:
        names = [name for name in file["optimizer/vars"] if name.startswith("explored_")]
        assert len(names) == 2
        for name in names:
            del file["optimizer/vars"][name]
    other.load_weights(tmp_path / "old.weights.h5")
    assert explored(other) == {path: mask.tolist() for path, mask in model.optimizer.masks.items()}


@backend
def test_a_list_of_variables_that_does_not_say_begins_with_its_masks(veteran):
    model, other = veteran, built(seed=1)
    step(other)
    kept = [v for v in model.optimizer.variables if "explored" not in v.path]
    other.optimizer.set_weights([array(v) for v in kept])
    assert explored(other) == {path: mask.tolist() for path, mask in model.optimizer.masks.items()}
    other.optimizer.set_weights([array(v) for v in model.optimizer.variables])
    assert explored(other) == explored(model)


# --- to see


def test_the_summary_has_it_by_layer_and_in_all(capsys):
    model = built(1.0)
    assert "ever" not in (ks.summary(model) or capsys.readouterr().out)
    head = np.zeros((16, 4), bool)
    head[0] = True
    step(model)  # all are active
    model.optimizer.set_masks({HIDDEN: rows(0), HEAD: head})
    described = json.loads(ks.summary(model, "json"))
    assert [row["exploration_rate"] for row in described["layers"]] == [1.0, 1.0]
    assert described["total"]["exploration_rate"] == 1.0
    ks.summary(model)
    assert "ever" in capsys.readouterr().out


def test_kernels_that_the_optimizer_does_not_know_have_none():
    model = toy_model()
    model.get_layer("hidden").trainable = False
    model = compiled(sparse(), model)
    model.optimizer.build(model)
    described = ks.summary(model, "dict")
    rates = {row["weight"]: row["exploration_rate"] for row in described["layers"]}
    assert rates == {HIDDEN: None, HEAD: 0.25}
    assert described["total"]["exploration_rate"] == 0.25


def test_a_model_without_masks_has_none():
    described = ks.summary(toy_model(), "dict")
    assert not any("exploration_rate" in row for row in [described["total"], *described["layers"]])


def test_frozen_weights_keep_theirs():
    model = trained()
    before = explored(model)[HIDDEN]
    model.get_layer("hidden").trainable = False
    model.compile(model.optimizer, "mse")
    fit(model, ks.UpdateMasks("epoch"))
    assert explored(model)[HIDDEN] == before


def test_a_metric_of_that_name_stays():
    def exploration_rate(y, y_pred):
        return keras.ops.mean(y_pred) * 0 + 7

    model = compiled(metrics=[exploration_rate])
    with pytest.warns(UserWarning, match='"exploration_rate".*logged as "mask_exploration_rate"'):
        log = fit(model, ks.UpdateMasks("epoch"), epochs=2).history
    assert (log["exploration_rate"], log["density"]) == ([7.0] * 2, [0.25] * 2)
    assert log["mask_exploration_rate"][0] == 0.25 < log["mask_exploration_rate"][1]


def test_before_there_are_masks_all_is_active():
    optimizer = sparse(budget="multiply_adds")
    assert optimizer.total_density() == 1.0
    assert optimizer.budget_density() == 1.0
    assert optimizer.exploration_rate() == 1.0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a checkpoint is TensorFlow's")
def test_a_checkpoint_with_masks_ends_the_waiting_for_first_ones():
    optimizer = built().optimizer
    optimizer.begins_anew = True
    optimizer._restore_from_tensors({"explored": tensor_of_bytes(b"")})  # it had no masks yet
    assert optimizer.begins_anew
    bits = bytes([255] * 16 + [255] * 8)  # of 128 and 64 weights
    optimizer._restore_from_tensors({"explored": tensor_of_bytes(zlib.compress(bits))})
    assert not optimizer.begins_anew
    assert optimizer.exploration_rate() == 1.0
