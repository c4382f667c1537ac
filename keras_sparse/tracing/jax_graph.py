"""A traced JAX call as a graph of products."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_sparse.tracing.products import DATA, UNKNOWN, Graph, Operation, Origins


def trace(
    call: Callable[[Any], Any], inputs: Any, weights: Sequence[Any]
) -> tuple[Graph, list[Origins]]:
    """As ``tensorflow_graph.trace``, on JAX."""
    import jax

    spec: Any = jax.ShapeDtypeStruct
    specs = [spec(each.shape, each.dtype) for each in keras.tree.flatten(inputs)]
    values = [weight.value for weight in weights]

    def called(arrays: list[Any], own: list[Any]) -> list[Any]:
        scope = keras.StatelessScope(list(zip(weights, own, strict=True)))
        with scope:
            outputs = call(keras.tree.pack_sequence_as(inputs, arrays))
        return [each for each in keras.tree.flatten(outputs) if hasattr(each, "shape")]

    traced = jax.make_jaxpr(called)(specs, values)
    origins = [frozenset({DATA})] * len(specs) + [frozenset({i}) for i in range(len(values))]
    return _graph(traced.jaxpr), origins


def _graph(jaxpr: Any) -> Graph:
    made_by = {id(output): eqn for eqn in jaxpr.eqns for output in eqn.outvars}
    operations = tuple(_sum_of_products(eqn, made_by) or _operation(eqn) for eqn in jaxpr.eqns)
    return Graph(_ids(jaxpr.invars), _ids(jaxpr.outvars), operations)


def _sum_of_products(eqn: Any, made_by: dict[int, Any]) -> Operation | None:
    """A sum of elementwise products, as in additive attention; None for any other equation."""
    factors = made_by.get(id(eqn.invars[0])) if eqn.primitive.name == "reduce_sum" else None
    if factors is None or factors.primitive.name != "mul" or 1 in map(_size, factors.invars):
        return None
    operands = tuple(zip(_ids(factors.invars), map(_size, factors.invars), strict=True))
    return Operation(_ids(eqn.invars), _ids(eqn.outvars), _size(eqn.invars[0]), operands)


def _ids(atoms: Sequence[Any]) -> tuple[int, ...]:
    """The ids of variables; literals get -1, which no variable has."""
    return tuple(-1 if hasattr(atom, "val") else id(atom) for atom in atoms)


def _operation(eqn: Any) -> Operation:
    inputs, outputs, name, params = (
        _ids(eqn.invars),
        _ids(eqn.outvars),
        eqn.primitive.name,
        eqn.params,
    )
    if name == "scan":
        fixed, carried = params["num_consts"], params["num_carry"]
        fed = tuple((i, fixed + i) for i in range(carried))
        body: tuple[Graph, ...] = (_graph(params["jaxpr"].jaxpr),)
        return Operation(inputs, outputs, 0, (), body, inputs, params["length"], fed)
    if name == "while":
        before, fixed = params["cond_nconsts"], params["body_nconsts"]
        fed = tuple((i, fixed + i) for i in range(len(outputs)))
        body = (_graph(params["body_jaxpr"].jaxpr),)
        return Operation(inputs, outputs, 0, (), body, inputs[before:], UNKNOWN, fed)
    if name == "cond":
        body = tuple(_graph(branch.jaxpr) for branch in params["branches"])
        return Operation(inputs, outputs, bodies=body, body_inputs=inputs[1:])
    inner = params.get("jaxpr", params.get("call_jaxpr", params.get("fun_jaxpr")))
    if inner is not None:
        body = (_graph(getattr(inner, "jaxpr", inner)),)
        return Operation(inputs, outputs, bodies=body, body_inputs=inputs)
    operands = tuple(zip(inputs, map(_size, eqn.invars), strict=True))
    return Operation(inputs, outputs, _multiply_adds(name, eqn), operands)


def _size(atom: Any) -> int:
    return math.prod(getattr(atom.aval, "shape", ()))


def _multiply_adds(name: str, eqn: Any) -> float:
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return _size(eqn.outvars[0]) * math.prod(
            eqn.invars[0].aval.shape[axis] for axis in contracted
        )
    if name == "conv_general_dilated":
        taps = _size(eqn.invars[1])
        out_axis, in_axis = eqn.params["dimension_numbers"].rhs_spec[:2]
        outputs, inputs = (eqn.invars[1].aval.shape[axis] for axis in (out_axis, in_axis))
        forward = _size(eqn.outvars[0]) * taps // outputs
        spread = _size(eqn.invars[0]) * taps // (inputs * eqn.params["feature_group_count"])
        return min(forward, spread)  # a transposed one spreads each input by the whole kernel
    return UNKNOWN if name in ("pure_callback", "io_callback", "pallas_call") else 0
