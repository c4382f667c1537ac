"""Says which table of break-even densities this process uses: the user's own, or a shipped one.

``python -m keras_sparse tune`` writes the user's table into the cache folder, under the name of
the processor: machines that share a home folder have a table each. The variable
KERAS_SPARSE_TUNING names another file; its value ``shipped`` leaves all of them aside.
"""

import dataclasses
import functools
import os
import re
import sys
import warnings
from pathlib import Path

from keras_sparse.compute import break_even
from keras_sparse.compute.break_even import Row, Table
from keras_sparse.compute.library import tensorflow_version
from keras_sparse.compute.processor import instructions, processor

VARIABLE = "KERAS_SPARSE_TUNING"
SHIPPED = "shipped"
FOLDER = Path(__file__).parent / "tables"
# All were measured, each on one processor. Elsewhere they are a guess until `tune` runs.
SHIPPED_TABLE = FOLDER / "zen5.json"
SHIPPED_WITH_AMX = FOLDER / "intel_amx.json"
SHIPPED_WITH_AVX2 = FOLDER / "zen3.json"  # and without AVX-512


@dataclasses.dataclass(frozen=True)
class Tables:
    """The tables that count.

    Attributes:
        name: what ``summary`` calls them: "tuned 2026-11-26 on this machine".
        tuned: the user's; None without.
        shipped: that of the library, for products that the user's lacks.
    """

    name: str
    tuned: Table | None
    shipped: Table

    def row(self, kind: str, dtype: str, structure: str) -> Row:
        """The break-even densities of one kind of product.

        Blocks that nobody measured have the row of single weights. Other products that nobody
        measured have a row of density 0: the stock operation computes them.
        """
        tables = [table for table in (self.tuned, self.shipped) if table is not None]
        for key in ((kind, dtype, structure), (kind, dtype, "weights")):
            for table in tables:
                if key in table.rows:
                    return table.rows[key]
        return Row(kind, dtype, structure, *(0.0,) * 4)


@functools.cache
def tables() -> Tables:
    """The tables of this process, read once. A user's table that does not fit gives a warning."""
    own, asked = shipped(), os.environ.get(VARIABLE)
    name = f"shipped, {own.processor}"
    if asked == SHIPPED:
        return Tables(name, None, own)
    try:
        path = Path(asked) if asked else file_of_this_machine()
        tuned = break_even.load(path)
        if (why := why_not(tuned)) is not None:
            raise ValueError(why)
    except FileNotFoundError as error:
        if asked:
            _warn(asked, str(error.strerror))
        return Tables(name, None, own)
    except (OSError, ValueError) as error:
        _warn(str(path), str(error))
        return Tables(name, None, own)
    return Tables(f"tuned {tuned.date} on this machine", tuned, own)


def shipped() -> Table:
    """The table of the library, of a processor with the same vectors and matrices."""
    found = instructions()
    if found & {"amx_bf16", "amx_fp16"}:  # dense products of 16 bits are many times as fast
        return break_even.load(SHIPPED_WITH_AMX)
    if "avx2" in found and "avx512f" not in found:
        return break_even.load(SHIPPED_WITH_AVX2)
    return break_even.load(SHIPPED_TABLE)


def file_of_this_machine() -> Path:
    """Where ``tune`` writes the table: in $XDG_CACHE_HOME or ~/.cache.

    Raises:
        FileNotFoundError: this user has no home folder.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise FileNotFoundError(f"no home folder: {error}") from error
    name = re.sub(r"[^a-z0-9]+", "_", processor().lower()).strip("_")
    return cache / "keras_sparse" / f"tuned_{name}.json"


def why_not(tuned: Table) -> str | None:
    """Why the user's table does not hold here, or None."""
    if tuned.processor != processor():
        return f"it was measured on {tuned.processor}, and this is {processor()}"
    if tuned.keras_sparse != (now := library_version()):
        return f"it was measured with keras_sparse {tuned.keras_sparse}, and this is {now}"
    if tuned.tensorflow != (now := tensorflow_version()):
        return f"it was measured with TensorFlow {tuned.tensorflow}, and this is {now}"
    return None


def library_version() -> str:
    """The version of keras_sparse."""
    return str(sys.modules["keras_sparse"].__version__)


def _warn(path: str, why: str) -> None:
    warnings.warn(
        f"{path} is not used: {why}. Break-even densities are those that keras_sparse ships. "
        f"`python -m keras_sparse tune` measures them again; {VARIABLE}={SHIPPED} ends this "
        "warning.",
        stacklevel=2,
    )
