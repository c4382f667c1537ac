"""Times predictions of few rows by wide dense layers, by size and density.

    python -m benchmarks.few_rows          # goes on where it was stopped; a few minutes

Contenders are those of ``conv_ops.py``, one thread. In a prediction nobody changes the kernel, and
the op keeps the values of its active weights. The break-even density is that of
``python -m keras_sparse tune``: where the custom op takes as long as the dense one.
"""

import statistics
from typing import Any

from benchmarks import options, records, report, turns

COMMAND = "python -m benchmarks.few_rows"
DENSITIES = (0.35, 0.2, 0.1, 0.05)
SIZES = ((1024, 1024), (2048, 2048), (4096, 4096), (1024, 4096))
ROWS = (1, 8, 16)
NOTE = """\
Dense time over sparse time by density, and the break-even density: 2 means that the sparse
operation takes half as long. Medians over turns, CPU time of one thread, with the time of a
`tf.function` in both. `dense` is the better of TensorFlow's own operation and XLA
(`jit_compile=True`), in ms. The kernel does not change from call to call, as in a prediction.
"""


def main() -> None:
    """Measures what is missing and writes the table."""
    arguments = options.parser_of_cells(__doc__, "few_rows").parse_args()
    turns.limit_threads(1)
    known = {(*one["size"], one["rows"]) for one in records.read(arguments.cells)}
    for size in SIZES:
        for rows in ROWS:
            if (*size, rows) not in known:
                cell = {"size": size, "rows": rows, "seconds": seconds(size, rows)}
                records.add(arguments.cells, cell)
    cells = records.finished(arguments.cells)
    text = report.header("Dense layers of few rows", COMMAND, records.circumstances(cells)) + NOTE
    columns = ("layer", "rows", "dense", *map(str, DENSITIES), "break-even")
    table = report.table(columns, [_row(cell) for cell in cells])
    report.write(arguments.output, f"{text}\n{table}")


def seconds(size: tuple[int, int], rows: int) -> dict[str, list[float]]:
    """Turn by turn, of ``TF``, ``XLA``, and of the custom op at each density."""
    from benchmarks.op_contenders import Layer, at_densities

    contenders = at_densities(Layer(1, *size, 0, rows), DENSITIES, forward_only=True)
    for contender in contenders.values():
        for _ in range(3):  # from the third on, the op reads no kernel
            contender()
    return turns.take_turns(contenders, 7, turns.clock_for(1))


def _row(cell: dict[str, Any]) -> tuple[object, ...]:
    from keras_sparse.commands.break_even_fit import break_even_density

    measured = cell["seconds"]
    best = min(("TF", "XLA"), key=lambda name: statistics.median(measured[name]))
    ratios = {density: turns.ratio(measured[best], measured[str(density)]) for density in DENSITIES}
    even = break_even_density({density: 1 / ratio for density, ratio in ratios.items()})
    milliseconds = f"{1e3 * statistics.median(measured[best]):.2f} {best}"
    name = "dense {} > {}".format(*cell["size"])
    return name, cell["rows"], milliseconds, *(f"{r:.2f}" for r in ratios.values()), f"{even:.2f}"


if __name__ == "__main__":
    main()
