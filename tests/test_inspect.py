"""``inspect`` and ``compare`` read every kind of file, and find what is in it."""

import json

import keras
import numpy as np
import pytest
from helpers import fit, toy_model

import keras_sparse as ks
from keras_sparse.__main__ import main
from keras_sparse.models.file_report import difference, file_report
from keras_sparse.models.weight_files import arrays_in
from keras_sparse.rules.found_structure import found_structure

FORMATS = [".keras", ".weights.h5", ".sparse", ".tflite", "folder", "sparse.tflite"]


def write(model, path):
    """Writes a model in the format of the file's name."""
    if path.name.endswith("sparse.tflite"):
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
        path.write_bytes(converter.convert())
    elif path.name.endswith(".tflite"):
        ks.export(model, path, format="litert", verbose=False)
    elif path.name.endswith(".sparse"):
        ks.save_compressed(model, path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.name.endswith(".keras"):
        model.save(path)
    else:
        ks.export(model, path, verbose=False)


def blocks_of_four():
    model = toy_model()
    ks.prune(model, 0.25, block_shape=(4, 1))
    return model


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_kernels_in_the_order_of_keras(tmp_path, name):
    model = blocks_of_four()
    write(model, tmp_path / name)
    found = [each.values for each in arrays_in(tmp_path / name) if each.values.ndim > 1]
    kernels = {v.shape: np.array(v) for v in model.weights if len(v.shape) > 1}
    assert {array.shape for array in found} == set(kernels)
    for array in found:
        np.testing.assert_array_equal(array, kernels[array.shape])


def test_names_are_those_of_layers_and_optimizers_are_left_out(tmp_path):
    model = ks.sparsify(toy_model())
    model.compile(ks.SparseMomentum(keras.optimizers.Adam(), 0.25), "mse")
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    names = [each.name for each in arrays_in(tmp_path / "model.keras")]
    assert names == ["hidden/0", "hidden/1", "head/0", "head/1"]


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_a_layer_whose_name_ends_as_that_of_a_mask_is_none(tmp_path, name):
    class TokenMask(keras.layers.Dense):
        pass

    write(keras.Sequential([keras.Input((3,)), TokenMask(4)]), tmp_path / name)
    names = [each.name for each in arrays_in(tmp_path / name)]
    assert names == ["token_mask/0", "token_mask/1"]


def checked(mask, *changes):
    mask = mask.copy()
    for index in changes:
        mask[index] = True
    return found_structure(mask)


def test_structures_are_found():
    empty = np.zeros((3, 3, 8, 16), bool)
    assert checked(empty) == "empty"
    assert checked(empty, ...) == "dense"
    assert checked(empty, (0, 1, slice(4), slice(8))) == "blocks 4x8 per tap"
    assert checked(empty, (..., slice(8), slice(2))) == "blocks 8x2"
    assert checked(empty, (..., 0, 0)) == "blocks 1x1"  # all taps of a pair of channels
    assert checked(empty, (0, 0, 0, 0)) == "single weights"
    assert checked(empty[0, :2], (..., 0, 0)) == "blocks 1x1"  # both taps
    assert checked(empty[0, :2], (0, slice(2))) == "blocks 2x16 per tap"
    assert checked(empty[0, 0], (slice(4, 8), 3)) == "blocks 4x1"
    assert checked(np.zeros((96, 192), bool), (slice(32, 64), slice(64, 128))) == "blocks 32x64"
    assert checked(empty[0, 0], (slice(0, 8, 4),), (slice(1, 8, 4),)) == "blocks 2x16"


@pytest.mark.parametrize("size", [64, 32, 16, 8, 4, 2])
def test_blocks_of_each_size_are_found_on_both_sides(size):
    middle = slice(size, 2 * size)
    assert checked(np.zeros((3 * size, 3), bool), (middle, 1)) == f"blocks {size}x1"
    assert checked(np.zeros((3, 3 * size), bool), (1, middle)) == f"blocks 1x{size}"


@pytest.mark.parametrize("active", [slice(8), slice(8, 12)])
def test_a_size_must_show_beside_the_last_block_which_may_be_smaller(active):
    """Of 12 channels, blocks of eight would be one that is all or nothing, and half of one."""
    assert checked(np.zeros((3, 12), bool), (..., active)) == "blocks 3x4"


def test_two_of_four_inputs_are_found_where_three_of_eight_weights_are_active():
    two_of_four = np.zeros((8, 2), bool)
    two_of_four[[0, 2, 5, 7], 0] = two_of_four[[1, 3], 1] = True  # 6 of 16
    assert found_structure(two_of_four) == "2:4 along inputs"
    assert found_structure(np.stack([two_of_four, two_of_four[:, ::-1]])) == "2:4 along inputs"
    five = two_of_four.copy()
    five[3, 1] = False
    assert found_structure(five) == "single weights"
    assert checked(two_of_four, (1, 0)) == "single weights"  # three of four
    assert found_structure(two_of_four[:6]) == "single weights"  # four and two inputs


def test_inspect_prints_each_weight(tmp_path, capsys):
    write(blocks_of_four(), tmp_path / "a.keras")
    assert main(["inspect", str(tmp_path / "a.keras"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["weights"]}
    assert rows["hidden/0"]["density"] == 0.25
    assert rows["hidden/0"]["structure"] == "blocks 4x1"
    assert report["total"]["nonzero"] == 48
    assert report["bytes"] == (tmp_path / "a.keras").stat().st_size > report["bytes_zipped"]
    assert main(["inspect", str(tmp_path / "a.keras")]) == 0
    printed = capsys.readouterr().out
    assert "blocks 4x1" in printed
    assert "Density of weights with two or more axes: 0.2500" in printed


def test_compare_finds_equal_and_changed_weights(tmp_path, capsys):
    model = blocks_of_four()
    for name in ("a.keras", "b.weights.h5", "c.tflite"):
        write(model, tmp_path / name)
    kernel = np.array(model.get_layer("hidden").kernel)
    kernel[np.unravel_index(np.argmax(kernel == 0), kernel.shape)] = 0.5
    model.get_layer("hidden").kernel.assign(kernel)
    write(model, tmp_path / "d.sparse")
    a, b, c, d = (
        str(tmp_path / name) for name in ("a.keras", "b.weights.h5", "c.tflite", "d.sparse")
    )
    assert main(["compare", a, b]) == 0
    assert main(["compare", a, d, "--tolerance", "1"]) == 1  # a place differs
    capsys.readouterr()
    assert main(["compare", a, d, "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["hidden/0"]["largest_difference"] == 0.5
    assert rows["hidden/0"]["same_places"] == 127 / 128
    assert rows["head/0"]["largest_difference"] == 0
    main(["compare", a, c, "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["(8, 16) #0"]["largest_difference"] == 0
    assert rows["(16,) #0"]["density"][1] is None  # LiteRT leaves out a bias of zeros


def test_compare_of_values_that_are_no_numbers(tmp_path, capsys):
    model = toy_model()
    model.layers[0].bias.assign([np.nan, np.inf, *[0.0] * (model.layers[0].units - 2)])
    one, other = str(tmp_path / "one.keras"), str(tmp_path / "other.keras")
    model.save(one)
    assert main(["compare", one, one]) == 0
    model.layers[0].bias.assign(np.zeros(model.layers[0].units))
    model.save(other)
    capsys.readouterr()
    assert main(["compare", one, other, "--json", "--tolerance", "9"]) == 1
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # NaN is no JSON
    assert [row["largest_difference"] for row in rows] == [0, "infinite", 0, 0]


def test_what_cannot_be_read_is_named(tmp_path, capsys):
    (tmp_path / "text").write_text("no weights at all")
    (tmp_path / "empty").mkdir()
    for name, why in (("text", "must be a .keras file"), ("empty", "must be"), ("none", "exist")):
        assert main(["inspect", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
    write(toy_model(), tmp_path / "a.sparse")
    content = bytearray((tmp_path / "a.sparse").read_bytes())
    for part, why in ((0, "it is empty"), (len(content) // 2, "a zip file without its end")):
        (tmp_path / "a.keras").write_bytes(content[:part])
        for words in (["inspect"], ["export", "--format", "saved_model"]):
            assert main([*words, str(tmp_path / "a.keras")]) == 2
            assert why in capsys.readouterr().err
    content[content.find(b"PK\x01\x02") - 200] ^= 0xFF
    (tmp_path / "a.sparse").write_bytes(content)
    assert main(["inspect", str(tmp_path / "a.sparse")]) == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("writer", ["export of Keras", "tf.saved_model.save"])
def test_a_folder_of_sparse_layers_has_their_kernels_and_biases_alone(writer, tmp_path):
    import tensorflow as tf

    model = toy_model()
    ks.prune(model, 0.25)
    sparse = ks.sparsify(model, verbose=False)
    path = str(tmp_path / "folder")
    sparse.export(path, verbose=False) if "Keras" in writer else tf.saved_model.save(sparse, path)
    found = file_report(tmp_path / "folder")
    shapes = sorted(tuple(row["shape"]) for row in found["weights"])
    assert shapes == [(4,), (8, 16), (16,), (16, 4)]
    assert (found["total"]["size"], found["total"]["nonzero"]) == (192, 48)
    rows = difference(tmp_path / "folder", tmp_path / "folder")
    assert [row["largest_difference"] for row in rows] == [0, 0, 0, 0]


def test_a_folder_of_a_module_has_its_variables(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable([[0.0, 2.0], [0.0, 0.0]])
    tf.saved_model.save(module, str(tmp_path / "folder"))
    (array,) = arrays_in(tmp_path / "folder")
    assert array.name == "kernel"
    np.testing.assert_array_equal(array.values, [[0, 2], [0, 0]])


@pytest.mark.parametrize("name", ["a.weights.h5", "a.tflite", "folder"])
def test_a_file_that_was_cut_is_damaged_and_not_another_one(name, tmp_path, capsys):
    """``compare`` ends with 1 where weights differ, so an error must not."""
    path = tmp_path / name
    write(toy_model(), path)
    cut = path / "variables" / "variables.data-00000-of-00001" if path.is_dir() else path
    cut.write_bytes(cut.read_bytes()[:500])
    assert main(["compare", str(path), str(path)]) == 2
    assert f"Received: {path}" in capsys.readouterr().err.partition("The file is damaged")[2]
