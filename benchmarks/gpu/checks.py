"""Checks every kernel against double precision, with poison where nothing may be read or kept."""

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gpu.attempts import Outcome, Work, culprit_of
from benchmarks.gpu.check_cases import FOR_TOOLS, Case, all_cases
from benchmarks.gpu.guarded import Buffer, Product
from benchmarks.gpu.layers import PRODUCTS
from benchmarks.gpu.library import ALL_KERNELS, ARITHMETIC, Kernel
from benchmarks.gpu.operands import (
    Expected,
    Operands,
    error_of,
    mask_like,
    random_operands,
    right_products,
    tolerance,
    type_of,
)

GUARD = 512  # bytes
NAN_BYTE = 0xFF  # all ones are NaN in every type, and -1 where a number is expected
# Times pixels: Triton's interpreter takes milliseconds for each operation.
MOST_REHEARSED_BLOCKS = 1500


def run(work: Work, for_tools: bool = False) -> None:
    """Runs all cases.

    Args:
        work: what every stage gets.
        for_tools: a few cases, in memory that compute-sanitizer watches, and nothing else on the
            GPU.
    """
    guard, where_right = (0, "cpu") if for_tools else (GUARD, work.machine.device)
    # Each shape comes once: a search would take longer than the rest.
    torch.backends.cudnn.benchmark = False
    for case in FOR_TOOLS if for_tools else all_cases(work.rehearse):
        for arithmetic in ARITHMETIC:
            for integers in (True,) if for_tools or work.rehearse else (True, False):
                if not work.is_over:
                    _check_case(work, case, arithmetic, integers, guard, where_right)


def _check_case(
    work: Work, case: Case, arithmetic: str, integers: bool, guard: int, where_right: str
) -> None:
    kernels = [k for k in ALL_KERNELS if k.arithmetic == arithmetic and _takes(work, k, case)]
    numbers = "integers" if integers else "normal"
    keys = {kernel: f"check/{kernel.name}/{case.name}/{numbers}" for kernel in kernels}
    done = work.journal.is_done
    if all(done(f"{key}/{PRODUCTS[-1]}") and done(f"{key}/in a row") for key in keys.values()):
        return
    generator = torch.Generator().manual_seed(sum(case.sizes))
    operands = random_operands(case.sizes, arithmetic, work.machine.device, generator, integers)
    mask = mask_like(case.mask, case.sizes, case.density, generator).to(work.machine.device)
    expected = right_products(operands, mask, where_right)
    if integers:  # float64 is exact, but an algorithm of cuDNN's need not be
        expected = {product: values.round() for product, values in expected.items()}
    operands = operands.with_kernel(operands.kernel.masked_fill(~mask, float("nan")))
    for kernel, key in keys.items():
        common = operands, mask, expected, guard
        culprits = {product: culprit_of(kernel, product) for product in PRODUCTS}
        for product, culprit in culprits.items():
            if not done(f"{key}/{product}") and culprit not in work.journal.broken:
                alone = functools.partial(_alone, work, kernel, product, *common)
                work.attempt(f"{key}/{product}", culprit, alone)
        if not done(f"{key}/in a row") and not work.journal.broken.keys() & {*culprits.values()}:
            in_a_row = functools.partial(_in_a_row, work, kernel, *common)
            work.attempt(f"{key}/in a row", culprit_of(kernel, "in a row"), in_a_row)


def _takes(work: Work, kernel: Kernel, case: Case) -> bool:
    if work.rehearse and kernel.in_blocks:
        most = MOST_REHEARSED_BLOCKS * int(kernel.block) ** 2
        if case.sizes.multiplications > most:
            return False
    return all(work.library.why_not(kernel, product, case.sizes) is None for product in PRODUCTS)


def _alone(
    work: Work,
    kernel: Kernel,
    name: str,
    operands: Operands,
    mask: Tensor,
    expected: Expected,
    guard: int,
) -> Outcome:
    """Once in memory full of NaN, once in memory full of zeros: right, and the same bits."""
    product = Product(work, kernel, name, operands, mask, guard)
    bits = []
    for byte in (NAN_BYTE, 0):
        product.poison(byte)
        product.run()
        work.machine.synchronize()
        bits.append(product.output().clone())
    status, facts = _judge(kernel, bits[0], expected[name], operands)
    if status == "right" and not torch.equal(bits[0].view(torch.uint8), bits[1].view(torch.uint8)):
        return "wrong", {"why": "the second run gave other bits"}
    return status, facts


def _in_a_row(
    work: Work, kernel: Kernel, operands: Operands, mask: Tensor, expected: Expected, guard: int
) -> Outcome:
    """All three products twice, on another stream, in one workspace, and nobody waits."""
    most = max(work.library.workspace(kernel, product, operands.sizes) for product in PRODUCTS)
    workspace = Buffer(most, work.machine.device, guard)
    with _other_stream(work):
        products = {
            name: Product(work, kernel, name, operands, mask, guard, workspace) for name in PRODUCTS
        }
        for product in products.values():
            product.poison(NAN_BYTE)
        for product in (*products.values(), *products.values()):
            product.run()
        work.machine.synchronize()
        for name, product in products.items():
            status, facts = _judge(kernel, product.output(), expected[name], operands)
            if status == "wrong":
                return status, {"why": f"{name}: {facts['why']}"}
    return "right", {}


@contextlib.contextmanager
def _other_stream(work: Work) -> Iterator[None]:
    work.machine.synchronize()
    if work.machine.device == "cpu":
        yield
    else:
        with torch.cuda.stream(torch.cuda.Stream()):
            yield


def _judge(kernel: Kernel, result: Tensor, expected: Tensor, operands: Operands) -> Outcome:
    """Integers to the last bit, other numbers up to rounding."""
    result = result.to(expected.device)  # under a tool, only what is needed runs on the GPU
    of_integers = bool((operands.inputs == operands.inputs.round()).all())
    if of_integers:  # NaN is not equal to itself
        wrong = int((result != expected.to(type_of(kernel.arithmetic))).sum())
        if wrong:
            return "wrong", {"why": f"{wrong} of {result.numel()} values"}
        return "right", {"error": 0.0}
    error = error_of(result, expected)
    if error <= tolerance(kernel):
        return "right", {"error": error}
    return "wrong", {"why": f"error {error:.1e}", "error": error}
