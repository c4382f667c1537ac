"""Which layers are how sparse, and what does it save?  ``summary(model)`` as a table, a dict or JSON."""

import json
import sys
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_sparse._keras import check_keras_3, to_float32
from keras_sparse.compiled import sparse_momentum_of
from keras_sparse.initial_masks import reconcile
from keras_sparse.kernel_mask import kernel_mask_of
from keras_sparse.kernel_use import dead_channels, input_axes, output_axes, owners_of_weights, uses_per_example
from keras_sparse.layers import SparseLayer
from keras_sparse.selection import Selection
from keras_sparse.sparsify import has_sparse_layers, mask_of

COLUMNS = {
    "weights": "weights",
    "active": "active",
    "density": "density",
    "multiply-adds\ndense": "multiply_adds_dense",
    "multiply-adds\nsparse": "multiply_adds_sparse",
    "dead\ninputs": "dead_inputs",
    "dead\noutputs": "dead_outputs",
}
WIDTH_OF_A_LOG = 120  # columns of text where there is no terminal to ask
WIDTH_OF_KERNELS = 30  # and more of them where the table says which kernel runs


def summary(model: keras.Model, output: str = "table", input_shape: Any = None) -> Any:
    """Per masked weight: shape, weights, active ones, density, multiply-adds of one example, dead channels; and totals.

    A model without a SparseMomentum optimizer is described by the zeros in its kernels.

    Args:
        model: a built Keras model.
        output: ``"table"`` prints and returns None; ``"dict"`` returns a dict, ``"json"`` the same as a string.
        input_shape: of one batch, e.g. (None, 32, 32, 3), for models that do not know theirs; without it the
            multiply-adds of such a model are None.

    Returns:
        ``{"layers": [{"weight": path, "shape": [...], "weights": int, "active": int, "density": float,
        "multiply_adds_dense": int | None, "multiply_adds_sparse": int | None, "dead_inputs": int, "dead_outputs": int}, ...],
        "total": {...}}`` where the total's ``density`` is active / all masked weights, and ``other_weights`` counts the rest.
        If the model has sparse layers each weight has a ``"kernel"``, too: ``"custom op"``, or ``"stock: "`` and why.

    Raises:
        ValueError: a model without weights, or an unknown output.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="ones")])
    >>> summary(model, "dict")["total"]["multiply_adds_dense"]
    8
    """
    check_keras_3(model, "model")
    if output not in ("table", "dict", "json"):
        raise ValueError(f'`output` must be "table", "dict" or "json". Received: output={output!r}')
    if not model.weights:
        raise ValueError(f"`model` has no weights yet: build it, or call it on a batch of data. Received: model={model.name}")
    described = _describe(model, input_shape)
    if output == "table":
        width = WIDTH_OF_A_LOG + WIDTH_OF_KERNELS * ("kernel" in described["layers"][0])
        Console(width=None if sys.stdout.isatty() else width).print(_table(model.name, described))
        return None
    return described if output == "dict" else json.dumps(described, indent=2)


def _describe(model: keras.Model, input_shape: Any) -> dict[str, Any]:
    owners, uses = owners_of_weights(model), uses_per_example(model, input_shape)
    masked, has_kernels = _masked_weights(model), has_sparse_layers(model)
    layers = [_describe_weight(v, mask, owners[id(v)], uses) | ({"kernel": _kernel(owners[id(v)])} if has_kernels else {}) for v, mask in masked]
    total: dict[str, Any] = {}
    for key in ("weights", "active", "multiply_adds_dense", "multiply_adds_sparse", "dead_inputs", "dead_outputs"):
        values = [layer[key] for layer in layers]
        total[key] = None if None in values else sum(values)
    total["density"] = total["active"] / total["weights"]
    total["other_weights"] = model.count_params() - total["weights"]
    return {"layers": layers, "total": total}


def _masked_weights(model: keras.Model) -> list[tuple[Any, np.ndarray]]:
    optimizer = sparse_momentum_of(model)
    if optimizer is not None and optimizer.built:
        variables, masks = optimizer.masked_variables, optimizer.masks
        fitting = reconcile(list(masks), [to_float32(variable) for variable in variables], list(masks.values()))
        return list(zip(variables, fitting, strict=True))
    variables = model.trainable_variables
    chosen = [variables[i] for i in Selection().select(variables, model)]
    return [(v, to_float32(v) != 0 if kernel_mask_of(v) is None else mask_of(v)) for v in chosen]


def _kernel(layer: keras.layers.Layer) -> str:
    """Which kernel computes this layer, and why if it is the stock one."""
    why = layer.why_stock() if isinstance(layer, SparseLayer) else "not a sparse layer"
    return "custom op" if why is None else f"stock: {why}"


def _describe_weight(variable: Any, mask: np.ndarray, layer: keras.layers.Layer, uses: dict[int, int] | None) -> dict[str, Any]:
    active, used = int(np.count_nonzero(mask)), None if uses is None else uses.get(id(layer))
    return {
        "weight": variable.path,
        "shape": [int(n) for n in variable.shape],
        "weights": mask.size,
        "active": active,
        "density": active / mask.size,
        "multiply_adds_dense": None if used is None else used * mask.size,
        "multiply_adds_sparse": None if used is None else used * active,
        "dead_inputs": dead_channels(mask, input_axes(layer, mask.ndim)),
        "dead_outputs": dead_channels(mask, output_axes(layer, mask.ndim)),
    }


def _table(name: str, described: dict[str, Any]) -> Table:
    total = described["total"]
    table = Table(title=f"Sparsity of {name!r}", show_footer=True, caption=f"{total['other_weights']:,} other weights are dense")
    table.add_column("weight", footer="total", overflow="fold")
    table.add_column("shape")
    for header, key in COLUMNS.items():
        table.add_column(header, footer=_cell(total[key]), justify="right")
    if "kernel" in described["layers"][0]:
        table.add_column("kernel", overflow="fold")
    for layer in described["layers"]:
        path = layer["weight"].removeprefix(f"{name}/")
        kernel = [layer["kernel"]] if "kernel" in layer else []
        table.add_row(path, "x".join(map(str, layer["shape"])), *(_cell(layer[key]) for key in COLUMNS.values()), *kernel)
    return table


def _cell(value: float | int | None) -> str:
    if value is None:
        return "?"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
