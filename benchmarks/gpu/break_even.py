"""Finds the density up to which a sparse layer is never slower than the dense one on this GPU."""

from typing import Any

from benchmarks.gpu.layers import DENSITIES, Layer
from benchmarks.gpu.library import ARITHMETIC
from benchmarks.gpu.results import Block, Results, blocks_of

FEWEST_LAYERS = 2  # that a row needs, where more than one of its kind is measured


def rows(results: Results) -> list[dict[str, Any]]:
    """For each kind of layer, type and kernel: how large a layer must be, and densities.

    From that number of channels and of multiplications on, up to that density, no measured layer
    was slower than dense.
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
            ratios = [results.ratio(layer, arithmetic, block, density) for layer in those]
            measured = sum(ratio is not None for ratio in ratios)
            if density > max(smaller, default=0.0) and measured >= needed:
                row = {"smallest_channels": channels, "smallest_multiplications": least}
                steps.append({**row, "density": density, "layers": measured})
    return steps


def _largest(results: Results, layers: list[Layer], arithmetic: str, block: Block) -> float:
    """The largest density up to which no measured layer was slower than dense; 0.0 if none is."""
    largest = 0.0
    for density in sorted(DENSITIES):
        statuses = {results.status(layer, arithmetic, block, density) for layer in layers}
        found = (results.ratio(layer, arithmetic, block, density) for layer in layers)
        ratios = [ratio for ratio in found if ratio is not None]
        if statuses & {"wrong", "failed"} or not ratios or min(ratios) < 1.0:
            break
        largest = density
    return largest


def record(results: Results, date: str) -> dict[str, Any]:
    """The file."""
    return {
        "compute_capability": results.facts.get("compute_capability"),
        "date": date,
        "gpu": results.facts.get("gpu"),
        "rows": rows(results),
    }
