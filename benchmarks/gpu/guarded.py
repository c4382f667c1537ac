"""One product of a case, ready to run into poisoned memory between two guards."""

import torch
from torch import Tensor

from benchmarks.gpu.attempts import Work, prepared
from benchmarks.gpu.library import Kernel, KernelError
from benchmarks.gpu.operands import (
    Operands,
)

GUARD_BYTE = 0xA5


class Buffer:
    """Memory between two guards; without them if a tool watches the allocations themselves."""

    def __init__(self, size: int, device: str, guard: int) -> None:
        total = guard + max(size, 1) + guard
        self.all = torch.full((total,), GUARD_BYTE, dtype=torch.uint8, device=device)
        self.body = self.all[guard : guard + max(size, 1)]
        self.guard = guard

    def typed(self, type_: torch.dtype, shape: torch.Size) -> Tensor:
        return self.body.view(type_).view(shape)

    def check(self, what: str) -> None:
        """KernelError if a guard was written over."""
        end = self.all.numel() - self.guard
        for side, guard in (("before", self.all[: self.guard]), ("behind", self.all[end:])):
            if not bool((guard == GUARD_BYTE).all()):
                raise KernelError(f"memory {side} the {what} was overwritten")


class Product:
    """One product of a case, ready to run into poisoned memory."""

    def __init__(
        self,
        work: Work,
        kernel: Kernel,
        product: str,
        operands: Operands,
        mask: Tensor,
        guard: int,
        workspace: Buffer | None = None,
    ) -> None:
        first, second = operands.first_and_second(product)
        self.type, self.shape = first.dtype, operands.result_shape(product)
        device, needed = first.device.type, work.library.workspace(kernel, product, operands.sizes)
        self.result = Buffer(self.shape.numel() * self.type.itemsize, device, guard)
        self.workspace = workspace or Buffer(needed, device, guard)
        self.operands = (first, second, mask)  # kept alive
        tensors = (*self.operands, self.result.body, self.workspace.body)
        self.run = prepared(work, kernel, product, operands.sizes, tensors)

    def poison(self, byte: int) -> None:
        self.result.body.fill_(byte)
        self.workspace.body.fill_(byte)

    def output(self) -> Tensor:
        self.result.check("result")
        self.workspace.check("workspace")
        return self.result.typed(self.type, self.shape)
