"""How far int8 may bring a file's predictions: some steps in which the file rounds its outputs.

A quantized operation rounds what it computes to a multiple of its step. Roundings have random
signs, so n operations in a row differ by about sqrt(n) steps. The five networks of our tests, of 9
to 78 operations, differ by 0.7 to 1.4 steps. An untrained VGG11 differs by 1.1 (1 + sqrt(n)).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.exporting.litert_graph import Graph, graphs_in
from keras_sparse.exporting.ready_model import ReadyModel
from keras_sparse.exporting.runtimes import numbered


def tolerance_of_steps(ready: ReadyModel, path: Path) -> float | None:
    """2 (1 + sqrt(operations)) steps, relative to the largest prediction, or to 1 if that is more.

    None where the file is not quantized, or does not round each of its outputs.
    """
    if ready.dtype != "int8":
        return None
    graph = next(graphs_in(path))
    named = graph.named_outputs()
    steps = [graph.step(named[name]) for name in sorted(named, key=numbered)]
    if len(steps) != len(ready.expected) or not all(steps):
        return None
    pairs = zip(steps, ready.expected, strict=True)
    return _roundings(graph) * max(float(step or 0) / _scale(output) for step, output in pairs)


def _roundings(graph: Graph) -> float:
    return 2 * (1 + math.sqrt(len(graph.operations)))


def _scale(output: Any) -> float:
    return max(1.0, float(np.max(np.abs(output), initial=0.0)))
