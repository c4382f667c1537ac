"""The products in a graph of operations: how many multiply-adds, and whose weights are in them.

``tensorflow_graph`` and ``jax_graph`` read a traced call into the ``Graph`` of here. A value comes from weights alone, or from
data too; a product belongs to the weight that one of its operands comes from, or to none (attention).
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

UNKNOWN = math.nan  # a number of multiply-adds that is not known; sums with it are not known either
OTHER = -1  # products of data by data
DATA = -2  # origin of a value that is no weight
Origins = frozenset[int]  # indices of weights, and DATA
Counts = dict[Any, Any]  # {index of a weight, or OTHER: multiply-adds, an int or UNKNOWN}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        inputs: the values it reads.
        outputs: the values it makes.
        multiply_adds: of a product; 0 for all else; UNKNOWN where nobody can tell.
        operands: (value, number of elements) of what is multiplied, the weight last.
        bodies: graphs that it runs; of several, the one with the most multiply-adds counts.
        body_inputs: the values that they get.
        times: how often it runs them.
        fed_back: (output, input) indices of the body, where one run's output is the next run's input.
    """

    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]
    multiply_adds: float = 0
    operands: tuple[tuple[Hashable, int], ...] = ()
    bodies: tuple["Graph", ...] = ()
    body_inputs: tuple[Hashable, ...] = ()
    times: float = 1
    fed_back: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Graph:
    """Operations in an order in which they can run."""

    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]
    operations: tuple[Operation, ...]


def count(graph: Graph, origins: Sequence[Origins], sizes: Sequence[int]) -> Counts:
    """Multiply-adds of each weight, and OTHER, in one run of the graph; what nothing depends on does not run.

    Args:
        graph: the traced call.
        origins: of its inputs.
        sizes: the number of elements of each weight.
    """
    return _run(graph, origins, sizes)[0]


def _run(
    graph: Graph, origins: Sequence[Origins], sizes: Sequence[int]
) -> tuple[Counts, list[Origins]]:
    known = dict(zip(graph.inputs, origins, strict=True))
    counts: Counts = defaultdict(int)
    for operation in _needed(graph):
        read = [known.get(value, frozenset()) for value in operation.inputs]
        made = [frozenset().union(*read)] * len(operation.outputs)
        if operation.bodies:
            inner, made = _run_bodies(operation, known, sizes)
            _add(counts, inner, operation.times)
        if operation.multiply_adds:
            _add(counts, _attributed(operation, known, sizes))
        known.update(zip(operation.outputs, made, strict=True))
    return counts, [known.get(value, frozenset()) for value in graph.outputs]


def _needed(graph: Graph) -> list[Operation]:
    """The operations that the outputs depend on: a trace also holds trials, as of the shapes of an RNN."""
    needed, values = [], set(graph.outputs)
    for operation in reversed(graph.operations):
        if values.intersection(operation.outputs):
            needed.append(operation)
            values.update(operation.inputs)
    return needed[::-1]


def _run_bodies(
    operation: Operation, known: dict[Hashable, Origins], sizes: Sequence[int]
) -> tuple[Counts, list[Origins]]:
    origins = [known.get(value, frozenset()) for value in operation.body_inputs]
    while True:  # until a loop's origins are those of all its runs: they only grow
        runs = [_run(body, origins, sizes) for body in operation.bodies]
        outputs = [
            frozenset().union(*each) for each in zip(*(made for _, made in runs), strict=True)
        ]
        grown = list(origins)
        for output, value in operation.fed_back:
            grown[value] |= outputs[output]
        if grown == origins:
            return max((counts for counts, _ in runs), key=_total), outputs
        origins = grown


def _total(counts: Counts) -> float:
    total = sum(counts.values())
    return math.inf if math.isnan(total) else total


def _add(counts: Counts, more: Counts, times: float = 1) -> None:
    for key, number in more.items():
        counts[key] += number * times


def _attributed(
    operation: Operation, known: dict[Hashable, Origins], sizes: Sequence[int]
) -> Counts:
    """To which weights the multiply-adds of a product belong."""
    number: Any = operation.multiply_adds
    for value, elements in reversed(operation.operands):
        origins = known.get(value, frozenset())
        if origins and DATA not in origins:
            return _shares(number, elements, sorted(origins), sizes)
    unknown = {i for value in operation.inputs for i in known.get(value, ())} - {DATA}
    mixed = unknown if math.isnan(number) else set()
    return {OTHER: number, **dict.fromkeys(mixed, UNKNOWN)}


def _shares(number: Any, elements: int, weights: list[int], sizes: Sequence[int]) -> Counts:
    """Of an operand made of these weights: scaled, normalized, cut or put together."""
    whole = [i for i in weights if sizes[i] == elements]
    if len(whole) == 1 or len(weights) == 1:
        return {(whole or weights)[0]: number}
    if sum(sizes[i] for i in weights) == elements:
        return {i: number * sizes[i] // elements for i in weights}
    return dict.fromkeys(weights, UNKNOWN)
