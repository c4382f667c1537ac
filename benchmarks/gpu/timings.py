"""Times every product of every layer against the dense one.

Contenders take turns in one process: the dense products, and every kernel at every density. Each
call builds the structure of its mask. Each result is first checked at full size, against
PyTorch's in IEEE float32.
"""

import functools
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.gpu import dense
from benchmarks.gpu.attempts import Outcome, Work, culprit_of, prepared
from benchmarks.gpu.layers import DENSITIES, KERNEL_GRADIENT, PRODUCTS, Layer, all_layers
from benchmarks.gpu.library import ALL_KERNELS, ARITHMETIC, Kernel
from benchmarks.gpu.machine import Contender, multiply_float32_in, take_turns
from benchmarks.gpu.operands import Operands, error_of, mask_like, random_operands, tolerance

MOST_TURNS, FEWEST_TURNS = 25, 5
WARM_UP = 3
LONGEST_GROUP = 1.5  # seconds of turns, of one product of one layer
TURNS_SHARE = 0.5  # of the time that is left; checks and cuDNN's searches take the rest

Group = tuple[Layer, str, str]  # layer, arithmetic, product


def run(work: Work) -> None:
    """All groups, the most wanted first, until time is over."""
    groups = list(_groups(work))
    for i, (layer, arithmetic, product) in enumerate(groups):
        key = f"time/{layer.name}/{arithmetic}/{product}"
        if work.journal.is_done(key):
            continue
        if work.is_over:
            work.journal.note(key, "out of time")
            continue
        left = TURNS_SHARE * (work.deadline - time.time())
        seconds = min(LONGEST_GROUP, left / (len(groups) - i))
        group = layer, arithmetic, product
        measured = functools.partial(_measure, work, group, seconds)
        work.attempt(key, f"dense {arithmetic}, {product}", measured)
        if product == PRODUCTS[-1]:
            print(f"  {arithmetic} {layer.name}", flush=True)
            if not work.rehearse:
                torch.cuda.empty_cache()


def _groups(work: Work) -> Iterator[Group]:
    for arithmetic in ARITHMETIC:
        if work.rehearse and arithmetic == "bfloat16":
            continue
        for layer in all_layers(work.rehearse):
            for product in PRODUCTS:
                yield layer, arithmetic, product


def _measure(work: Work, group: Group, seconds: float) -> Outcome:
    layer, arithmetic, product = group
    generator = torch.Generator(work.machine.device).manual_seed(0)
    operands = random_operands(layer.sizes, arithmetic, work.machine.device, generator)
    right = Right(layer, operands, product)
    multiply_float32_in(arithmetic == "tensorfloat32")
    contenders = dict(dense.contenders(layer, operands, product))
    names = list(contenders)
    states: dict[str, dict[str, object]] = {}
    for kernel in (kernel for kernel in ALL_KERNELS if kernel.arithmetic == arithmetic):
        for density in DENSITIES[1:4:2] if work.rehearse else DENSITIES:
            name, mask = f"{kernel.block} {density}", None
            if work.library.why_not(kernel, product, layer.sizes) is None:
                mask = mask_like(kernel.block, layer.sizes, density, generator)
            states[name] = _enter(work, group, kernel, operands, mask, right, contenders, name)
    multiply_float32_in(arithmetic == "tensorfloat32")
    medians = _time(work, contenders, seconds)
    for name, (gpu, started) in medians.items():
        states.setdefault(name, {"status": "right"}).update({"seconds": gpu, "started": started})
    best = min(names, key=lambda name: medians[name][0])
    facts = {"layer": layer.name, "arithmetic": arithmetic, "product": product}
    facts |= {"dense": best, "dense_seconds": medians[best][0]}
    return "right", {**facts, "contenders": states}


def _enter(
    work: Work,
    group: Group,
    kernel: Kernel,
    operands: Operands,
    mask: Tensor | None,
    right: "Right",
    contenders: dict[str, Contender],
    name: str,
) -> dict[str, object]:
    """Runs and checks it once; if it runs it is a contender."""
    layer, _, product = group
    culprit = culprit_of(kernel, product)
    if mask is None:
        return {"status": "left out", "why": work.library.why_not(kernel, product, layer.sizes)}
    if why := work.journal.broken.get(culprit):
        return {"status": "failed", "why": why}
    key = f"run/{layer.name}/{kernel.name}/{name}/{product}"

    def check() -> Outcome:
        return _check(work, kernel, product, operands, mask, right, contenders, name)

    status = work.attempt(key, culprit, check)
    facts = {fact: work.journal.notes[key].get(fact) for fact in ("why", "error", "density")}
    return {"status": status, **facts}


def _check(
    work: Work,
    kernel: Kernel,
    product: str,
    operands: Operands,
    mask: Tensor,
    right: "Right",
    contenders: dict[str, Contender],
    name: str,
) -> Outcome:
    run_it, result = _contender(work, kernel, product, operands, mask)
    run_it()
    work.machine.synchronize()
    error = right.error(result, mask)
    facts = {"error": error, "density": float(mask.double().mean())}
    contenders[name] = run_it
    if error <= tolerance(kernel):
        return "right", facts
    return "wrong", {**facts, "why": f"error {error:.1e} at full size"}


def _contender(
    work: Work, kernel: Kernel, product: str, operands: Operands, mask: Tensor
) -> tuple[Callable[[], None], Tensor]:
    """A call, and where its result lies; all it needs lives as long as the call."""
    first, second = operands.first_and_second(product)
    result = first.new_full(operands.result_shape(product), float("nan"))
    size = max(work.library.workspace(kernel, product, operands.sizes), 1)
    workspace = torch.full((size,), 255, dtype=torch.uint8, device=first.device)
    tensors = (first, second, mask, result, workspace)
    call = prepared(work, kernel, product, operands.sizes, tensors)
    return lambda kept=tensors: call(), result


class Right:
    """The same product by PyTorch in IEEE float32.

    The gradient by the kernel is computed once: its mask comes last.
    """

    def __init__(self, layer: Layer, operands: Operands, product: str) -> None:
        self.layer, self.product = layer, product
        tensors = operands.inputs, operands.kernel, operands.output_gradient
        self.operands = Operands(operands.sizes, *(tensor.float() for tensor in tensors))
        self.gradient = self._compute(self.operands) if product == KERNEL_GRADIENT else None

    def error(self, result: Tensor, mask: Tensor) -> float:
        if self.gradient is not None:
            return error_of(result, self.gradient * mask)
        masked = self.operands.with_kernel(self.operands.kernel * mask)
        return error_of(result, self._compute(masked))

    def _compute(self, operands: Operands) -> Tensor:
        """Without cuDNN's search for the fastest way, which would take longer."""
        multiply_float32_in(False)
        searches, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
        result = dense.result_of(self.layer, operands, self.product)
        torch.backends.cudnn.benchmark = searches
        return result


def _time(
    work: Work, contenders: dict[str, Contender], seconds: float
) -> dict[str, tuple[float, float]]:
    for contender in contenders.values():
        for _ in range(1 if work.rehearse else WARM_UP):
            contender()
    begin = time.perf_counter()
    work.machine.one_turn(contenders)
    turns = max(FEWEST_TURNS, min(MOST_TURNS, int(seconds / (time.perf_counter() - begin))))
    return take_turns(work.machine, contenders, 1 if work.rehearse else turns)
