"""Trains dense networks on MNIST by PQuantML, SparseLab and this library: error, time of a step.

    python -m benchmarks.peers --data mnist.npz --contenders Keras keras_sparse
    # in an environment with `pip install 'pquant-ml[tensorflow]' sparselab rich`:
    python -m benchmarks.peers --data mnist.npz --contenders "SparseLab, SET" "PQuantML, PDP"
    python -m benchmarks.peers --table    # only the table of the finished runs

PQuantML needs another TensorFlow than the ops of this library, so each environment makes its runs.
"""

import importlib.metadata
import statistics
from pathlib import Path

from benchmarks import options, records, report
from benchmarks.accuracy_data import parts
from benchmarks.peer_trainings import KERAS, PACKAGES, PYTORCH, Run, milliseconds, train

COMMAND = "python -m benchmarks.peers --table"
NETWORKS = ("300-100", "1024-1024")
KEYS = ("hidden", "density", "images", "epochs", "contender")  # of a row
NOTE = """\
A network of 784 inputs, two hidden layers and 10 outputs on MNIST, with biases. Batch 100, SGD at
0.05 with a momentum of 0.9, float32, one thread. `ms` is CPU time of a training step: the median
over epochs without the first, then over seeds. `error` is the mean test error in % after the last
epoch. It tells of no method, as nobody tuned them: few epochs, one learning rate, no schedule.
SparseLab and keras_sparse update their masks once an epoch. PQuantML has one dense epoch, half of
the epochs with PDP, and the others with fixed masks, so its median is a step with PDP. Its
quantization is off. The contenders ran one after the other on a busy core. An error of 90 % or so
is one of chance. PyTorch runs eager steps, Keras `fit`.
"""


def main() -> None:
    """Makes the runs that are missing, and writes the table."""
    form = options.parser_of_cells(__doc__, "peers")
    form.add_argument("--data", type=Path, help="mnist.npz")
    form.add_argument("--contenders", nargs="+", choices=PYTORCH + KERAS, default=[])
    form.add_argument("--network", choices=NETWORKS, default="300-100")
    form.add_argument("--density", type=float, default=0.05)
    form.add_argument("--images", type=int, default=60_000)
    form.add_argument("--epochs", type=int, default=10)
    form.add_argument("--seeds", type=int, default=3)
    form.add_argument("--table", action="store_true")
    given = form.parse_args()
    if not given.table:
        training, _, test = parts("mnist", given.data, given.images)
        for contender in given.contenders:
            density = 1.0 if contender in ("Keras", "PyTorch") else given.density
            shape = given.network, density, given.images, given.epochs
            for run in (Run(contender, *shape, seed) for seed in range(given.seeds)):
                records.complete(given.cells, [run], lambda run: _result(run, training, test))
    _write(records.finished(given.cells), given.output)


def _result(run: Run, training: object, test: object) -> records.Record:
    package = PACKAGES.get(run.contender.partition(",")[0])
    version = {"version": importlib.metadata.version(package)} if package else {}
    return {**train(run, training, test), **version}


def _write(found: list[records.Record], output: Path) -> None:
    columns = ("contender", "network", "density", "seeds", "images", "epochs", "error", "ms")
    groups: dict[tuple[object, ...], list[records.Record]] = {}
    for record in found:
        key = tuple(record[name] for name in KEYS)
        groups.setdefault(key, []).append(record)
    rows = [_row(*key, group) for key, group in sorted(groups.items(), key=_order)]
    facts = {key: "; ".join(_all(found, key)) for key in ("date", "machine", "versions")}
    header = report.header("Beside PQuantML and SparseLab", COMMAND, facts)
    report.publish(output, f"{header}{NOTE}\n{report.table(columns, rows)}")


def _order(item: tuple[tuple[object, ...], object]) -> tuple[object, ...]:
    """Small networks first, then the densities, then the contenders as they are listed."""
    hidden, density, images, epochs, contender = item[0]
    return NETWORKS.index(hidden), -density, images, epochs, (PYTORCH + KERAS).index(contender)


def _row(
    hidden: str, density: float, images: int, epochs: int, name: str, group: list[records.Record]
) -> tuple[str, ...]:
    reached = statistics.fmean(record["reached"] for record in group)
    error = statistics.fmean(record["error"] for record in group)
    time = statistics.median(map(milliseconds, group))
    versions = " ".join(sorted({record["version"] for record in group if "version" in record}))
    return (
        *(f"{name} {versions}".strip(), hidden, f"{reached:.3f}", str(len(group)), f"{images:,}"),
        *(str(epochs), f"{error:.2f}", f"{time:.2f}"),
    )


def _all(found: list[records.Record], key: str) -> list[str]:
    return sorted({record["measured"][key] for record in found})


if __name__ == "__main__":
    main()
