"""A mask that differs anywhere is found and named."""

import types

import keras
import numpy as np
import pytest
from helpers import built, compiled, fit, sgd, sparse, toy_model
from replicas import run

import keras_sparse as ks
from keras_sparse.training import agreement
from keras_sparse.training.mask_training import MaskTraining

HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"
backend = pytest.mark.backend


@backend
def test_the_digest_is_that_of_all_masks():
    one, same, other = built(), built(), built(seed=1)
    digests = [ks.check_agreement(model).digest for model in (one, same, other, one.optimizer)]
    assert digests[0] == digests[1] == digests[3] != digests[2]
    mask = one.optimizer.masks[HEAD]
    mask.reshape(-1)[-1] ^= True
    one.optimizer.set_masks({HEAD: mask})
    assert ks.check_agreement(one).digest != digests[0]


@backend
def test_missing_weights_must_be_zero():
    model = built()
    ones = [keras.ops.ones_like(weight) for weight in model.get_weights()]
    model.set_weights(ones)
    with pytest.raises(
        RuntimeError,
        match=f"'{HIDDEN}': 96 missing weights are not 0 on worker 0 replica 0; "
        f"'{HEAD}': 48 missing",
    ):
        ks.check_agreement(model)


@backend
def test_a_layer_must_have_the_optimizers_mask():
    model = compiled(model=ks.sparsify(toy_model()))
    model.optimizer.build(model)
    assert ks.check_agreement(model).copies == 1
    layers_own = keras.Variable(~model.optimizer.masks[HIDDEN], dtype="bool", trainable=False)
    model.get_layer("hidden").kernel_mask.mask = layers_own
    with pytest.raises(
        RuntimeError,
        match=f"'{HIDDEN}': 128 bits of the layer's mask are not the optimizer's "
        "on worker 0 replica 0$",
    ):
        ks.check_agreement(model)


@pytest.mark.parametrize("model", [toy_model, lambda: compiled(sgd()), compiled])
def test_there_must_be_masks(model):
    with pytest.raises(
        ValueError, match="must be a SparseMomentum, or a model compiled with one, that is built"
    ):
        ks.check_agreement(model())


@backend
def test_the_callback_finds_what_another_has_done():
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.get_layer("hidden").kernel.assign(keras.ops.ones((8, 16)))

    fit(compiled(), ks.UpdateMasks(check_agreement=True), epochs=2)
    with pytest.raises(RuntimeError, match=f"'{HIDDEN}': 96 missing weights"):
        fit(compiled(), ks.UpdateMasks(check_agreement=True), Spoil(), epochs=2)


SPOIL = """
def spoiled(spoil):
    with mirrored.scope():
        model = compiled(model=ks.sparsify(toy_model()), jit_compile=False)
        model.optimizer.build(model)
    assert ks.check_agreement(model).copies == 3
    spoil(model)
    try:
        ks.check_agreement(model)
    except RuntimeError as error:
        return str(error).split("Received: ")[1]

def flip(variable):
    variable.assign(tf.logical_not(variable))

def head(model):
    return model.get_layer("head")

found = spoiled(lambda model: flip(model.optimizer.mask_variables[1].value.values[2]))
missing = "; 'toy/head/kernel': 16 missing weights are not 0 on worker 0 replica 2"
where = "worker 0 replica 0, worker 0 replica 1 | worker 0 replica 2"
assert found == f"'toy/head/kernel': masks differ between {where}{missing}", found
found = spoiled(lambda model: head(model).kernel.value.values[1].assign(tf.ones((16, 4))))
assert found == "'toy/head/kernel': 48 missing weights are not 0 on worker 0 replica 1", found
found = spoiled(lambda model: flip(head(model).dense_weight_gradient.value.values[0]))
where = "worker 0 replica 0 | worker 0 replica 1, worker 0 replica 2"
switches = f"the layer's growth window or density differ between {where}"
assert found == f"'toy/head/kernel': {switches}", found
assert spoiled(lambda model: None) is None

class Flip(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        flip(self.model.optimizer.mask_variables[0].value.values[1])

for callbacks, word in ([], "agree"), ([Flip()], "differ"):
    with mirrored.scope():
        model = compiled(jit_compile=False)
    try:
        checked = ks.UpdateMasks(check_agreement=True)
        fit(model, checked, *callbacks, epochs=2, batch_size=6, data=toy_data(examples=30))
        assert word == "agree"
    except RuntimeError as error:
        assert "'toy/hidden/kernel': masks differ" in str(error) and word == "differ", error
"""


def test_the_replica_that_differs_is_named():
    run(SPOIL, devices=3)


# --- by hand

MASKS = "'b': masks differ between worker 0 replica 0, worker 2 replica 0 | worker 1 replica 0"
SWITCHES = "'a': the layer's growth window or density differ between worker 0 replica 0 | "
SAME = [[[1, 2, 0, 0], [3, 4, 0, 0]]]  # a copy of two layers: hashes of mask and switches, counts


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([SAME, SAME], []),
        ([SAME, [[[1, 2, 0, 0], [5, 4, 0, 0]]], SAME], [MASKS]),
        ([SAME, [[[1, 9, 0, 0], [3, 4, 0, 0]]]], [SWITCHES + "worker 1 replica 0"]),
        (
            [[[[1, 2, 7, 0], [3, 4, 0, 8]]]],
            [
                "'a': 7 bits of the layer's mask are not the optimizer's on worker 0 replica 0",
                "'b': 8 missing weights are not 0 on worker 0 replica 0",
            ],
        ),
    ],
)
def test_differences_are_told_layer_by_layer(workers, expected):
    assert agreement._differences(["a", "b"], np.array(workers)) == expected


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows + np.array([0, 1, 0]), "The masks are not the same everywhere"),
        (
            lambda rows: rows + np.array([1, 0, 0]),
            "The workers train different models.*toy/hidden/kernel",
        ),
    ],
)
def test_workers_compare_what_they_have(monkeypatch, other, message):
    def two_workers(optimizer, rows):
        return np.stack([rows, other(rows) if rows.ndim == 2 else rows])

    monkeypatch.setattr(agreement, "_of_all_workers", two_workers)
    if message is None:
        assert ks.check_agreement(built()).copies == 2
        return
    with pytest.raises(RuntimeError, match=message):
        ks.check_agreement(built())


def test_a_copy_of_any_switch_of_a_layer_counts():
    mask, switch, density = Copies([True, False]), Copies(True), Copies(0.5)

    def hash_of(*variables):
        kernel_mask = types.SimpleNamespace(mask=mask, variables=[mask, *variables])
        (row,) = agreement._states_of_layer(Copies([1.0, 0.0]), mask, kernel_mask)
        return row[agreement.SWITCHES]

    assert hash_of(switch, density) == hash_of(switch, density)
    assert hash_of(switch, density) != hash_of(Copies(False), density)
    assert hash_of(switch, density) != hash_of(switch, Copies(0.25))
    before = hash_of(switch, density)
    mask.value.values[0] = np.array([True, True])
    assert hash_of(switch, density) == before  # the mask is no switch


def test_the_callback_checks_on_request_and_where_there_are_masks():
    model = built()
    model.layers[0].kernel.assign(np.ones((8, 16)))
    for callback in (ks.UpdateMasks(), ks.UpdateMasks(check_agreement=True)):
        callback._trainings = [MaskTraining(model.optimizer, "epoch", True, lambda: None)]
        if not callback.check_agreement:
            callback._check_agreement()
            continue
        with pytest.raises(RuntimeError, match="96 missing weights are not 0"):
            callback._check_agreement()
        callback._trainings = [MaskTraining(sparse(), "epoch", True, lambda: None)]
        callback._check_agreement()


class Strategy:
    """Stands for one of two workers: calls for the replicas of both, sums what they say."""

    def __init__(self, replicas):
        self.num_replicas_in_sync = replicas

    def experimental_distribute_values_from_function(self, function):
        replicas = range(self.num_replicas_in_sync)
        places = [types.SimpleNamespace(replica_id_in_sync_group=i) for i in replicas]
        return [function(place) for place in places]

    def experimental_local_results(self, value):
        return [value, "that of another replica"]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy is TensorFlow's")
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(None, [[[7, 8, 9]]]), (Strategy(1), [[[7, 8, 9]]]), (Strategy(2), [[[7, 8, 9]]] * 2)],
)
def test_each_worker_writes_its_rows_in_its_place(monkeypatch, strategy, expected):
    monkeypatch.setattr(agreement, "strategy_of", lambda variables: strategy)
    monkeypatch.setattr(agreement, "_all_reduce", lambda strategy: sum)
    found = agreement._of_all_workers(built().optimizer, np.array([[7, 8, 9]]))
    np.testing.assert_array_equal(found, expected)


class Copies:
    """A variable with a copy on each device."""

    def __init__(self, *values):
        self.value = types.SimpleNamespace(values=[np.array(value) for value in values])


@pytest.mark.parametrize(
    ("weights", "not_zero"), [([[1.0, 0.0], [1.0, 2.0]], [0, 1]), ([[1.0, 2.0]], [1, 1])]
)
def test_each_copy_of_a_mask_is_held_against_its_copy_of_the_weight_or_the_only_one(
    weights, not_zero
):
    masks = Copies([True, False], [True, False])
    rows = agreement._states_of_layer(Copies(*weights), masks, None)
    assert [row[agreement.NOT_ZERO] for row in rows] == not_zero
    assert rows[0][agreement.MASK] == rows[1][agreement.MASK]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy is TensorFlow's")
def test_each_worker_writes_the_rows_of_all_its_replicas(monkeypatch):
    monkeypatch.setattr(agreement, "strategy_of", lambda variables: Strategy(4))
    monkeypatch.setattr(agreement, "_all_reduce", lambda strategy: sum)
    rows = [[7, 8, 9], [4, 5, 6]]
    found = agreement._of_all_workers(built().optimizer, np.array(rows))
    np.testing.assert_array_equal(found, [rows, rows])


@pytest.mark.parametrize(("hashed", "digest"), [(-2, "fffffffffffffffe"), (5, "0000000000000005")])
def test_a_digest_is_the_hash_in_16_digits(monkeypatch, hashed, digest):
    monkeypatch.setattr(agreement, "_hash", lambda data: hashed)
    assert ks.check_agreement(built()).digest == digest


def test_a_hash_is_blake2_of_64_bits_as_an_integer_with_a_sign():
    assert agreement._hash(b"") == 0xB4B2797457A0A6E4 - 2**64  # e4a6a0577479b2b4, little-endian
