"""Measures the peak rates of this GPU: a copy, and matrix products of random numbers."""

import torch

from benchmarks.gpu.attempts import Outcome, Work
from benchmarks.gpu.machine import multiply_float32_in, take_turns
from benchmarks.gpu.operands import type_of

COPY_BYTES = 4 << 30
SIDE = 8192
TURNS = 15
ARITHMETIC = ("bfloat16", "float16", "tensorfloat32", "float32")


def run(work: Work) -> None:
    """Notes bytes and operations in a second."""
    work.attempt("ceiling/copy", "copy", lambda: _copy(work))
    for arithmetic in ARITHMETIC:
        work.attempt(f"ceiling/{arithmetic}", arithmetic, lambda a=arithmetic: _product(work, a))


def _copy(work: Work) -> Outcome:
    """Bytes read plus bytes written."""
    number = (1 << 20 if work.rehearse else COPY_BYTES) // 4
    source = torch.randn(number, device=work.machine.device)
    target = torch.empty_like(source)
    seconds = take_turns(work.machine, {"copy": lambda: target.copy_(source)}, TURNS)["copy"][0]
    rate = 2 * 4 * number / seconds
    print(f"  copy: {rate / 1e9:.0f} GB/s, bytes read plus bytes written", flush=True)
    return "right", {"rate": rate}


def _product(work: Work, arithmetic: str) -> Outcome:
    """Multiplications and additions."""
    multiply_float32_in(arithmetic == "tensorfloat32")
    side = 128 if work.rehearse else SIDE
    device, type_ = work.machine.device, type_of(arithmetic)
    a, b = (torch.randn(side, side, device=device).to(type_) for _ in range(2))
    for _ in range(3):
        torch.matmul(a, b)
    seconds = take_turns(work.machine, {"product": lambda: torch.matmul(a, b)}, TURNS)["product"][0]
    rate = 2 * side**3 / seconds
    print(f"  {arithmetic} product of {side} x {side}: {rate / 1e12:.0f} TFLOP/s", flush=True)
    return "right", {"rate": rate}
