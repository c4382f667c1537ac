"""What sparsify prints, warns of and gives as reasons, and what summary then says."""

import keras
import pytest
from branched import branches
from helpers import toy_model

import keras_sparse as ks
from keras_sparse.conversion.convertible import why_dense

L = keras.layers
backend = pytest.mark.backend


@backend
def test_one_line_says_what_stays_dense(capsys):
    ks.sparsify(branches())
    assert capsys.readouterr().out == (
        "sparsify: 5 layers converted, 1 stays dense: 1 Conv2D (groups is 4, of one channel "
        "each). "
        "verbose=True lists them.\n"
    )


@backend
@pytest.mark.parametrize(("make", "verbose"), [(toy_model, "auto"), (branches, False)])
def test_nothing_is_said_where_all_is_converted_or_verbose_is_off(make, verbose, capsys):
    ks.sparsify(make(), verbose=verbose)
    assert capsys.readouterr().out == ""


@backend
def test_a_table_lists_the_layers(capsys):
    ks.sparsify(branches(), verbose=True)
    out = capsys.readouterr().out
    for words in (
        ["stem", "Conv2D", "SparseConv2D"],
        ["grouped", "Conv2D", "groups is 4, of one channel each"],
        ["norm", "FusedBatchNormalization"],
    ):
        assert any(all(word in line for word in words) for line in out.splitlines()), (words, out)


@backend
def test_a_warning_says_that_nothing_was_converted():
    layers = [
        keras.Input((3, 3, 3, 2)),
        keras.layers.TimeDistributed(keras.layers.DepthwiseConv2D(2)),
        keras.layers.Conv3D(4, 2),
    ]
    with pytest.warns(
        UserWarning,
        match=r"converted no layer of this model.*1 Conv3D \(kernel_size is \(2, 2, 2\)\)",
    ):
        ks.sparsify(keras.Sequential(layers))


@backend
def test_verbose_is_checked():
    with pytest.raises(ValueError, match='`verbose` must be True, False or "auto"'):
        ks.sparsify(toy_model(), verbose="loud")


backend = pytest.mark.backend


@backend
@pytest.mark.parametrize(
    ("layer", "shape", "why"),
    [
        (lambda: L.Conv2D(4, 3, groups=2), (4, 4, 2), "groups is 2, of one channel each"),
        (lambda: L.Conv2D(4, 3, groups=2), (4, 4, 4), None),
        (lambda: L.Conv2D(4, 2, dilation_rate=2), (4, 4, 2), None),
        (
            lambda: L.Conv2D(4, 3, data_format="channels_first"),
            (2, 4, 4),
            "data_format is channels_first, not channels_last",
        ),
        (lambda: type("Mine", (L.Dense,), {})(4), (8,), "subclass of Dense"),
        (lambda: L.Dense(4, lora_rank=2), (8,), "LoRA"),
        (lambda: L.EinsumDense("ab,bc->ac", 4), (8,), None),
        (
            lambda: L.EinsumDense("ab,cb->ac", 4),
            (8,),
            'the einsum "ab,cb->ac" would have to transpose the kernel',
        ),
        (lambda: L.Conv1D(4, 3, padding="causal"), (8, 2), None),
        (lambda: L.Conv1D(4, 3, dilation_rate=2), (8, 2), None),
        (lambda: L.SeparableConv2D(4, 3, dilation_rate=2), (8, 8, 2), None),
        (lambda: L.DepthwiseConv2D(3), (4, 4, 2), "no sparse layer for DepthwiseConv2D"),
        (lambda: L.Embedding(4, 2), (8,), "no sparse layer for Embedding"),
        (lambda: L.Dense(4), (8,), None),
        (lambda: L.BatchNormalization(), (8,), None),
    ],
)
def test_every_kernel_that_stays_dense_has_a_reason(layer, shape, why):
    made = layer()
    made.build((None, *shape))
    assert why_dense(made) == why


@backend
def test_the_policy_of_each_layer_comes_along(policy):
    policy("mixed_float16")
    model = branches()
    policy("float32")
    converted = ks.sparsify(model)
    assert (
        converted.get_layer("stem").dtype_policy.name
        == converted.get_layer("shared").dtype_policy.name
        == "mixed_float16"
    )
    assert converted.get_layer("stem").implementation_used == "stock"


@backend
def test_the_summary_says_which_kernel_runs():
    own = type("Mine", (keras.layers.Dense,), {})(4, name="own")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="stem"), own])
    model = ks.sparsify(model, implementation="stock", verbose=False)
    rows = ks.summary(model, "dict")["layers"]
    assert [row["runs_as"] for row in rows] == [
        'stock: implementation="stock"',
        "stock: not a sparse layer (subclass of Dense)",
    ]
    assert all("runs_as" not in layer for layer in ks.summary(toy_model(), "dict")["layers"])


@backend
def test_the_summary_has_a_column_for_it(capsys):
    ks.summary(ks.sparsify(toy_model(), implementation="stock"))
    out = capsys.readouterr().out
    assert "stock:" in out
