"""``summary(model)``: the sparsity of each layer and what it saves, as a table, dict or JSON."""

import json
from typing import Any

import keras

from keras_sparse._keras import check_model
from keras_sparse.compute import onednn
from keras_sparse.models.step_speed import step_speed
from keras_sparse.models.summary_figures import described
from keras_sparse.models.summary_table import print_table
from keras_sparse.rules.flags import check_flags, check_word
from keras_sparse.rules.received import received
from keras_sparse.rules.whole_numbers import is_positive_integer
from keras_sparse.tracing.model_inputs import symbolic_inputs


def summary(
    model: keras.Model,
    output: str = "table",
    input_shape: Any = None,
    batch: int | None = None,
    time_step: bool = False,
) -> Any:
    """Shape, density, multiply-adds and dead channels of each masked weight, and the totals.

    Without a SparseMomentum, the masks are those of sparse layers and of nonzero weights. Kernels
    of frozen layers have rows, too; kernels that ``dense=`` excludes have none. The model stays
    unchanged.

    Args:
        model: a built Keras model.
        output: ``"table"`` prints and returns None; ``"dict"`` returns a dict, ``"json"`` the same
            as a string.
        input_shape: shape of the inputs, with or without the batch, e.g. (None, 32, 32, 3); a list
            or dict for several inputs. Only for models that do not know theirs, as for sequences
            of any length.
        batch: number of examples, for ``"runs_as"``. None: what runs depends on the batch and
            includes its condition, ``"custom op from batch 12"``.
        time_step: True: times a training step at this batch, on copies of the model and random
            data, against Keras' own layers. The result holds for this machine, this batch and the
            present masks. It takes seconds to minutes.

    Returns:
        ``{"layers": [row, ...], "total": {...}}``. A row is ``{"weight": path, "shape": [...],
        "weights": int, "active": int, "density": float, "multiply_adds_dense": int | None,
        "multiply_adds_sparse": int | None, "dead_inputs": int, "dead_outputs": int}``. None means
        unknown, and the total's ``"why_unknown"`` has the reason.

        The total's ``density`` is active / all weights of the rows, its ``multiply_adds_density``
        the same share of their multiply-adds; ``other_weights`` counts the rest. With a
        SparseMomentum, its ``budget`` is the one of the two that its density is asked for, and
        ``has_masks`` is False until its first masks are made. The
        total's multiply-adds are those of the whole model. They include ``other_multiply_adds``:
        those of weights without a row, and of no weight (attention).

        With ``time_step``, the total has ``step_seconds_dense``. ``step_speed_up_closed`` and
        ``step_speed_up_open`` are the dense seconds over those of sparse layers, with the growth
        window closed and open. ``slow_dense`` says what would make the dense step faster, if
        TensorFlow computes it without oneDNN.

        With a SparseMomentum, rows and total have ``"exploration_rate"``: weights that were ever
        active / all weights. It is None for kernels that the optimizer does not mask. The table
        shows it if it exceeds the density.

        A row of a frozen layer has ``"frozen": True``. With sparse layers, each row has
        ``"runs_as"``: ``"custom op"``, or ``"stock: "`` and the reason; for both, where a
        prediction runs another than a training: ``"training: ...; prediction: ..."``. The total's
        ``"break_even_densities"`` names the table of break-even densities, if custom ops can run.

    Raises:
        ValueError: the model has no weights, ``output`` is unknown, ``input_shape`` or ``batch``
            does not fit, or the step cannot be timed (the message has the reason).
        TypeError: no Keras model.

    >>> dense = keras.layers.Dense(2)
    >>> model = keras.Sequential([keras.Input((4,)), dense])
    >>> summary(model, "dict")["total"]["multiply_adds_dense"]
    8
    """
    check_model(model)
    check_word("output", output, "table", "dict", "json")
    if batch is not None and not is_positive_integer(batch):
        raise ValueError(f"`batch` must be a positive integer. {received(batch=batch)}")
    if not model.weights:
        raise ValueError(
            "`model` must have weights: build it, or call it on a batch of data. "
            f"Received: model={model.name}"
        )
    check_flags(time_step=time_step)
    if time_step and batch is None:
        raise ValueError("`batch` must be set if `time_step` is. Received: batch=None")
    found = described(model, input_shape, batch)
    if time_step:
        found["total"] |= timed_step(model, input_shape, batch)
    if output == "table":
        print_table(model.name, found)
        return None
    return found if output == "dict" else json.dumps(found, indent=2)


def timed_step(
    model: keras.Model,
    input_shape: Any,
    batch: int | None,
    argument: str = "time_step",
    with_parts: bool = False,
) -> dict[str, Any]:
    """What ``summary`` adds to the total with ``time_step``.

    Args:
        model: built.
        input_shape: as in ``summary``.
        batch: number of examples.
        argument: the one that asked for it, for messages.
        with_parts: True: adds ``"step_parts"``, a StepParts.

    Raises:
        ValueError: the step cannot be timed.
    """
    inputs, why = symbolic_inputs(model, input_shape, batch)
    if why is not None:
        raise ValueError(
            f"`{argument}` needs inputs of known shapes, but {why}. "
            f"{received(input_shape=input_shape)}"
        )
    speed = step_speed(model, inputs, argument, with_parts)
    return {
        "step_seconds_dense": speed.dense_seconds,
        "step_speed_up_closed": speed.closed,
        "step_speed_up_open": speed.open,
        **({} if (slow := onednn.hint()) is None else {"slow_dense": slow}),
        **({"step_parts": speed.parts} if with_parts else {}),
    }
