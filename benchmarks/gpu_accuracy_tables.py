"""Makes the tables of gpu_accuracy.py: its finished trainings, and their errors by epoch."""

from collections.abc import Sequence
from typing import Any

from benchmarks import records, report
from benchmarks.records import Record

COMMAND = "python -m benchmarks.gpu_accuracy --data cifar10.npz"
MEANING = """\
All trainings start from random weights and end their whole schedule: batch {batch}, learning rate
{learning_rate} at its highest, mixed_bfloat16. Errors are those of the last epoch; the training
error is the mean of its steps, on moved and mirrored images. `weights-10` is sparse momentum at
10 %, in single weights. `blocks-32-10` is the same in blocks of 32x32 channels of each tap, with a
dense first and last layer. Trainings of a few epochs do not tell what long ones reach. One seed
does not separate differences of tenths of a point. {products}

"""
DENSE = "Products are dense: seconds say nothing about\nsparse kernels."
KERNELS = """`kernels-32-10` trains such
masks by sparse kernels. It has dense weight gradients, of a quarter of the batch, in the last 10
steps of each epoch."""


def tables(lines: Sequence[Record]) -> str:
    """The finished trainings, and the errors by epoch."""
    ended = [line for line in lines if line["epoch"] == line["epochs"]]
    columns = {
        "network": "network",
        "contender": "contender",
        "epochs": "epochs",
        "seed": "seed",
        "density": "density",
        "training_error": "training error %",
        "test_error": "test error %",
        "seconds": "seconds",
    }
    rows = [[line[name] for name in columns] for line in ended]
    text = report.header("Test errors on a GPU", _command(lines), records.circumstances(lines))
    has_kernels = any(line["contender"].startswith("kernels") for line in lines)
    text += MEANING.format(**lines[-1], products=KERNELS if has_kernels else DENSE)
    return f"{text}{report.table([*columns.values()], rows)}\n{_by_epoch(lines)}"


def _command(lines: Sequence[Record]) -> str:
    """That makes these trainings, if all have the same epochs and seeds."""
    words = {
        name: " ".join(dict.fromkeys(str(line[name]) for line in lines))
        for name in ("network", "contender", "epochs", "seed")
    }
    return (
        f"{COMMAND} --network {words['network']} --contenders {words['contender']} "
        f"--epochs {words['epochs']} --seeds {words['seed']}"
    )


def _by_epoch(lines: Sequence[Record]) -> str:
    """Test errors in %, a column for each training."""
    runs: dict[tuple[Any, ...], dict[int, float]] = {}
    for line in lines:
        key = (line["contender"], line["epochs"], line["seed"])
        runs.setdefault(key, {})[line["epoch"]] = line["test_error"]
    epochs = sorted({epoch for errors in runs.values() for epoch in errors})
    columns = ["test error % after epoch", *(f"{name}, seed {seed}" for name, _, seed in runs)]
    rows = [[epoch, *(errors.get(epoch, "") for errors in runs.values())] for epoch in epochs]
    return report.table(columns, rows)
