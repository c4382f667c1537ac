"""Reads seconds and outcome of every contender from the journal."""

from typing import Any

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.layers import PRODUCTS, Layer, all_layers
from benchmarks.gpu.library import ALL_KERNELS

Block = int | str
BYTES_OF_TYPE = {"bfloat16": 2, "float16": 2, "float32": 4, "tensorfloat32": 4}


class Results:
    """Reads the notes of a journal."""

    def __init__(self, journal: Journal, rehearse: bool) -> None:
        self.journal, self.rehearse = journal, rehearse
        self.layers = all_layers(rehearse)
        self.groups = {
            (n["layer"], n["arithmetic"], n["product"]): n
            for n in journal.of("time/")
            if "contenders" in n
        }
        facts = journal.notes.get("facts", {})
        self.facts = {k: str(v) for k, v in facts.items() if k not in ("key", "status")}
        self.rates: dict[str, float] = {
            n["key"].split("/")[1]: n["rate"] for n in journal.of("ceiling/") if "rate" in n
        }

    def state(
        self, layer: Layer, arithmetic: str, product: str, block: Block, density: float
    ) -> dict[str, Any]:
        """Of one contender: its status, and seconds if it was timed."""
        group = self.groups.get((layer.name, arithmetic, product))
        if group is None:
            key = f"time/{layer.name}/{arithmetic}/{product}"
            note = self.journal.notes.get(key, {"status": "out of time"})
            return {"status": note["status"], "why": note.get("why")}
        return group["contenders"].get(f"{block} {density}", {"status": "left out"})

    def dense(self, layer: Layer, arithmetic: str, product: str) -> float | None:
        group = self.groups.get((layer.name, arithmetic, product))
        return group and group["dense_seconds"]

    def status(self, layer: Layer, arithmetic: str, block: Block, density: float) -> str:
        """Of all three products: the worst."""
        statuses = {
            self.state(layer, arithmetic, product, block, density)["status"] for product in PRODUCTS
        }
        worst_first = ("failed", "wrong", "left out", "out of time")
        return next((status for status in worst_first if status in statuses), "right")

    def dense_step(self, layer: Layer, arithmetic: str) -> float | None:
        """Seconds of all three products; None if one is missing."""
        return _sum([self.dense(layer, arithmetic, product) for product in PRODUCTS])

    def step(self, layer: Layer, arithmetic: str, block: Block, density: float) -> float | None:
        """The same of a kernel, if all are right."""
        if self.status(layer, arithmetic, block, density) != "right":
            return None
        states = [self.state(layer, arithmetic, name, block, density) for name in PRODUCTS]
        return _sum([state.get("seconds") for state in states])

    def ratio(self, layer: Layer, arithmetic: str, block: Block, density: float) -> float | None:
        """Dense time over sparse time, of all three products."""
        dense = self.dense_step(layer, arithmetic)
        sparse = self.step(layer, arithmetic, block, density)
        return dense / sparse if dense and sparse else None

    def share_of_bound(
        self, layer: Layer, arithmetic: str, product: str, block: Block, density: float
    ) -> float | None:
        """The time in which a copy moves what must be moved, over the time that was taken."""
        state = self.state(layer, arithmetic, product, block, density)
        if "seconds" not in state or "copy" not in self.rates:
            return None
        moved = layer.bytes(product, state["density"], BYTES_OF_TYPE[arithmetic])
        return moved / self.rates["copy"] / state["seconds"]

    def check_counts(self) -> dict[str, dict[str, int]]:
        """Kernel -> status -> how many checks."""
        counts: dict[str, dict[str, int]] = {}
        for note in self.journal.of("check/"):
            of_kernel = counts.setdefault(note["key"].split("/")[1], {})
            of_kernel[note["status"]] = of_kernel.get(note["status"], 0) + 1
        return counts

    def unchecked(self) -> list[str]:
        """Kernels that no check ran: they are not in the library, or time was over."""
        return [kernel.name for kernel in ALL_KERNELS if kernel.name not in self.check_counts()]

    def problems(self) -> list[dict[str, Any]]:
        """All that was wrong or failed."""
        notes = self.journal.notes.values()
        return [note for note in notes if note["status"] in ("wrong", "failed")]


def _sum(seconds: list[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None


def blocks_of(arithmetic: str) -> tuple[Block, ...]:
    return ("channel_pairs", "weights") if arithmetic == "float32" else (32, 64, 16)
