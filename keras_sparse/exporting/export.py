"""``export`` writes a model of stock operations for another runtime, and checks it there."""

from pathlib import Path
from typing import Any

import keras

from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.terminal import plain_console
from keras_sparse.exporting.arguments import check_numbers, check_settings, is_stored_sparse
from keras_sparse.exporting.checked_file import check_copy, write_checked
from keras_sparse.exporting.checks import checked_density
from keras_sparse.exporting.custom_ops import check_custom_ops, small_variables, with_custom_ops
from keras_sparse.exporting.folding import Folded, folded
from keras_sparse.exporting.formats import Format, format_named, name_of
from keras_sparse.exporting.litert import takes_one_by_one
from keras_sparse.exporting.litert_layers import layers_in
from keras_sparse.exporting.place import check_place
from keras_sparse.exporting.ready_model import ReadyModel, of_keras_layers, signature_of
from keras_sparse.exporting.report import ExportReport
from keras_sparse.exporting.sample import sample_for
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.paths import as_path


def export(
    model: keras.Model,
    path: str | Path,
    format: str = "saved_model",  # noqa: A002  # Keras' name for it
    *,
    dtype: str = "float32",
    sample: Any = None,
    tolerance: float | None = None,
    sparsity: bool | None = None,
    custom_ops: bool = False,
    overwrite: bool = False,
    compare_dense: bool = True,
    verbose: bool | None = True,
    input_signature: Any = None,
    **settings: Any,
) -> ExportReport:
    """Writes a model for programs without this library, and checks the file in its own runtime.

    The file holds Keras' own layers, or the operations of its format, with the weights
    kernel * mask. It holds no masks and no optimizer. It is written beside ``path``, loaded by the
    runtime that the format is for, and moved to ``path`` if it predicts what the model predicts.

    Args:
        model: a Keras model of any kind that was built and called. It stays unchanged.
        path: a file, or a folder for ``"saved_model"``. Names of files end with ``.tflite``
            (litert), ``.xml`` (openvino, which writes a ``.bin`` file beside it) or ``.keras``.
        format: ``"saved_model"``, ``"litert"`` (a TFLite file), ``"onnx"`` (needs the packages
            onnx, tf2onnx and onnxruntime), ``"openvino"`` (needs openvino) or ``"keras"``. All but
            the first and the last compute in float32, whatever the model's policy is.
        dtype: what weights are stored in: ``"float32"``, or for litert also ``"float16"`` and
            ``"int8"``, whose zeros stay 0.
        sample: inputs as the model takes them, on which predictions are compared. None: random
            inputs. ``"int8"`` needs it: the ranges of all layers' outputs are those on this sample.
        tolerance: the largest difference of predictions, relative to the largest prediction, or to
            1 if that is larger. None: 1e-4 for float32, 1e-2 for float16, and 0.05 where layers
            compute in 16 bits. For int8, 2 (1 + sqrt(n)) steps in which the file rounds its
            outputs, with n operations in it; 0.05 where it does not round them.
        sparsity: for litert: whether kernels with at least 30 % zeros are stored sparse. None:
            True, but for int8, whose sparse kernels LiteRT's default delegate refuses, and for
            models of which LiteRT's converter would lose weights. The report says so.
        custom_ops: for a SavedModel of sparse layers: whether it runs this library's compiled ops,
            which are in the folder, too. It loads where only TensorFlow of the same version is:
            ``tf.load_op_library(f"{path}/assets/libkeras_sparse_ops.so")`` and then
            ``tf.saved_model.load(path)``. ``assets.extra/load.py`` does both. Batch normalizations
            directly behind a convolution or dense layer are folded into its weights; the report
            names the others.
        overwrite: whether what is at ``path`` may be replaced. An empty folder always may be, and
            no file replaces a folder.
        compare_dense: also write the model without zeros, to a place that is removed, to compare
            sizes. It doubles the time, except for a SavedModel of stock operations.
        verbose: False: prints no report, and a terminal does not show that it runs.
        input_signature: shapes and dtypes of the inputs, as in ``keras.Model.export``.
        **settings: arguments of the format in ``keras.Model.export``, such as ``opset_version``
            (onnx) or attributes of LiteRT's converter.

    Returns:
        A report with density, sizes and the difference of predictions; ``print`` shows a table.

    Raises:
        ValueError: an argument is wrong, the model has no weights yet, or weights are not 0 where a
            mask is False.
        TypeError: a setting that the format would ignore.
        ImportError: a package that the format needs is not installed.
        RuntimeError: the runtime cannot run the file, or predicts something else. Nothing is left
            at ``path`` but what was there before.

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> report = export(model, tempfile.mkdtemp(), verbose=False)
    >>> report.density, report.difference < 1e-5
    (1.0, True)
    """
    check_flags(custom_ops=custom_ops, overwrite=overwrite, compare_dense=compare_dense)
    is_heard = _is_heard(verbose)
    path, name = as_path(path), name_of(format)
    chosen = format_named(name, dtype, path)
    check_settings(name, chosen.settings, settings)
    if custom_ops:
        check_custom_ops(model, name)
        chosen = with_custom_ops(chosen)
    check_numbers(dtype, sample, tolerance)
    stored_sparse = is_stored_sparse(name, dtype, sparsity)
    check_place(path, overwrite, chosen.also, is_folder=name == "saved_model")
    signature = signature_of(model, input_signature)
    with progress("export", is_heard) as line:
        arrays, density = sample_for(model, signature, sample), checked_density(model)
        line.says("copying the model")
        copy = _copied(model, signature, chosen, custom_ops)
        ready = ReadyModel(
            copy.model,
            *(signature, arrays, settings, dtype, stored_sparse),
            one_by_one=name == "litert" and takes_one_by_one(model, signature),
            constants=small_variables(copy.model) if custom_ops else (),
        )
        check_copy(model, ready, is_random=sample is None)
        written = write_checked(chosen, ready, path, tolerance, compare_dense)
    layers = layers_in(path, ready.model) if name == "litert" else ()
    notes = (*copy.notes(), *ready.notes)
    report = ExportReport(path, name, dtype, density, *written, layers, notes)
    if is_heard:
        report.print_to(plain_console())
    return report


def _is_heard(verbose: bool | None) -> bool:
    if verbose is None:  # Keras' default
        return True
    check_flags(verbose=verbose)
    return verbose


def _copied(model: keras.Model, signature: list[Any], chosen: Format, custom_ops: bool) -> Folded:
    """The model to write: of Keras' own layers, or with folded normalizations for the ops."""
    if custom_ops:
        return folded(model, signature)
    return Folded(of_keras_layers(model, chosen.in_float32, chosen.suffix == ".keras"), {}, {})
