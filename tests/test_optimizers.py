"""SparseMomentum: how the density is distributed, and one update by what defines it."""

import keras
import numpy as np
import pytest
from helpers import active, array, assert_same, assert_sparse, compiled, sgd

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def stepped(optimizer, steps=3, seed=0):
    """A toy model after some steps with random gradients, and the last of these gradients."""
    model, rng = compiled(optimizer), np.random.default_rng(seed)
    optimizer.build(model)
    for _ in range(steps):
        gradients = [rng.normal(size=v.shape).astype("float32") for v in model.trainable_variables]
        optimizer.apply(
            [keras.ops.convert_to_tensor(g) for g in gradients], model.trainable_variables
        )
    return model, {v.path: g for v, g in zip(model.trainable_variables, gradients, strict=True)}


def largest(score, count, among):
    chosen = np.zeros(score.size, bool)
    chosen[np.argsort(np.where(among, score, -np.inf), axis=None)[::-1][:count]] = True
    return chosen.reshape(score.shape)


# --- distribution of the density


@backend
@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("uniform", {HIDDEN: 64, HEAD: 32}),
        ({"head": 1.0}, {HIDDEN: 64, HEAD: 64}),
        (lambda shapes, density: [7, 9], {HIDDEN: 7, HEAD: 9}),
        (
            "erk",
            {HIDDEN: 52, HEAD: 44},
        ),  # densities as (8 + 16) / 128 to (16 + 4) / 64, or 3 to 5: 96 * 24 / 44, 96 * 20 / 44
    ],
)
def test_distribution(distribution, expected):
    model, _ = stepped(ks.SparseMomentum(sgd(), 0.5, distribution=distribution))
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == expected


def test_a_distribution_of_unknown_layers():
    with pytest.raises(
        ValueError, match="`distribution` names a layer that has no mask. Received: 'tail'"
    ):
        stepped(ks.SparseMomentum(sgd(), 0.5, distribution={"tail": 0.1}))


# --- one update, by what defines it


@backend
def test_sparse_momentum_by_hand():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="only")], name="toy")
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(1.0, momentum=0.5), 0.5, prune_rate=0.5)
    compiled(optimizer, model).optimizer.build(model)
    optimizer.set_masks({"toy/only/kernel": np.array([[1, 1], [1, 1], [0, 0], [0, 0]], bool)})
    model.layers[0].kernel.assign([[4.0, 3.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    gradient = [[0.0, 0.0], [0.0, 0.1], [-0.3, 0.2], [0.4, 0.0]]
    optimizer.apply(
        [keras.ops.convert_to_tensor(gradient), keras.ops.zeros(2)], model.trainable_variables
    )
    # 2 of 4 go: 2.0 and 0.9; of the missing and these, -0.3 and 0.4 have the largest momentum
    optimizer.update_masks()
    np.testing.assert_array_equal(
        optimizer.masks["toy/only/kernel"], [[1, 1], [0, 0], [1, 0], [1, 0]]
    )
    np.testing.assert_array_equal(array(model.layers[0].kernel), [[4, 3], [0, 0], [0, 0], [0, 0]])


@backend
def test_what_is_pruned_and_grown_in_one_update_keeps_its_value():
    model, _ = stepped(ks.SparseMomentum(sgd(), 1.0, prune_rate=0.5))
    before = model.get_weights()
    model.optimizer.update_masks()
    assert_same(model.get_weights(), before)


@backend
@pytest.mark.parametrize("make", [ks.RigL, ks.SET, ks.SparseMomentum])
def test_the_smallest_are_pruned(make):
    model, _ = stepped(make(sgd(), 0.25, prune_rate=0.3))
    weights, before = (
        {v.path: array(v) for v in model.optimizer.masked_variables},
        model.optimizer.masks,
    )
    model.optimizer.update_masks()
    for path, mask in model.optimizer.masks.items():
        kept = largest(
            np.abs(weights[path]),
            before[path].sum() - int(np.ceil(0.3 * before[path].sum())),
            before[path],
        )
        assert mask[kept].all()
    assert active(model.optimizer) == 48


@backend
def test_rigl_grows_where_the_last_dense_gradient_is_largest():
    model, gradients = stepped(
        ks.RigL(keras.optimizers.SGD(0.01), 0.25, prune_rate=0.3)
    )  # no momentum needed
    weights, before = (
        {v.path: array(v) for v in model.optimizer.masked_variables},
        model.optimizer.masks,
    )
    model.optimizer.update_masks()
    for path, mask in model.optimizer.masks.items():
        pruned = int(np.ceil(0.3 * before[path].sum()))
        kept = largest(np.abs(weights[path]), before[path].sum() - pruned, before[path])
        np.testing.assert_array_equal(mask, kept | largest(np.abs(gradients[path]), pruned, ~kept))


@backend
@pytest.mark.parametrize(("make", "same"), [(ks.SET, True), (ks.SparseMomentum, False)])
def test_set_does_not_look_at_momentum(make, same):
    masks = []
    for seed in (0, 1):
        model, _ = stepped(
            make(sgd(), 0.25, prune_rate=0.3, distribution="uniform", seed=0), seed=seed
        )
        for variable in model.optimizer.masked_variables:
            variable.assign(
                np.arange(1, 1 + variable.shape[0] * variable.shape[1], dtype="float32").reshape(
                    variable.shape
                )
            )
        model.optimizer.apply_masks()
        model.optimizer.update_masks()
        masks.append(np.concatenate([mask.reshape(-1) for mask in model.optimizer.masks.values()]))
    assert np.array_equal(*masks) is same


@backend
def test_random_growth_comes_from_seed_and_step():
    masks = [
        list(stepped(ks.SET("sgd", 0.25, seed=seed))[0].optimizer.masks.values()) for seed in (3, 3)
    ]
    assert_same(*masks)
    model, _ = stepped(ks.SET("sgd", 0.25, prune_rate=1.0))
    grown = []
    for _ in range(2):
        model.optimizer.update_masks()
        grown.append(model.optimizer.masks[HIDDEN])
        model.optimizer.inner_optimizer.iterations.assign(100)
    assert (grown[0] != grown[1]).any()


@backend
def test_without_redistribution_each_layer_keeps_its_number():
    model, _ = stepped(ks.SparseMomentum(sgd(), 0.25, redistribute=None, prune_rate=0.5))
    model.optimizer.update_masks()
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == {
        HIDDEN: 32,
        HEAD: 16,
    }


@backend
def test_redistribution_moves_weights_to_the_larger_momentum():
    model, _ = stepped(ks.SparseMomentum(sgd(), 0.25, prune_rate=0.5))
    momentum = model.optimizer.inner_optimizer.momentums[2]
    momentum.assign(array(momentum) * 3)
    model.optimizer.update_masks()
    counts = {path: int(mask.sum()) for path, mask in model.optimizer.masks.items()}
    assert counts[HEAD] > 16
    assert sum(counts.values()) == 48


@backend
def test_static_masks_stay():
    model, _ = stepped(ks.StaticSparsity(keras.optimizers.SGD(0.1), 0.25))
    before = model.optimizer.masks
    model.optimizer.update_masks()
    assert_same(list(model.optimizer.masks.values()), list(before.values()))
    assert_sparse(model, count=48)


@backend
def test_rules_of_your_own():
    seen = []

    def first(layer, rng):
        return -np.arange(layer.mask.size, dtype=float).reshape(layer.mask.shape)

    def only_head(layer):
        seen.append(layer.name)
        return float(layer.name == HEAD)

    model, _ = stepped(
        ks.SparseMomentum(
            "sgd", 0.25, prune=first, grow=first, redistribute=only_head, prune_rate=0.5
        )
    )
    model.optimizer.update_masks()
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == {
        HIDDEN: 16,
        HEAD: 32,
    }
    assert model.optimizer.masks[HEAD].reshape(-1)[:24].all()
    assert seen == [HIDDEN, HEAD]


def test_a_rule_must_say_what_it_needs():
    def slow(layer, rng):
        return -np.abs(layer.gradient)

    model, _ = stepped(ks.SparseMomentum("sgd", 0.25, grow=slow, redistribute=None, prune_rate=0.5))
    with pytest.raises(
        ValueError,
        match="asks for the gradient of 'toy/hidden/kernel', which is not kept. Mark the rule with",
    ):
        model.optimizer.update_masks()
    marked, _ = stepped(
        ks.SparseMomentum(
            "sgd", 0.25, grow=ks.scores.needs("gradient")(slow), redistribute=None, prune_rate=0.5
        )
    )
    marked.optimizer.update_masks()
    assert active(marked.optimizer) == 48
