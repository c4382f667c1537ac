"""Describes the machine and the versions of a measurement, and writes Markdown tables."""

import datetime
import importlib.metadata
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("tensorflow", "keras", "numpy")


def versions(packages: Sequence[str] = PACKAGES) -> str:
    """Of Python and of these packages."""
    words = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *words])


def circumstances(device: str | None = None, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """When, where and with what a result is measured now.

    Args:
        device: that computes; None: the processor.
        packages: whose versions count.
    """
    date = datetime.date.today().isoformat()
    return {"date": date, "machine": device or machine(), "versions": versions(packages)}


def gpu() -> str | None:
    """The name of the first GPU that TensorFlow sees."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(one) for one in gpus]
    return details[0]["device_name"] if details else None


def header(title: str, command: str, measured: Mapping[str, str] | None = None) -> str:
    """How a file of results begins: what, when, where, and the command that prints it.

    Args:
        title: of the file.
        command: as a reader would type it.
        measured: the circumstances of results that were measured earlier; None: now.
    """
    facts = {**(measured or circumstances()), "command": f"`{command}`"}
    return "\n".join(
        [
            f"# {title}",
            "",
            *(f"- {key.capitalize()}: {value}" for key, value in facts.items()),
            "",
            "",
        ]
    )


def as_typed(command: str) -> str:
    """The command, with the arguments that this program was given."""
    return " ".join([command, *sys.argv[1:]])


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, its columns padded so that it reads well in a terminal, too."""
    cells = [list(map(str, row)) for row in (columns, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    # The first column names things, all others are figures.
    sides = ["<", *[">"] * (len(columns) - 1)]
    lines = []
    for row in cells:
        padded = [f"{cell:{side}{n}}" for cell, side, n in zip(row, sides, widths, strict=True)]
        lines.append(f"| {' | '.join(padded)} |")
    ends = {"<": "-", ">": ":"}
    rules = ["-" * (n + 1) + ends[side] for side, n in zip(sides, widths, strict=True)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]]) + "\n"


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of two values or more."""
    return statistics.stdev(values) / len(values) ** 0.5


# Two-sided 95 % quantiles of Student's t distribution for 1 to 30 degrees of freedom.
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def confidence_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of two values or more.

    Of more than 31 values it is a little too wide.

    >>> [round(bound, 2) for bound in confidence_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    half = T_95[min(len(values) - 1, len(T_95)) - 1] * standard_error(values)
    return statistics.mean(values) - half, statistics.mean(values) + half


def mean_and_error(values: Sequence[float], digits: int = 2) -> str:
    """As "mean ± standard error", without the error if there is but one value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {standard_error(values):.{digits}f}" if len(values) > 1 else mean


def publish(path: Path, text: str) -> None:
    """Prints a file of results, and writes it."""
    print(text)
    write(path, text)


def write(path: Path, text: str) -> None:
    """Writes a file of results and says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
