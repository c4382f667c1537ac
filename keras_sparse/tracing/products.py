"""The multiply-adds of the products in a graph, and the weight to which each product belongs.

``tensorflow_graph`` and ``jax_graph`` read a traced call into a ``Graph``. A value comes from
weights alone, or also from data. A product belongs to the weight from which one of its operands
comes, or to none (attention).
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

UNKNOWN = math.nan  # an unknown number of multiply-adds; sums with it are unknown, too
OTHER = -1  # products of data by data
DATA = -2  # origin of a value that is not a weight
Origins = frozenset[int]  # indices of weights, and DATA
Counts = dict[Any, Any]  # {index of a weight, or OTHER: multiply-adds, an int or UNKNOWN}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        inputs: the values that it reads.
        outputs: the values that it produces.
        multiply_adds: the number of a product; 0 for other operations; or UNKNOWN.
        operands: (value, number of elements) of the factors, the weight last.
        bodies: graphs that it runs; of several, the one with the most multiply-adds counts.
        body_inputs: the input values of the bodies.
        times: the number of runs of the bodies.
        fed_back: (output, input) indices of a body whose output is the next run's input.
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
    """The multiply-adds of each weight, and of OTHER, in one run of the graph.

    Operations on which no output depends do not count.

    Args:
        graph: the traced call.
        origins: the origins of its inputs.
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
    """The operations on which the outputs depend; a trace also holds trials of an RNN's shapes."""
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
    while True:  # until the origins include those of all runs of a loop; they only grow
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
    """The multiply-adds of a product, by the weights to which they belong."""
    number: Any = operation.multiply_adds
    for value, elements in reversed(operation.operands):
        origins = known.get(value, frozenset())
        if origins and DATA not in origins:
            return _shares(number, elements, sorted(origins), sizes)
    unknown = {i for value in operation.inputs for i in known.get(value, ())} - {DATA}
    mixed = unknown if math.isnan(number) else set()
    return {OTHER: number, **dict.fromkeys(mixed, UNKNOWN)}


def _shares(number: Any, elements: int, weights: list[int], sizes: Sequence[int]) -> Counts:
    """The share of each weight in an operand that was scaled, cut or joined from weights."""
    whole = [i for i in weights if sizes[i] == elements]
    if len(whole) == 1 or len(weights) == 1:
        return {(whole or weights)[0]: number}
    if sum(sizes[i] for i in weights) == elements:
        return {i: number * sizes[i] // elements for i in weights}
    return dict.fromkeys(weights, UNKNOWN)
