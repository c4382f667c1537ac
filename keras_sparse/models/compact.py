"""``compact`` removes the channels that nobody needs, and returns a smaller dense model."""

import collections
from typing import Any

import keras
import numpy as np
import rich.table

from keras_sparse._keras import calls_of, check_model, to_float32
from keras_sparse.conversion.copy_model import copy_model
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import densify, has_layers_to_densify
from keras_sparse.conversion.terminal import plain_console
from keras_sparse.models.channel_kinds import DEPTHWISE, MIXING, SEPARABLE, why_no_rule
from keras_sparse.models.channel_rules import bias_of, folded, mixed, rule_of
from keras_sparse.models.channels import Array, Channels, Tensor
from keras_sparse.rules.flags import check_verbose
from keras_sparse.rules.received import received

OBJECTS = ("_initializer", "_regularizer", "_constraint")  # of any class, also unregistered ones
Io = tuple[list[Tensor], Tensor]  # what a layer reads, and what it writes


def compact(model: keras.Model, verbose: bool | str = "auto") -> keras.Model:
    """A smaller model that computes the same: without dead and constant channels.

    A channel is dead if no weight reads it, and constant if no weight writes it: its value then
    follows from biases, and moves into the biases of the layers that read it. Channels of layers
    that are added to each other go together. Where a layer is not known to work on each channel by
    itself, all of its channels stay.

    Predictions are equal but for rounding, because sums have fewer terms. In further training the
    two models differ: removed channels cannot grow again.

    Args:
        model: a functional or Sequential model with weights, sparse or not. It stays unchanged.
        verbose: True: prints the channels of each layer, before and after, and what was left alone.
            ``"auto"``: only shows in a terminal that it runs; False: nothing.

    Returns:
        A new model of Keras' own layers, not compiled. Layers keep their names.

    Raises:
        ValueError: the model is subclassed, or has no weights yet.

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    >>> kernel = np.ones((4, 3)); kernel[:, 1] = 0  # no weight writes the second unit
    >>> _ = model.layers[0].kernel.assign(kernel)
    >>> compact(model).layers[0].units
    2
    """
    check_model(model)
    check_verbose(verbose)
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ValueError(
            "`model` must be a functional or Sequential model that is built: its graph says "
            f"which layer reads which channel. {received(model=model)}"
        )
    channels = Channels()
    with progress("compact", verbose):
        # Keras compiles the clone of a compiled model: with masks of the old shapes, for example.
        is_copied = model.compiled or has_layers_to_densify(model)
        dense = densify(model) if is_copied else model
        flow = _flow(keras.Model(dense.inputs, dense.outputs), channels)
        kept = channels.kept()
        smaller = _rebuilt(dense, flow, kept)
    if verbose and verbose != "auto":
        _print(flow, kept, channels)
    return smaller


def _print(flow: dict[str, Io], kept: Array, channels: Channels) -> None:
    """Prints a row for each layer."""
    table = rich.table.Table("layer", "channels", "kept", "left alone", title="Channels")
    for name, (_, written) in flow.items():
        why = channels.left_alone.get(name, "")
        table.add_row(name, str(len(written.ids)), str(int(kept[written.ids].sum())), why)
    plain_console().print(table)


def _flow(graph: keras.Model, channels: Channels) -> dict[str, Io]:
    """What each layer reads and writes, by name."""
    calls = calls_of(graph)
    number = collections.Counter(call.operation.name for call in calls)
    tensors: dict[int, Tensor] = {}
    flow: dict[str, Io] = {}
    for operation, read, written in calls:
        inputs = [tensors[id(each)] for each in read]
        why = _why_opaque(operation, inputs, number[operation.name])
        if why is None:
            outputs = [rule_of(operation)(channels, operation, inputs)]
        else:
            channels.left_alone[operation.name] = why
            outputs = [_opaque(channels, each) for each in written]
            channels.pin([*inputs, *outputs])
        tensors.update(zip(map(id, written), outputs, strict=True))
        flow[operation.name] = inputs, outputs[0]
    channels.pin([tensors[id(each)] for each in graph.outputs])
    return flow


def _why_opaque(operation: Any, inputs: list[Tensor], calls: int) -> str | None:
    if not inputs:
        return "input of the model"
    if calls > 1:
        return "called more than once"
    is_joined = isinstance(operation, keras.layers.Concatenate)
    if not is_joined and len({len(each.ids) for each in inputs}) > 1:
        return "its inputs have different numbers of channels"
    return why_no_rule(operation)


def _opaque(channels: Channels, tensor: Any) -> Tensor:
    number = tensor.shape[-1] if len(tensor.shape) and tensor.shape[-1] else 1
    return Tensor(channels.new(number), np.full(number, np.nan))


def _rebuilt(model: keras.Model, flow: dict[str, Io], kept: Array) -> keras.Model:
    """The same graph, of layers with the channels that are kept, and their weights."""

    def smaller(layer: Any) -> Any:
        if isinstance(layer, keras.layers.Layer) and not _has_channels(layer):
            return copy_model(layer)[0]  # a config lacks vocabularies, functions, states
        config = layer.get_config()
        config.update({name: getattr(layer, name) for name in config if name.endswith(OBJECTS)})
        name = {keras.layers.Dense: "units"}.get(type(layer), "filters")
        if _is_kernel(layer):
            read, written = flow[layer.name]
            config[name] = int(kept[written.ids].sum())
            config["use_bias"] = layer.use_bias or bool(_moved(layer, read[0], kept).any())
        return type(layer).from_config(config)

    result = keras.models.clone_model(model, clone_function=smaller)
    for old in filter(_has_channels, model.layers):
        new, (read, written) = result.get_layer(old.name), flow[old.name]
        weights = _kernel_weights if _is_kernel(old) else _channel_weights
        new.set_weights(weights(old, read[0], written, kept))
    return result


def _has_channels(layer: keras.layers.Layer) -> bool:
    """Whether some of its weights may go."""
    return bool(layer.weights) and why_no_rule(layer) is None


def _is_kernel(layer: Any) -> bool:
    return type(layer) in MIXING and why_no_rule(layer) is None


def _kernel_weights(layer: Any, read: Tensor, written: Tensor, kept: Array) -> list[Array]:
    """Kernel and bias of the channels that are kept; the bias has taken over what was constant."""
    columns, moved = kept[written.ids], _moved(layer, read, kept)
    smaller = []
    if type(layer) in SEPARABLE:
        kernel = layer.pointwise_kernel
        smaller.append(to_float32(layer.depthwise_kernel)[..., kept[read.ids], :])
    else:
        kernel = layer.kernel
    rows = kept[mixed(layer, read)[1].ids]
    smaller.append(to_float32(kernel)[..., rows, :][..., columns])
    if layer.use_bias or moved.any():
        smaller.append((bias_of(layer, len(moved)) + moved)[columns].astype(np.float32))
    return smaller


def _moved(layer: Any, read: Tensor, kept: Array) -> Array:
    """What removed inputs add to each output."""
    taps, read = mixed(layer, read)
    return folded(taps, read.constants, ~kept[read.ids] & ~read.varies)


def _channel_weights(layer: Any, read: Tensor, written: Tensor, kept: Array) -> list[Array]:
    """Weights of a layer that has some for each channel."""
    if type(layer) in DEPTHWISE:
        kernel = to_float32(layer.kernel)[..., kept[read.ids], :]
        return [kernel, *([to_float32(layer.bias)[kept[written.ids]]] if layer.use_bias else [])]
    return [to_float32(v)[kept[read.ids]] for v in layer.weights]
