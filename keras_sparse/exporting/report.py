"""What an export has written: density, sizes dense and sparse, and how its predictions differ."""

import dataclasses
from pathlib import Path
from typing import Any

import rich.console
import rich.table

from keras_sparse.conversion.terminal import plain_console
from keras_sparse.exporting.litert_layers import LayerSpeed
from keras_sparse.models.file_report import Sizes
from keras_sparse.models.summary_table import WIDTH_OF_A_LOG


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What ``export`` returns; ``str`` and ``print`` show tables.

    Attributes:
        path: what was written.
        format: its format.
        dtype: what its weights are stored in.
        density: active / all masked weights; None for a model without kernels.
        tolerance: the largest difference that is no error.
        runtime: what has read it, with its version.
        difference: the largest difference of its predictions from the model's, relative to the
            largest prediction, or to 1 if that is larger.
        sizes: bytes of its files, as they are and zipped.
        dense_sizes: the same for the same model without zeros; None: not measured.
        layers: for litert: each layer's storage, and whether it is faster than dense where.
        notes: what else there is to know, one sentence each.
    """

    path: Path
    format: str
    dtype: str
    density: float | None
    tolerance: float
    runtime: str
    difference: float
    sizes: Sizes
    dense_sizes: Sizes | None = None
    layers: tuple[LayerSpeed, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The attributes, for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def print_to(self, console: rich.console.Console) -> None:
        """Prints tables and sentences."""
        title = f"{self.path}: {self.format}, {self.dtype}"
        console.print(title, highlight=False, soft_wrap=True)
        console.print(self._size_table())
        if self.layers:
            console.print(self._layer_table())
        density = "" if self.density is None else f"Density {self.density:.4f}. "
        console.print(
            f"{density}Read back by {self.runtime}: predictions differ by at most "
            f"{self.difference:.1e} of the largest; allowed are {self.tolerance:.0e}.",
            highlight=False,
            soft_wrap=True,
        )
        for note in self.notes:
            console.print(note, highlight=False, soft_wrap=True)

    def _size_table(self) -> rich.table.Table:
        table = rich.table.Table()
        for header in ("", "bytes", "zipped"):
            table.add_column(header, justify="right" if header else "left")
        for name, sizes in (("dense", self.dense_sizes), ("sparse", self.sizes)):
            if sizes is not None:
                table.add_row(name, f"{sizes.bytes:,}", f"{sizes.bytes_zipped:,}")
        return table

    def _layer_table(self) -> rich.table.Table:
        headers = ("layer", "operation", "density", "stored", "faster on x86", "faster on ARM")
        table = rich.table.Table()
        for header in headers:
            table.add_column(header, overflow="fold")  # the end of a path tells layers apart
        for row in self.layers:
            density = f"{row.density:.4f}"
            table.add_row(row.name, row.kind, density, row.stored, row.on_x86, row.on_arm)
        return table

    def __str__(self) -> str:
        console = plain_console(width=WIDTH_OF_A_LOG, color_system=None)
        with console.capture() as captured:
            self.print_to(console)
        return captured.get().rstrip()
