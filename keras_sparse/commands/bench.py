"""``bench`` measures whether sparse layers are worth it for a model, on this machine."""

import argparse
import dataclasses
import json
import sys
from typing import Any

import keras
from keras import tree
from rich.table import Table

from keras_sparse.commands.named_function import function_named
from keras_sparse.commands.output import console
from keras_sparse.commands.threads import set_threads
from keras_sparse.compute.library import available
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import has_sparse_layers, sparsify
from keras_sparse.conversion.terminal import plain_console
from keras_sparse.models.layer_speed import LayerSpeed, layer_speeds, sparse_layers
from keras_sparse.models.step_speed import optimizer_like
from keras_sparse.models.summary import summary
from keras_sparse.rules.received import shown
from keras_sparse.tracing.multiply_adds import count_multiply_adds
from keras_sparse.training.find_optimizer import sparse_momentum_of, sparse_optimizer
from keras_sparse.training.sparse_momentum import SparseMomentum

DENSITY = 0.1  # without --density, of models that have none


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code: 0 faster, 1 not faster, 2 cannot be measured.

    Raises:
        ValueError: an argument is wrong, or the model cannot be measured.
    """
    errors = plain_console(stderr=True)
    threads = set_threads(arguments.threads)
    if not (now := available()):
        errors.print(f"Cannot run: the compiled ops are {now}")
        return 2
    model, input_shape = made(function_named(arguments.function)())
    sparse = with_masks(model, arguments.density)
    if not has_sparse_layers(sparse):
        errors.print("No layer of the model can be sparse: ks.sparsify(model, verbose=True)")
        return 1
    total = summary(sparse, "dict", input_shape, arguments.batch, time_step=True)["total"]
    counted = count_multiply_adds(sparse, input_shape, arguments.batch)
    sparse_optimizer(sparse).open_growth_window(False)
    found = layer_speeds(sparse, counted)
    with progress("bench: layers") as line:
        layers = list(line.each(found, sparse_layers(sparse)))
    result = report(total, layers, arguments.batch, threads)
    if arguments.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        console().print(printed(sparse.name, result))
        console().print(verdict(result), soft_wrap=True)
    return 0 if result["step_speed_up_closed"] > 1 else 1


def made(returned: Any) -> tuple[keras.Model, Any]:
    """(the model, the shapes of its inputs or None) from what the function returned.

    Raises:
        ValueError: it is neither a Keras model nor (model, (inputs, targets)) with tf.TensorSpecs.
    """
    import tensorflow as tf

    is_pair = isinstance(returned, tuple) and len(returned) == 2
    model, specs = returned if is_pair else (returned, None)
    is_right = specs is None or (isinstance(specs, tuple) and len(specs) == 2)
    if not (isinstance(model, keras.Model) and is_right):
        raise ValueError(
            "The function must return a Keras model, or (model, (inputs, targets)) with "
            f"tf.TensorSpecs. Received: {shown(returned)}"
        )
    if specs is None:
        return model, None
    if not model.built:
        model(tree.map_structure(lambda s: tf.zeros((1, *s.shape[1:]), s.dtype), specs[0]))
    return model, tree.map_structure(lambda spec: tuple(spec.shape), specs[0])


def with_masks(model: keras.Model, density: float | None) -> keras.Model:
    """A sparse copy, compiled with a SparseMomentum that has masks of this density.

    Args:
        model: built. With a SparseMomentum, the new one has its settings.
        density: active / all masked weights. None: the masks that the model has; without masks,
            the density of its SparseMomentum, or 0.1.

    Raises:
        ValueError: the model has no weights yet, or the density is out of range.
    """
    own = sparse_momentum_of(model)
    keeps = density is None and own is not None and own.built
    if own is None:
        new = SparseMomentum(optimizer_like(model), DENSITY if density is None else density)
    else:
        changed = {} if density is None else {"density": density}
        kept = {"initial_masks": "nonzero"} if keeps else {}
        new = type(own).from_config(own.get_config() | changed | kept)
    sparse = sparsify(model, verbose=False)
    sparse.compile(new)
    sparse.optimizer.build(sparse.trainable_variables)
    return sparse


def report(
    total: dict[str, Any], layers: list[LayerSpeed], batch: int, threads: int
) -> dict[str, Any]:
    """All figures, as ``--json`` prints them."""
    names = ("density", "step_seconds_dense", "step_speed_up_closed", "step_speed_up_open")
    return {
        "batch": batch,
        "threads": threads,
        **{name: total[name] for name in (*names, "slow_dense") if name in total},
        "break_even_densities": total["break_even_densities"],
        "layers": [dataclasses.asdict(layer) for layer in layers],
    }


def printed(name: str, result: dict[str, Any]) -> Table:
    """The table of layers."""
    table = Table(
        title=f"{name!r}, batch {result['batch']}, threads: {result['threads']}",
        caption=f"break-even densities: {result['break_even_densities']}",
    )
    for header in ("layer", "density", "runs as", "dense ms", "speed-up by the custom op"):
        is_text = header in ("layer", "runs as")
        table.add_column(header, justify="left" if is_text else "right", overflow="fold")
    for layer in result["layers"]:
        speed_up = layer["speed_up"]
        table.add_row(
            layer["layer"].removeprefix(f"{name}/"),
            f"{layer['density']:.3f}",
            layer["runs_as"],
            f"{1e3 * layer['dense_seconds']:.2f}",
            "" if speed_up is None else f"{speed_up:.2f}",
        )
    return table


def verdict(result: dict[str, Any]) -> str:
    """The answer in a sentence.

    >>> figures = {"step_seconds_dense": 0.1, "step_speed_up_closed": 3, "step_speed_up_open": 2}
    >>> verdict(figures | {"density": 0.1})
    'A training step takes 0.1 s dense. At density 0.10 it is 3.00x as fast with sparse layers ...
    """
    slow = f" {result['slow_dense']}." if "slow_dense" in result else ""
    return (
        f"A training step takes {result['step_seconds_dense']:.3g} s dense. At density "
        f"{result['density']:.2f} it is {result['step_speed_up_closed']:.2f}x as fast with sparse "
        f"layers while the growth window is closed, and {result['step_speed_up_open']:.2f}x while "
        f"it is open.{slow}"
    )
