"""A table of break-even densities: up to which density the custom op is faster, on one processor.

It is a JSON file. ``tables/`` has those of the library; ``python -m keras_sparse tune`` measures
and writes that of the user's machine, and ``tuned.py`` says which of them counts.

A call and each weight cost the same for few output positions as for many, and save less. So the
break-even density falls as positions become fewer. Products of few rows with a kernel that nobody
trains have a row of their own: the dense operation reads the whole kernel for any number of rows.

A product has a second row, ``TRAINED``, where the dense operation's kernel gradient is slower than
the product itself. It holds for training steps whose missing weights get no gradient.

A row ``OPEN`` says who computes the kernel gradient of all weights, while a growth window is open.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras import ops

from keras_sparse.rules.paths import check_writable

FORMAT = 1  # of the file; a file of another format is not read
FEW_ROWS = "few rows"  # the kind of matrix products of up to 16 rows whose kernel nobody trains
TRAINED = "trained "  # before a kind: with both gradients, the kernel's of active weights alone
OPEN = "open "  # before a kind: the kernel gradient alone, of all weights
Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Row:
    """The break-even densities of one kind of product.

    Attributes:
        kind: ``"convolution"``, ``"dilated convolution"``, ``"1x1 convolution"``, ``"matmul"``,
            each of them behind ``"trained "`` or ``"open "``, or ``"few rows"``.
        dtype: of inputs and kernel, e.g. "float32".
        structure: of the masks: ``"weights"`` or ``"blocks"``, small ones.
        density: the break-even at infinitely many output positions, for few rows that of a very
            large kernel; 0: the custom op never wins. Of an open kind 1 or 0: does the custom op
            compute the gradient of all weights faster than the stock operation?
        half_positions: the output positions at which it is about half of ``density``; few rows
            have 0.
        call_multiply_adds: dense multiply-adds that take the time of a call of the custom op.
        min_multiply_adds: with fewer dense ones the choice itself, in a graph, costs what is
            gained.
        half_weights: ``half_positions`` holds for kernels of this many weights or more. For smaller
            ones it falls with the root of the weights, down to a third. 0: it holds for all.
        narrow: outputs in a row of an image, times ``density``, where narrow ones raise it: the
            density is ``narrow / width`` if this is more, and 1 at most.
    """

    kind: str
    dtype: str
    structure: str
    density: float
    half_positions: float
    call_multiply_adds: float
    min_multiply_adds: float
    half_weights: float = 0
    narrow: float = 0

    @property
    def key(self) -> Key:
        """What the row is about."""
        return self.kind, self.dtype, self.structure

    def min_positions(self, weights: int) -> float:
        """The output positions from which on the op may be faster for a kernel of this size."""
        return self.min_multiply_adds / max(1, weights)

    def at(self, weights: int, positions: Any, width: float = math.inf) -> Any:
        """The break-even density, 0 or less where the custom op never wins.

        Args:
            weights: of the kernel, active or not.
            positions: outputs of one channel: a number, or a float32 tensor.
            width: outputs in a row of an image; infinity where it is not known.

        >>> row = Row("matmul", "float32", "weights", 0.5, 180, 2e6, 4e6)
        >>> row.at(10**6, 1.0), row.at(10**6, 182.0), row.at(10**6, math.inf)
        (0.0, 0.2486, 0.5)
        >>> Row("few rows", "float32", "weights", 0.5, 0, 2e6, 4e6).at(8 * 10**6, 1)
        0.375
        >>> row = Row("matmul", "float32", "weights", 0.5, 180, 2e6, 4e6, half_weights=4e6)
        >>> row.at(10**6, 92.0), row.at(16 * 10**6, 181.0)
        (0.247, 0.249)
        >>> row = Row("trained convolution", "bfloat16", "blocks", 0.24, 0, 2e6, 4e6, narrow=3.6)
        >>> row.at(10**6, math.inf, 32), row.at(10**6, math.inf, 8), row.at(10**6, math.inf, 2)
        (0.24, 0.45, 1.0)
        """
        if self.kind == FEW_ROWS:
            return self._of_few_rows(weights)
        least = self.min_positions(weights)
        most = min(1.0, max(self.density, self.narrow / width))
        if not isinstance(positions, int | float):
            return ops.where(positions >= least, most * self._share(weights, positions), 0.0)
        if math.isinf(positions):
            return most
        return 0.0 if positions < least else most * self._share(weights, positions)

    def _of_few_rows(self, weights: int) -> float:
        if weights < self.min_multiply_adds:
            return 0.0
        return self.density * (1 - self.call_multiply_adds / weights)

    def _share(self, weights: int, positions: Any) -> Any:
        """What is left of the density at infinitely many positions."""
        of_a_call = max(1, self.call_multiply_adds / max(1, weights))  # in positions
        return (positions - of_a_call) / (positions + self._half(weights))

    def _half(self, weights: int) -> float:
        if self.half_weights == 0:
            return self.half_positions
        part = math.sqrt(weights / self.half_weights)
        return self.half_positions * min(1.0, max(1 / 3, part))


@dataclasses.dataclass(frozen=True)
class Table:
    """The break-even densities of one processor.

    Attributes:
        processor: its name.
        threads: that TensorFlow computed with.
        tensorflow: its version.
        keras_sparse: the version of the library.
        date: of the measurement, "2026-11-25".
        rows: {(kind, dtype, structure): row}.
    """

    processor: str
    threads: int
    tensorflow: str
    keras_sparse: str
    date: str
    rows: Mapping[Key, Row]

    def text(self) -> str:
        """The contents of its file."""
        rows = [dataclasses.asdict(row) for row in self.rows.values()]
        facts = {name: getattr(self, name) for name in FACTS}
        return json.dumps({"format": FORMAT, **facts, "rows": rows}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all; creates its folder."""
        check_writable(path)
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(self.text())
        unfinished.replace(path)


FACTS = {"processor": str, "threads": int, "tensorflow": str, "keras_sparse": str, "date": str}
TEXTS = ("kind", "dtype", "structure")
NUMBERS = (
    *("density", "half_positions", "call_multiply_adds", "min_multiply_adds"),
    *("half_weights", "narrow"),
)


def load(path: Path) -> Table:
    """Reads the file of a table.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no table of this format; the message says what is wrong.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    _require(isinstance(read, dict) and "format" in read, "it is no table of break-even densities")
    _require(read["format"] == FORMAT, f"its format is {read['format']!r}, not {FORMAT}")
    for name, kind in FACTS.items():
        _require(_is(read.get(name), kind), f"its {name!r} is {read.get(name)!r}")
    _require(isinstance(read.get("rows"), list), "it has no list of rows")
    rows = [_row(row) for row in read["rows"]]
    _require(len({row.key for row in rows}) == len(rows), "two of its rows are about the same")
    return Table(**{name: read[name] for name in FACTS}, rows={row.key: row for row in rows})


def _row(read: Any) -> Row:
    _require(isinstance(read, dict), f"one of its rows is {read!r}")
    for name in TEXTS:
        _require(_is(read.get(name), str), f"{name!r} of a row is {read.get(name)!r}")
    read = {"half_weights": 0, "narrow": 0, **read}  # earlier tables lack them
    for name in NUMBERS:
        value, most = read.get(name), 1 if name == "density" else math.inf
        is_number = _is(value, int) or _is(value, float)
        is_in_range = is_number and 0 <= value <= most and math.isfinite(value)
        _require(is_in_range, f"{name!r} of a row is {value!r}")
    return Row(**{name: read[name] for name in (*TEXTS, *NUMBERS)})


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _require(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise ValueError(otherwise)
