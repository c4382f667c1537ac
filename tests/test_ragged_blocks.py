"""Blocks in networks whose channels they do not divide: training, layers, pruning and files."""

import itertools

import keras
import numpy as np
import pytest
from helpers import array, assert_same, compiled, fit, sgd, sparse, toy_data
from steps_by_hand import go_on, training_by_hand
from test_mask_update_invariants import cheapest_missing

import keras_sparse as ks
from keras_sparse.models.file_report import file_report
from keras_sparse.rules.found_structure import found_structure

BLOCKS = ks.Blocks(4, 4, per_tap=True)
STRUCTURES = [BLOCKS, ks.Blocks(2, 4), ks.Blocks(1, 8, per_tap=True)]
KERNELS = ["first", "second", "head"]


def network():
    """Kernels (3, 3, 3, 10), (3, 3, 10, 6) and (6, 5), of 270, 540 and 30 weights."""
    layers = [
        keras.layers.Conv2D(10, 3, activation="tanh", name="first"),
        keras.layers.Conv2D(6, 3, name="second"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(5, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 3)), *layers])


def data():
    return toy_data((6, 6, 3), 5)


def check(model, density, structure, costs=(1, 1, 1)):
    """Whole blocks, never above the density, and below it by less than a missing block."""
    masks = list(model.optimizer.masks.values())
    for mask, weight in zip(masks, model.optimizer.masked_variables, strict=True):
        structure.check_whole(weight.path, mask)
        assert not weight.numpy()[~mask].any()
    layers = [
        ks.MaskedLayer("", mask, mask, structure=structure, cost=cost)
        for mask, cost in zip(masks, costs, strict=True)
    ]
    spent = sum(int(mask.sum()) * cost for mask, cost in zip(masks, costs, strict=True))
    total = sum(mask.size * cost for mask, cost in zip(masks, costs, strict=True))
    assert 0 <= density * total - spent < cheapest_missing(layers, masks) + 1


@pytest.mark.parametrize(
    ("structure", "settings"),
    [
        (BLOCKS, {}),
        (BLOCKS, {"initial_masks": "magnitude", "scope": "global"}),
        (ks.Blocks(2, 4), {"redistribute": None}),
        (ks.Blocks(1, 8, per_tap=True), {}),
    ],
    ids=str,
)
def test_every_update_keeps_whole_blocks_and_the_density(structure, settings):
    model = compiled(sparse(structure=structure, **settings), network())
    seen = []
    for _ in training_by_hand(model.optimizer, model, steps=7, every=2):
        check(model, 0.25, structure)
        seen.append(np.concatenate([m.reshape(-1) for m in model.optimizer.masks.values()]))
    assert len(seen) == 4
    if structure == BLOCKS:  # of the larger ones there are too few to move each time
        assert all((one != other).any() for one, other in itertools.pairwise(seen))


@pytest.mark.parametrize("method", [ks.RigL, ks.GraNet])
def test_methods_end_at_the_density(method):
    model = compiled(method(sgd(), 0.25, structure=BLOCKS), network())
    *_, last = training_by_hand(model.optimizer, model)
    assert last == 12
    check(model, 0.25, BLOCKS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sparse(structure=BLOCKS, initial_masks="snip"),
        lambda: ks.GradualPruning(sgd(), 0.25, structure=BLOCKS),
        lambda: ks.ACDC(sgd(), 0.25, structure=BLOCKS),
    ],
)
def test_fit_ends_at_the_density(make):
    model = compiled(make(), network())
    fit(model, ks.UpdateMasks(every=2), data=data(), epochs=4)
    check(model, 0.25, BLOCKS)


def test_a_budget_in_multiply_adds_holds():
    model = compiled(sparse(structure=BLOCKS, budget="multiply_adds"), network())
    for _ in training_by_hand(model.optimizer, model, steps=6, every=2):
        check(model, 0.25, BLOCKS, costs=(16, 4, 1))
        assert model.optimizer.budget_density() <= 0.25


def test_sparse_layers_and_files_keep_the_blocks(tmp_path):
    model = ks.sparsify(network(), structure=BLOCKS, verbose=False)
    model.compile(sparse(structure=BLOCKS), "mse")
    fit(model, ks.UpdateMasks(every=2), epochs=1, data=data())
    masks = model.optimizer.masks
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(again.optimizer.masks.values()), list(masks.values()))
    assert_same([array(again(data()[0]))], [array(model(data()[0]))])
    go_on(again)
    check(again, 0.25, BLOCKS)


def test_a_mask_with_a_part_of_an_edge_block_is_refused():
    model = compiled(sparse(structure=BLOCKS), network())
    model.optimizer.build(model)
    path, mask = list(model.optimizer.masks.items())[-1]
    mask[:] = False
    mask[4:, 4] = True  # the corner: 2 x 1
    model.optimizer.set_masks({path: mask})
    mask[4, 4] = False
    with pytest.raises(ValueError, match="Received: 1 of 4 blocks are active in part"):
        model.optimizer.set_masks({path: mask})


def test_given_masks_start_a_training():
    wanted = compiled(sparse(structure=BLOCKS, seed=3), network())
    wanted.optimizer.build(wanted)
    masks = wanted.optimizer.masks
    names = [f"{name}/kernel" for name in KERNELS]
    given = dict(zip(names, masks.values(), strict=True))
    model = compiled(sparse(structure=BLOCKS, initial_masks=given), network())
    model.optimizer.build(model)
    assert_same(list(model.optimizer.masks.values()), list(masks.values()))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
@pytest.mark.parametrize(
    "settings",
    [{}, {"scope": "global"}, {"budget": "multiply_adds"}, {"distribution": "erk"}],
    ids=str,
)
def test_prune_keeps_whole_blocks_at_the_density(structure, settings):
    masks = ks.prune(network(), 0.25, structure=structure, **settings)
    for path, mask in masks.items():
        structure.check_whole(path, mask)
    costs = (16, 4, 1) if "budget" in settings else (1, 1, 1)
    spent = sum(int(m.sum()) * cost for m, cost in zip(masks.values(), costs, strict=True))
    total = sum(m.size * cost for m, cost in zip(masks.values(), costs, strict=True))
    largest = max(
        structure.group_size(m.shape) * c for m, c in zip(masks.values(), costs, strict=True)
    )
    assert 0 <= 0.25 * total - spent < largest


def test_snip_masks_are_of_whole_blocks():
    masks = ks.snip_masks(network(), *data(), 0.25, loss="mse", structure=BLOCKS)
    for path, mask in masks.items():
        BLOCKS.check_whole(path, mask)
    assert 210 - 16 < sum(int(mask.sum()) for mask in masks.values()) <= 210


def test_first_blocks_at_random_reach_every_channel():
    """Of the 9 x 3 blocks of 3 x 4 and 3 x 2 weights, a fourth are 7."""
    model = compiled(sparse(structure=BLOCKS, redistribute=None), network())
    model.optimizer.build(model)
    first, second, _ = model.optimizer.masks.values()
    assert first.any(axis=(0, 1, 2)).all()
    assert second.any(axis=(0, 1, 2)).all()
    assert second.any(axis=(0, 1, 3)).all()


def test_inspect_names_blocks_that_do_not_divide_the_channels(tmp_path):
    model = network()
    ks.prune(model, 0.4, structure=ks.Blocks(4, 4, per_tap=True))
    model.save_weights(tmp_path / "model.weights.h5")
    rows = file_report(tmp_path / "model.weights.h5")["weights"]
    found = [row["structure"] for row in rows if row["structure"]]
    assert found[1:] == ["blocks 4x4 per tap", "blocks 4x4"]
    mask = np.zeros((6, 10), bool)
    mask[4:, 8:] = mask[:2, 4:8] = True
    assert found_structure(mask) == "blocks 2x4"
    mask[3, 9] = True
    assert found_structure(mask) == "single weights"
    mask[:] = [[True], [False], [True], [False], [False], [True]]
    assert found_structure(mask) == "blocks 1x10"


def test_one_weight_in_the_last_channels_is_no_block():
    mask = np.ones((3, 3, 3, 32), bool)
    mask[1, 1, 2, 28] = False  # the last input channel: a block of 2 would be cut there
    assert found_structure(mask) == "single weights"
    mask[1, 1, :2, 28] = False
    assert found_structure(mask) == "blocks 3x1 per tap"


@pytest.mark.parametrize("kernel", [(3, 3, 3, 20), (3, 3, 18, 22), (1, 1, 21, 19)])
def test_the_custom_op_computes_them(kernel):
    rng = np.random.default_rng(0)
    structure = ks.Blocks(4, 4, per_tap=True)
    mask = structure.from_groups(rng.random(structure.grid(kernel)) < 0.4, kernel)
    inputs = rng.normal(size=(2, 7, 7, kernel[-2])).astype("float32")
    weights = rng.normal(size=kernel).astype("float32") * mask
    found = ks.ops.sparse_conv2d(inputs, weights, mask, padding="same", implementation="custom_op")
    dense = keras.ops.conv(inputs, weights, padding="same")
    np.testing.assert_allclose(found, dense, rtol=1e-4, atol=1e-4)
