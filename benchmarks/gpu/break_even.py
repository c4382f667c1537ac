"""Finds the density up to which a sparse layer is never slower than the dense one on this GPU."""

import math
from typing import Any

from benchmarks.gpu.layers import DENSITIES, Layer
from benchmarks.gpu.library import ARITHMETIC
from benchmarks.gpu.results import Block, Results, blocks_of

FEWEST_LAYERS = 2  # that a row needs, where more than one of its kind is measured


def rows(results: Results) -> list[dict[str, Any]]:
    """For each kind of layer, type and kernel: how large a layer must be, and densities.

    From that number of channels and of multiplications on, up to that density, no measured layer
    is slower than dense.
    """
    found = []
    for kind in ("convolution", "1x1 convolution", "matmul"):
        layers = [layer for layer in results.layers if layer.kind == kind]
        for arithmetic in ARITHMETIC:
            for block in blocks_of(arithmetic):
                row = {"kind": kind, "dtype": arithmetic, "block": block}
                found += [{**row, **step} for step in _steps(results, layers, arithmetic, block)]
    return found


def _steps(
    results: Results, layers: list[Layer], arithmetic: str, block: Block
) -> list[dict[str, Any]]:
    """Rows, each of a larger density than all that hold for smaller layers."""
    steps: list[dict[str, Any]] = []
    needed = min(FEWEST_LAYERS, len(layers))
    for channels in sorted({layer.smallest_channels for layer in layers}):
        wide = [layer for layer in layers if layer.smallest_channels >= channels]
        for least in sorted({layer.multiplications for layer in layers}):
            those = [layer for layer in wide if layer.multiplications >= least]
            density = _largest(results, those, arithmetic, block)
            smaller = [s["density"] for s in steps if s["smallest_multiplications"] <= least]
            measured = sum(
                _of_layer(results, layer, arithmetic, block) is not None for layer in those
            )
            if density > max(smaller, default=0.0) and measured >= needed:
                row = {"smallest_channels": channels, "smallest_multiplications": least}
                steps.append({**row, "density": density, "layers": measured})
    return steps


def _largest(results: Results, layers: list[Layer], arithmetic: str, block: Block) -> float:
    """The largest density at which none of the layers is slower than dense; 0.0: there is none.

    Rounded down to hundredths.
    """
    found = [_of_layer(results, layer, arithmetic, block) for layer in layers]
    known = [density for density in found if density is not None]
    return math.floor(100 * min(known, default=0.0) + 1e-6) / 100


def _of_layer(results: Results, layer: Layer, arithmetic: str, block: Block) -> float | None:
    """The density at which the kernel takes as long as dense; None if nothing was measured.

    The kernel's time between two measured densities is taken to be linear.
    """
    below, time_below = 0.0, None
    for density in sorted(DENSITIES):
        if results.status(layer, arithmetic, block, density) in ("wrong", "failed"):
            return below
        ratio = results.ratio(layer, arithmetic, block, density)
        if ratio is None:
            continue
        time = 1 / ratio  # of the dense one's
        if time > 1:
            share = 0.0 if time_below is None else (1 - time_below) / (time - time_below)
            return below + share * (density - below)
        below, time_below = density, time
    return None if time_below is None else below


def record(results: Results, date: str) -> dict[str, Any]:
    """The file."""
    return {
        "compute_capability": results.facts.get("compute_capability"),
        "date": date,
        "gpu": results.facts.get("gpu"),
        "rows": rows(results),
    }
