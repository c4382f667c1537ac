"""Tables of break-even densities: which one counts, what is wrong with a file, who reads it."""

import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute import break_even, tuned
from keras_sparse.compute.break_even import FEW_ROWS, Row, Table
from keras_sparse.compute.choice import choose
from keras_sparse.compute.cpu_kernels import DTYPES
from keras_sparse.compute.library import tensorflow_version
from keras_sparse.compute.processor import processor
from keras_sparse.compute.product import Product
from keras_sparse.rules.blocks import Blocks

pytestmark = needs_ops
MATMUL = Row("matmul", "float32", "weights", 0.25, 100, 1e6, 2e6)
DENSE = Product("matmul", (100, 100))  # 100 positions are 1e6 multiply-adds


def table(*rows, **facts):
    here = {
        "processor": processor(),
        "threads": 2,
        "tensorflow": tensorflow_version(),
        "keras_sparse": ks.__version__,
        "date": "2026-01-31",
    }
    return Table(**(here | facts), rows={row.key: row for row in rows or (MATMUL,)})


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Forgets the tables, and sets variables of the environment, XDG_CACHE_HOME to start with."""

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        tuned.tables.cache_clear()

    monkeypatch.delenv(tuned.VARIABLE)
    change(XDG_CACHE_HOME=tmp_path)
    yield change
    tuned.tables.cache_clear()


def of_processor(monkeypatch, *instructions):
    """The shipped table of a processor with these instructions."""
    monkeypatch.setattr(tuned, "instructions", lambda: frozenset(instructions))
    tuned.tables.cache_clear()


def test_without_a_file_the_shipped_table_counts(environment):
    assert tuned.tables().name == "shipped, AMD EPYC (Zen 5)"
    assert choose(DENSE).break_even == 0.5


def test_with_amx_a_table_of_its_own_counts(environment, monkeypatch):
    """Dense products of 16 bits are many times as fast there."""
    of_processor(monkeypatch, "avx2", "avx512f", "amx_bf16")
    assert tuned.tables().name == "shipped, Intel Xeon (AMX)"
    conv = Product("conv2d", (3, 3, 64, 64), "bfloat16")
    in_blocks = dataclasses.replace(conv, structure=Blocks(4, 4, per_tap=True))
    assert choose(dataclasses.replace(conv, dtype="float32")).break_even == 0.59
    assert choose(conv).break_even == 0.08
    assert choose(in_blocks).break_even == 0.18
    assert choose(Product("matmul", (512, 512), "float16"), density=0.01).why == (
        "nobody has measured it to be faster (shipped, Intel Xeon (AMX))"
    )
    assert choose(Product("matmul", (512, 512), "float16"), "custom_op").why is None


def test_with_avx2_alone_a_table_of_its_own_counts(environment, monkeypatch):
    """Dense products gain more from AVX-512 than ours do."""
    conv = Product("conv2d", (3, 3, 64, 64), structure=Blocks(4, 4, per_tap=True))
    with_avx512 = choose(conv).break_even
    of_processor(monkeypatch, "avx", "avx2")
    assert tuned.tables().name == "shipped, AMD EPYC (Zen 3)"
    assert choose(conv).break_even > with_avx512


@pytest.mark.parametrize("instructions", [(), ("sse4_2", "avx"), ("avx2", "avx512f")])
def test_other_processors_have_the_table_of_lower_densities(instructions, environment, monkeypatch):
    of_processor(monkeypatch, *instructions)
    assert tuned.tables().name == "shipped, AMD EPYC (Zen 5)"


def test_without_amx_sixteen_bits_have_densities_of_their_own(environment):
    for dtype in ("bfloat16", "float16"):
        densities = [choose(Product("conv2d", (3, 3, 64, 64), d)).break_even
                     for d in (dtype, "float32")]  # fmt: skip
        assert 0.2 < densities[0] <= densities[1]


def test_the_file_of_the_cache_folder_counts(environment, tmp_path):
    path = tuned.file_of_this_machine()
    assert path.parent == tmp_path / "keras_sparse"
    table().save(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert tuned.tables().name == "tuned 2026-01-31 on this machine"
    assert choose(DENSE).break_even == 0.25
    assert choose(DENSE.with_positions(500)).break_even == 0.25 * (500 - 100) / (500 + 100)
    assert choose(DENSE.with_positions(199)).break_even == 0.0
    table(date="2026-02-01").save(path)
    assert tuned.tables().name == "tuned 2026-01-31 on this machine"  # read once


def test_a_product_that_the_users_table_lacks_has_the_shipped_row(environment):
    table().save(tuned.file_of_this_machine())
    assert choose(Product("conv2d", (3, 3, 64, 64))).break_even == 0.55


def test_the_variable_names_another_file_or_the_shipped_tables(environment, tmp_path):
    table(date="2026-01-01").save(tuned.file_of_this_machine())
    table(date="2026-02-02").save(tmp_path / "mine.json")
    environment(KERAS_SPARSE_TUNING=tmp_path / "mine.json")
    assert tuned.tables().name == "tuned 2026-02-02 on this machine"
    environment(KERAS_SPARSE_TUNING="shipped")
    assert tuned.tables().name == "shipped, AMD EPYC (Zen 5)"
    environment(KERAS_SPARSE_TUNING="")
    assert tuned.tables().name == "tuned 2026-01-01 on this machine"


def test_a_density_of_zero_is_stock_whatever_the_mask(environment):
    table(Row("matmul", "float32", "weights", 0, 100, 1e6, 2e6)).save(tuned.file_of_this_machine())
    choice = choose(DENSE, density=0.01)
    assert choice.why == "it is never faster here (tuned 2026-01-31 on this machine)"
    assert choose(DENSE, "custom_op", density=0.01).why is None


ROW = {"kind": "matmul", "dtype": "float32", "structure": "weights", "density": 0.5}
ROW |= {"half_positions": 1, "call_multiply_adds": 1, "min_multiply_adds": 1}
FILE = {"format": 1, "processor": processor(), "threads": 1, "date": "2026-01-31"}
FILE |= {"keras_sparse": ks.__version__}


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        (b"\xff", "it is no JSON"),
        ([], "it is no table of break-even densities"),
        ({}, "it is no table of break-even densities"),
        ({"format": 2}, "its format is 2, not 1"),
        ({"threads": True}, "its 'threads' is True"),
        ({"date": 3}, "its 'date' is 3"),
        ({"rows": {}}, "it has no list of rows"),
        ({"rows": [1]}, "one of its rows is 1"),
        ({"rows": [ROW, ROW]}, "two of its rows are about the same"),
        ({"rows": [ROW | {"kind": None}]}, "'kind' of a row is None"),
        ({"rows": [ROW | {"density": 1.5}]}, "'density' of a row is 1.5"),
        ({"rows": [ROW | {"density": -0.5}]}, "'density' of a row is -0.5"),
        ({"rows": [ROW | {"half_positions": float("nan")}]}, "'half_positions' of a row is nan"),
        ({"rows": [ROW | {"half_positions": float("inf")}]}, "'half_positions' of a row is inf"),
        ({"processor": "Elbrus"}, f"it was measured on Elbrus, and this is {processor()}"),
        ({"keras_sparse": "0.0.9"}, "it was measured with keras_sparse 0.0.9, and this is"),
        ({"tensorflow": "2.20.0"}, "it was measured with TensorFlow 2.20.0, and this is"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_does_not_fit_gives_one_warning_that_names_it(written, why, environment):
    path = tuned.file_of_this_machine()
    path.parent.mkdir()
    if isinstance(written, dict) and written:
        written = FILE | {"tensorflow": tensorflow_version(), "rows": [ROW]} | written
    if isinstance(written, dict | list):
        written = json.dumps(written)
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.warns(UserWarning, match="is not used") as caught:
        assert tuned.tables().name == "shipped, AMD EPYC (Zen 5)"
    (text,) = [str(each.message) for each in caught]
    assert text.startswith(f"{path} is not used: {why}")
    assert "`python -m keras_sparse tune` measures them again" in text
    assert "\n" not in text
    assert choose(DENSE).break_even == 0.5  # without another warning


def test_a_named_file_that_is_missing_gives_a_warning_but_the_default_none(environment, tmp_path):
    environment(KERAS_SPARSE_TUNING=tmp_path / "none.json")
    with pytest.warns(UserWarning, match="none.json is not used: No such file"):
        assert tuned.tables().tuned is None
    environment(KERAS_SPARSE_TUNING=tmp_path)
    with pytest.warns(UserWarning, match="is not used: .*Is a directory"):
        assert tuned.tables().tuned is None


def test_a_user_without_a_home_folder_uses_the_shipped_table(environment, monkeypatch):
    def without_home():
        raise RuntimeError("Could not determine home directory.")

    environment(XDG_CACHE_HOME="")
    monkeypatch.setattr(tuned.Path, "home", without_home)
    assert tuned.tables().tuned is None


def test_a_table_comes_back_from_its_file(tmp_path):
    table(MATMUL).save(tmp_path / "a" / "table.json")
    assert break_even.load(tmp_path / "a" / "table.json") == table(MATMUL)


def test_a_wrong_file_does_not_stop_a_training(environment):
    environment(KERAS_SPARSE_TUNING="no/such/file")
    data = np.ones((256, 256), "f")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ks.sparsify(keras.Sequential([keras.Input((256,)), keras.layers.Dense(256)]))
        model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.1), "mse")
        model.fit(data, data, verbose=0, batch_size=128)
    assert ["file is not used" in str(each.message) for each in caught].count(True) == 1


def test_the_summary_and_a_choice_name_the_table(environment, capsys):
    table().save(tuned.file_of_this_machine())
    model = ks.sparsify(keras.Sequential([keras.Input((256,)), keras.layers.Dense(256)]))
    name = "tuned 2026-01-31 on this machine"
    assert ks.summary(model, "dict")["total"]["break_even_densities"] == name
    ks.summary(model)
    assert f"break-even densities: {name}" in " ".join(capsys.readouterr().out.split())
    text = f"break-even densities: {name})"
    assert repr(choose(DENSE)) == f"Choice(cpu_kernels up to density 0.25; {text}"
    assert repr(choose(DENSE, density=0.3)) == f"Choice(stock: density 0.30 is above 0.25; {text}"
    assert repr(choose(DENSE, "custom_op")) == "Choice(cpu_kernels)"


def test_a_model_without_sparse_layers_names_no_table():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert "break_even_densities" not in ks.summary(model, "dict")["total"]


def test_the_shipped_table_has_every_product_that_the_kernels_compute():
    shipped = break_even.load(tuned.SHIPPED_TABLE)
    kinds = ("convolution", "dilated convolution", "1x1 convolution", "matmul")
    assert {(kind, dtype, "weights") for kind in kinds for dtype in DTYPES} <= set(shipped.rows)
    assert (FEW_ROWS, "float32", "weights") in shipped.rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("newest", ["avx2", "avx512f", "amx_bf16"])
def test_products_that_nobody_measured_have_a_choice(dtype, newest, environment, monkeypatch):
    of_processor(monkeypatch, newest)
    for product in (
        Product("conv2d", (3, 3, 64, 64), dtype),
        Product("conv2d", (3, 3, 64, 64), dtype, dilation=(2, 2)),
        Product("conv2d", (1, 1, 64, 64), dtype),
        Product("matmul", (512, 512), dtype),
        Product("matmul", (512, 512), dtype, positions=1, trains=False),
    ):
        of_weights = choose(product)
        of_blocks = choose(dataclasses.replace(product, structure=ks.Blocks(4, 4, per_tap=True)))
        assert of_weights.is_stock == of_blocks.is_stock
        if of_weights.is_stock:
            continue
        if dtype == "bfloat16" and newest == "avx512f":  # nobody measured blocks
            assert of_blocks.break_even == of_weights.break_even
        else:
            assert of_blocks.break_even >= of_weights.break_even


def test_a_product_without_a_row_is_computed_by_the_stock_operation():
    row = tuned.Tables("none", None, break_even.load(tuned.SHIPPED_TABLE)).row(
        "matmul", "float64", "blocks"
    )
    assert (row.dtype, row.structure, row.density) == ("float64", "blocks", 0)


def test_half_positions_fall_with_the_root_of_the_kernels_size_down_to_a_third():
    row = Row("matmul", "float32", "weights", 1.0, 180, 0, 0, half_weights=4e6)
    of = [row.at(weights, 91.0) for weights in (10_000, 10**6, 4 * 10**6, 64 * 10**6)]
    np.testing.assert_allclose(of, [90 / 151, 90 / 181, 90 / 271, 90 / 271])


def test_a_table_without_half_weights_is_read_and_holds_for_every_kernel(tmp_path):
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(FILE | {"tensorflow": "2.21.0", "rows": [ROW]}))
    row = next(iter(break_even.load(path).rows.values()))
    assert row.half_weights == 0
    assert row.at(10**6, 100.0) == row.at(10**8, 100.0)
