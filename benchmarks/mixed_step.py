"""Times training steps in float32 and in `mixed_bfloat16`, dense and sparse, in turns.

    python -m benchmarks.mixed_step              # WRN-16-4
    python -m benchmarks.mixed_step --models WRN-10-1 --turns 2    # to try it out

All contenders take turns in one process. Sparse steps have the growth window closed. "stock" is a
sparse model whose layers run Keras' operations.
"""

import argparse
import statistics

from benchmarks import options, report, turns

COMMAND = "python -m benchmarks.mixed_step"
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
CONTENDERS = ("dense", "dense, fused normalization", "sparse, stock", "sparse")
NOTE = """\
Seconds of a training step, medians over turns, and in brackets how many times as fast as the dense
float32 step. CPU time for one thread, wall time for more. Uniform masks, growth window closed.
"""


def main() -> None:
    """Measures each model, prints and writes the table."""
    arguments = _arguments()
    turns.limit_threads(arguments.threads)
    columns = ("model, density", "dtype", *CONTENDERS)
    rows = [row for model in arguments.models for row in rows_of(model, arguments)]
    header = report.header("Training steps in bfloat16", report.as_typed(COMMAND))
    report.publish(arguments.output, f"{header}{NOTE}\n{report.table(columns, rows)}")


def rows_of(model: str, arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row for each dtype."""
    from benchmarks.step_contenders import Case, Training

    case = Case(model, arguments.batch, arguments.density, arguments.threads, trained=False)
    trainings = {
        (dtype, name): Training(
            case,
            sparse=name.startswith("sparse"),
            fused_normalization=name.endswith("normalization"),
            policy=policy,
            implementation="stock" if name.endswith("stock") else "auto",
        )
        for dtype, policy in DTYPES.items()
        for name in CONTENDERS
    }
    for (_, name), training in trainings.items():
        if name.startswith("sparse"):
            training.open_window(False)
    steps = {key: training.step for key, training in trainings.items()}
    for step in steps.values():
        step()
    seconds = turns.take_turns(steps, arguments.turns, turns.clock_for(arguments.threads))
    dense = seconds["float32", "dense"]

    def cell(key: tuple[str, str]) -> str:
        return f"{statistics.median(seconds[key]):.3f} ({turns.ratio(dense, seconds[key]):.2f})"

    name = f"{model}, batch {arguments.batch}, {arguments.density:g}"
    return [(name, dtype, *(cell((dtype, who)) for who in CONTENDERS)) for dtype in DTYPES]


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "mixed_step.md")
    add = parser.add_argument
    add("--models", nargs="+", default=["WRN-16-4"])
    add("--batch", type=int, default=64)
    add("--density", type=float, default=0.05)
    add("--threads", type=int, default=1)
    add("--turns", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
