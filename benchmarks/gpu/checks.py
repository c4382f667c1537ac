"""Checks every kernel against double precision, with poison where nothing may be read or kept."""

import contextlib
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
MOST_REHEARSED_BLOCKS = (
    1500  # times pixels: Triton's interpreter takes milliseconds for each operation
)


def run(work: Work, for_tools: bool = False) -> None:
    """Runs all cases.

    Args:
        work: what every stage gets.
        for_tools: a few cases, in memory that compute-sanitizer watches, and nothing else on the
            GPU.
    """
    guard = 0 if for_tools else GUARD
    torch.backends.cudnn.benchmark = (
        False  # each shape comes once: a search would take longer than the rest
    )
    for case in FOR_TOOLS if for_tools else all_cases(work.rehearse):
        for arithmetic in ARITHMETIC:
            for integers in (True,) if for_tools or work.rehearse else (True, False):
                if not work.is_over:
                    _check_case(
                        work,
                        case,
                        arithmetic,
                        integers,
                        guard,
                        "cpu" if for_tools else work.machine.device,
                    )


def _check_case(
    work: Work, case: Case, arithmetic: str, integers: bool, guard: int, where_right: str
) -> None:
    kernels = [
        kernel
        for kernel in ALL_KERNELS
        if kernel.arithmetic == arithmetic and _takes(work, kernel, case)
    ]
    keys = {
        kernel: f"check/{kernel.name}/{case.name}/{'integers' if integers else 'normal'}"
        for kernel in kernels
    }
    if all(
        work.journal.is_done(f"{key}/{PRODUCTS[-1]}") and work.journal.is_done(f"{key}/in a row")
        for key in keys.values()
    ):
        return
    generator = torch.Generator().manual_seed(sum(case.sizes))
    operands = random_operands(case.sizes, arithmetic, work.machine.device, generator, integers)
    mask = mask_like(case.mask, case.sizes, case.density, generator).to(work.machine.device)
    expected = right_products(operands, mask, where_right)
    if integers:  # float64 is exact, but an algorithm of cuDNN's need not be
        expected = {product: values.round() for product, values in expected.items()}
    operands = operands.with_kernel(operands.kernel.masked_fill(~mask, float("nan")))
    for kernel, key in keys.items():
        for product in PRODUCTS:
            if (
                not work.journal.is_done(f"{key}/{product}")
                and culprit_of(kernel, product) not in work.journal.broken
            ):
                work.attempt(
                    f"{key}/{product}",
                    culprit_of(kernel, product),
                    lambda k=kernel, p=product: _alone(work, k, p, operands, mask, expected, guard),
                )
        if not work.journal.is_done(f"{key}/in a row") and not any(
            culprit_of(kernel, product) in work.journal.broken for product in PRODUCTS
        ):
            work.attempt(
                f"{key}/in a row",
                culprit_of(kernel, "in a row"),
                lambda k=kernel: _in_a_row(work, k, operands, mask, expected, guard),
            )


def _takes(work: Work, kernel: Kernel, case: Case) -> bool:
    if (
        work.rehearse
        and kernel.in_blocks
        and case.sizes.multiplications > MOST_REHEARSED_BLOCKS * int(kernel.block) ** 2
    ):
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
    if of_integers:
        wrong = int(
            (result != expected.to(type_of(kernel.arithmetic))).sum()
        )  # NaN is not equal to itself
        return (
            ("wrong", {"why": f"{wrong} of {result.numel()} values"})
            if wrong
            else ("right", {"error": 0.0})
        )
    error = error_of(result, expected)
    return (
        ("right", {"error": error})
        if error <= tolerance(kernel)
        else ("wrong", {"why": f"error {error:.1e}", "error": error})
    )
