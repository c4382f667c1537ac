"""Measures up to which density a custom op is faster than the dense one, layer by layer.

    # goes on where it was stopped
    python -m benchmarks.break_even

The library has a formula that was fitted to this table. The contenders are those of
``conv_ops.py``: the product alone, and with both gradients. The time of an empty `tf.function` is
taken off. What is left of a function with one operation still holds more of TensorFlow's own time
than the operation within a model does, most for products of a few microseconds.
"""

import statistics
from pathlib import Path

from benchmarks import options, records, report, turns

COMMAND = "python -m benchmarks.break_even"
DENSITIES = (0.5, 0.35, 0.2, 0.1, 0.05, 0.02)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
MOST_POSITIONS = 4096
# Size of the kernel, channels in and out, height and width of the inputs (0: a dense layer).
LAYERS = (
    *((1, 128, 128, 0), (1, 300, 100, 0), (1, 784, 300, 0), (1, 1024, 1024, 0), (1, 2048, 2048, 0)),
    *((1, 32, 64, 28), (1, 64, 256, 14), (1, 96, 576, 14), (1, 256, 64, 56), (1, 256, 1024, 7)),
    *((1, 320, 1280, 4), (1, 512, 512, 4)),
    *((3, 16, 16, 32), (3, 32, 32, 16), (3, 64, 64, 8), (3, 64, 64, 32), (3, 128, 128, 16)),
    *((3, 256, 256, 8), (3, 512, 512, 2), (3, 512, 512, 4)),
)
NOTE = """\
Dense time over sparse time by density; CPU time of one thread, medians of 7 turns, less that of an
empty function.
"""
# A layer, the batch, and whether it is the product alone.
Key = tuple[int, int, int, int, int, bool]


def main() -> None:
    """Measures what is missing and writes the table."""
    arguments = options.parser_of_cells(__doc__, "break_even").parse_args()
    turns.limit_threads(1)
    known = read(arguments.cells)
    for batch in BATCHES:
        for layer in LAYERS:
            for forward_only in (True, False):
                key = (*layer, batch, forward_only)
                if batch * max(1, layer[-1]) ** 2 <= MOST_POSITIONS and key not in known:
                    records.add(arguments.cells, {"key": key, **microseconds(*key)})
    head = report.header("Break-even densities", COMMAND) + NOTE
    report.write(arguments.output, head + tables(read(arguments.cells)))


def microseconds(
    size: int, channels_in: int, channels_out: int, pixels: int, batch: int, forward_only: bool
) -> dict[str, float]:
    """Of an empty function, the dense operation, and the sparse one at each density."""
    import tensorflow as tf

    from benchmarks.op_contenders import Layer, at_densities

    layer = Layer(size, channels_in, channels_out, pixels, batch)
    empty, constant = tf.function(lambda value: value, autograph=False), tf.constant(1.0)
    found = at_densities(layer, DENSITIES, forward_only)
    sparse = {name: found[name] for name in map(str, DENSITIES)}
    contenders = {"null": lambda: empty(constant), "dense": found["TF"], **sparse}
    for contender in contenders.values():
        contender()
    seconds = turns.take_turns(contenders, 7, turns.clock_for(1))
    return {name: 1e6 * statistics.median(values) for name, values in seconds.items()}


def read(cells: Path) -> dict[Key, dict[str, float]]:
    """All cells measured so far."""
    return {tuple(record["key"]): record for record in records.read(cells)}


def tables(known: dict[Key, dict[str, float]]) -> str:
    """One for the product alone, one with both gradients."""
    columns = ("layer", "batch", "dense us", *map(str, DENSITIES))
    # That of one cell alone is too noisy.
    empty = statistics.median(cell["null"] for cell in known.values())
    text = ""
    for forward_only, title in ((True, "Product"), (False, "Product and gradients")):
        pairs = [(layer, batch) for layer in LAYERS for batch in BATCHES]
        rows = [
            _row(layer, batch, known[key], empty)
            for layer, batch in pairs
            if (key := (*layer, batch, forward_only)) in known
        ]
        text += f"\n## {title}\n\n{report.table(columns, rows)}"
    return text


def _row(
    layer: tuple[int, int, int, int], batch: int, cell: dict[str, float], empty: float
) -> tuple[object, ...]:
    names = ("dense", *map(str, DENSITIES))
    dense, *sparse = (max(1.0, cell[name] - empty) for name in names)
    return _name(*layer), batch, round(dense), *(f"{dense / one:.2f}" for one in sparse)


def _name(size: int, channels_in: int, channels_out: int, pixels: int) -> str:
    channels = f"{channels_in} > {channels_out}"
    return f"{size}x{size} {channels}, {pixels}x{pixels}" if pixels else f"dense {channels}"


if __name__ == "__main__":
    main()
