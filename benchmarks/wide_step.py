"""Times whole training steps of wide dense layers against the best dense step, in turns.

    python -m benchmarks.wide_step
    python -m benchmarks.wide_step --models MLP-1024 --densities 0.05 --turns 3    # a try

The networks have two hidden layers of 1024 or 4096 units over 3072 inputs. A step is forward and
backward passes and the step of SGD with momentum.
"""

import argparse
import statistics

from benchmarks import options, report, turns
from benchmarks.step_contenders import Case, Training, windowed

COMMAND = "python -m benchmarks.wide_step"
NOTE = """\
Time of the best dense step over that of the sparse step: 2 means that the sparse step takes half as
long. Medians over turns; CPU time for one thread, wall time for more. `dense` is the better of
plain Keras and XLA (`jit_compile=True`), in ms. Uniform masks of single weights. `closed` and
`open` are the growth window.
"""


def main() -> None:
    """Measures each model, prints and writes the table."""
    arguments = _arguments()
    turns.limit_threads(arguments.threads)
    columns = ("model", "dense", "window", *(f"{density:g}" for density in arguments.densities))
    rows = [row for model in arguments.models for row in rows_of(model, arguments)]
    header = report.header("Whole training steps of wide dense layers", report.as_typed(COMMAND))
    settings = f"Threads: {arguments.threads}. Batch: {arguments.batch}."
    text = f"{header}{NOTE}\n{settings}\n\n{report.table(columns, rows)}"
    report.publish(arguments.output, text)


def rows_of(model: str, arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row for the closed window, and one for the open one."""
    cases = [
        Case(model, arguments.batch, density, arguments.threads, trained=False)
        for density in arguments.densities
    ]
    dense = {
        name: Training(cases[0], sparse=False, jit_compile=name == "XLA") for name in ("TF", "XLA")
    }
    steps = {name: training.step for name, training in dense.items()}
    for case in cases:
        training = Training(case, sparse=True)
        for window in ("closed", "open"):
            steps[f"{window} {case.density}"] = windowed(training, window == "open")
    for step in steps.values():
        step()
    seconds = turns.take_turns(steps, arguments.turns, turns.clock_for(arguments.threads))
    best = min(dense, key=lambda name: statistics.median(seconds[name]))
    first = f"{1000 * statistics.median(seconds[best]):.1f} {best}"
    return [
        (
            model,
            first,
            window,
            *tuple(
                f"{turns.ratio(seconds[best], seconds[f'{window} {case.density}']):.2f}"
                for case in cases
            ),
        )
        for window in ("closed", "open")
    ]


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "wide_step.md")
    add = parser.add_argument
    add("--models", nargs="+", default=["MLP-1024", "MLP-4096"])
    add("--batch", type=int, default=128)
    add("--densities", type=float, nargs="+", default=[0.2, 0.1, 0.05, 0.02])
    add("--threads", type=int, default=1)
    add("--turns", type=int, default=11)
    return parser.parse_args()


if __name__ == "__main__":
    main()
