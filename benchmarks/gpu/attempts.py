"""Makes a call that may fail, records its outcome, and does not trust a lost CUDA context."""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.layers import Sizes
from benchmarks.gpu.library import Kernel, Library, Pointers
from benchmarks.gpu.machine import Machine

MOST_PRINTED = 20  # of each status; the rest is in the journal
Outcome = tuple[str, dict[str, Any]]  # a status, and facts


@dataclasses.dataclass(frozen=True)
class Work:
    """What every stage gets."""

    library: Library
    machine: Machine
    journal: Journal
    deadline: float
    rehearse: bool

    @property
    def is_over(self) -> bool:
        return time.time() > self.deadline

    def attempt(self, key: str, culprit: str, call: Callable[[], Outcome]) -> str:
        """The status; "failed" if the call raises. Ends the process if that broke the context."""
        self.journal.begin(key, culprit)
        try:
            status, facts = call()
        except Exception as problem:  # whatever it is: it goes into the table
            text = f"{type(problem).__name__}: {problem}".strip().splitlines()[0]
            status, facts = "failed", {"why": text[:300]}
        try:
            self.machine.synchronize()
            torch.zeros(1, device=self.machine.device)
        except RuntimeError as problem:
            why = facts.get("why") or str(problem).splitlines()[0]
            print(f"  {culprit}: failed: {why}; the context is lost", flush=True)
            facts |= {"why": why, "culprit": culprit, "fatal": True}
            self.journal.note(key, "failed", **facts)
            sys.exit(3)  # journal.CONTEXT_IS_LOST
        self.journal.note(key, status, culprit=culprit, **facts)
        if status in ("wrong", "failed") and self.journal.count(status) <= MOST_PRINTED:
            print(f"  {key}: {status}: {facts.get('why')}", flush=True)
        return status


def culprit_of(kernel: Kernel, product: str) -> str:
    return f"{kernel.name}, {product}"


def prepared(
    work: Work, kernel: Kernel, product: str, sizes: Sizes, tensors: tuple[Tensor, ...]
) -> Callable[[], None]:
    """The call on these five tensors: first, second, mask, result, workspace."""
    pointers = Pointers(*(tensor.data_ptr() for tensor in tensors))
    return work.library.prepare(kernel, product, sizes, pointers, work.machine.stream())
