"""Writes the results as Markdown: tables of every layer, and short ones that are printed last."""

from typing import Any

from benchmarks import report
from benchmarks.gpu.layers import DENSITIES, NETWORKS, PRODUCTS, TINY_NETWORKS, Layer
from benchmarks.gpu.library import ARITHMETIC
from benchmarks.gpu.results import Block, Results, blocks_of

MOST_PROBLEMS = 12
COLUMNS = tuple(f"{density:g}" for density in DENSITIES)
MEANING = """\
Figures are dense time over sparse time: 2 means that the sparse product takes half as long. Medians
of the GPU's own clock over calls in turns in one process. Before each call 512 MB of other data are
read, so that the L2 holds nothing of use. Each call includes the structure of the mask. Dense is
the faster of cuDNN (channels last, its fastest algorithm) and, for matrix products, cuBLAS.
`float32` is IEEE on both sides, `tensorfloat32` TF32 on both sides. -: no such kernel for these
channels; blank: not measured.
"""
EACH_PRODUCT = """## Each product

In brackets the share of the memory bound: the time in which a copy moves what must be moved, of the
time taken.
"""


def all_tables(results: Results, each_product: bool) -> str:
    """Every layer, in every arithmetic that was measured."""
    measured = [a for a in ARITHMETIC if any(key[1] == a for key in results.groups)]
    parts = ["## A training step: forward and both gradients\n"]
    parts += [f"### {arithmetic}\n\n{step_table(results, arithmetic)}" for arithmetic in measured]
    if not each_product:
        return "\n".join(parts)
    parts.append(EACH_PRODUCT)
    parts += [
        f"### {a}, {name(b)}\n\n{product_table(results, a, b)}"
        for a in measured
        for b in blocks_of(a)
    ]
    return "\n".join(parts)


def step_table(results: Results, arithmetic: str) -> str:
    """A row a layer."""
    keys = [(block, density) for block in blocks_of(arithmetic) for density in DENSITIES]
    rows = [
        (
            layer.name,
            _milliseconds(results.dense_step(layer, arithmetic)),
            *(_step_cell(results, layer, arithmetic, *key) for key in keys),
        )
        for layer in results.layers
    ]
    columns = (f"{_short(block)} {density:g}" for block, density in keys)
    return report.table(("layer", "dense, ms", *columns), rows)


def product_table(results: Results, arithmetic: str, block: Block) -> str:
    """A row for each product of each layer."""
    rows = []
    for layer in results.layers:
        for product in PRODUCTS:
            dense = results.dense(layer, arithmetic, product)
            cells = (
                _product_cell(results, layer, arithmetic, product, block, density)
                for density in DENSITIES
            )
            dense_cells = _milliseconds(dense), _rate(layer, dense)
            rows.append((f"{layer.name}, {product}", *dense_cells, *cells))
    return report.table(("product", "dense, ms", "dense, TFLOP/s", *COLUMNS), rows)


def network_table(results: Results) -> str:
    """The sum over the layers of a network."""
    rows = []
    for network, counts in (TINY_NETWORKS if results.rehearse else NETWORKS).items():
        for arithmetic in ARITHMETIC:
            dense = _weighted([(results.dense_step(la, arithmetic), n) for la, n in counts.items()])
            for block in blocks_of(arithmetic):
                cells = []
                for density in DENSITIES:
                    key = arithmetic, block, density
                    sparse = _weighted([(results.step(la, *key), n) for la, n in counts.items()])
                    cells.append(f"{dense / sparse:.2f}" if dense and sparse else "")
                if any(cells):
                    title = f"{network}, {arithmetic}, {name(block)}"
                    rows.append((title, _milliseconds(dense), *cells))
    title = "convolutions of 64 channels or more, forward and gradients"
    return report.table((title, "dense, ms", *COLUMNS), rows)


def check_table(results: Results) -> str:
    """A row a kernel."""
    statuses = ("right", "wrong", "failed")
    rows = [
        (kernel, *(counts.get(status, 0) for status in statuses))
        for kernel, counts in results.check_counts().items()
    ]
    return report.table(("kernel, checked", *statuses), rows)


def share_table(results: Results) -> str:
    """What of a call's time the structure of the mask takes."""
    notes = [note for note in results.journal.of("share/") if "share" in note]
    rows = [
        (note["name"], *(f"{100 * note['share'][product]:.0f} %" for product in PRODUCTS))
        for note in notes
    ]
    title = "flags, lists and packed weights at density 0.1, of a call's time"
    return report.table((title, *PRODUCTS), rows)


def summary(results: Results, remarks: list[str]) -> str:
    """What a reader wants to know first, under 12,000 characters."""
    rates = [
        f"{key} {rate / 1e12:.3g} {'TB/s' if key == 'copy' else 'TFLOP/s'}"
        for key, rate in results.rates.items()
    ]
    problems = results.problems()
    remarks = [*remarks, f"Ceilings: {', '.join(rates) or 'not measured'}"]
    parts = [
        "## Summary\n",
        check_table(results),
        "".join(f"- {remark}\n" for remark in remarks),
        network_table(results),
        share_table(results),
        f"{len(problems)} problems\n" + problem_list(problems),
    ]
    return "\n".join(parts)


def problem_list(problems: list[dict[str, Any]]) -> str:
    """Those of the same kernel, product and reason in one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for note in problems:
        kind = note.get("culprit") or note["key"], f"{note['status']}: {note.get('why')}"
        alike.setdefault(kind, []).append(note["key"])
    kinds = ((*kind, keys) for kind, keys in alike.items())
    lines = [f"- {len(keys)} x {of}: {why} ({keys[0]})"[:200] for of, why, keys in kinds]
    rest = [f"- and {len(lines) - MOST_PROBLEMS} more kinds"] if len(lines) > MOST_PROBLEMS else []
    return "".join(f"{line}\n" for line in [*lines[:MOST_PROBLEMS], *rest])


def name(block: Block) -> str:
    return f"{block}-blocks" if isinstance(block, int) else block.replace("_", " ")


def _short(block: Block) -> str:
    return {"weights": "w", "channel_pairs": "pairs"}.get(str(block), str(block))


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3f}"


def _rate(layer: Layer, seconds: float | None) -> str:
    return "" if seconds is None else f"{2 * layer.multiplications / seconds / 1e12:.0f}"


def _status_cell(status: str) -> str:
    return {"left out": "-", "out of time": "", "right": ""}.get(status, status)


def _step_cell(
    results: Results, layer: Layer, arithmetic: str, block: Block, density: float
) -> str:
    if ratio := results.ratio(layer, arithmetic, block, density):
        return f"{ratio:.2f}"
    return _status_cell(results.status(layer, arithmetic, block, density))


def _product_cell(
    results: Results, layer: Layer, arithmetic: str, product: str, block: Block, density: float
) -> str:
    state = results.state(layer, arithmetic, product, block, density)
    dense = results.dense(layer, arithmetic, product)
    if state["status"] != "right" or not dense or "seconds" not in state:
        return _status_cell(state["status"])
    share = results.share_of_bound(layer, arithmetic, product, block, density)
    return f"{dense / state['seconds']:.2f}" + ("" if share is None else f" ({100 * share:.0f} %)")


def _weighted(pairs: list[tuple[float | None, int]]) -> float | None:
    known = [seconds * number for seconds, number in pairs if seconds is not None]
    return sum(known) if len(known) == len(pairs) else None
