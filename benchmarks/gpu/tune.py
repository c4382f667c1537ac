"""Tries tiles, warps and stages on this GPU, with Triton's JIT and the library's plans.

Put the best into TILES and the options of compile_block_kernels.py. The installed Triton need not
be the one that compiled the library.
"""

import functools
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import report
import torch
from attempts import Outcome, Work, prepared
from layers import FORWARD, GROUPS, KERNEL_GRADIENT, TINY, Layer
from library import Kernel, Launch, Pointers
from machine import take_turns
from operands import mask_like, random_operands
from torch import Tensor

sys.path[1:1] = [str(report.ROOT / "custom_ops" / "block_conv2d")]

Choice = tuple[int, int, int, int]  # PIXELS, AT_ONCE, warps, stages
TRITON_TYPES = {"bfloat16": "bf16", "float16": "fp16", "tensorfloat32": "fp32"}
PRODUCT_OF = {"sum_products": FORWARD, "sum_gradients": KERNEL_GRADIENT}
KERNELS = (
    Kernel("bfloat16", 32),
    Kernel("bfloat16", 64),
    Kernel("tensorfloat32", 32),
    Kernel("bfloat16", 16),
)
DENSITIES = (0.25, 0.1)
WARPS_AND_STAGES = tuple(itertools.product((4, 8), (2, 3, 4)))
TURNS, MOST_ERROR, SHOWN = 7, 2e-3, 3


def run(work: Work) -> None:
    """Each kernel gets an equal part of the time."""
    pairs = list(
        itertools.product((Kernel("tensorfloat32", 32),) if work.rehearse else KERNELS, PRODUCT_OF)
    )
    for i, (kernel, function) in enumerate(pairs):
        deadline = time.time() + (work.deadline - time.time()) / (len(pairs) - i)
        work.attempt(
            f"tune/{kernel.name}/{function}",
            f"{kernel.name}, {function}",
            lambda k=kernel, f=function, d=deadline: _tune(work, k, f, d),
        )


def _tune(work: Work, kernel: Kernel, function: str, deadline: float) -> Outcome:
    trials = [Trial(work, kernel, function, layer, density) for layer, density in _cases(work)]
    seconds: dict[Choice, list[float]] = {}
    why_not: dict[Choice, str] = {}
    for choice in _choices(kernel, function, work.rehearse):
        if time.time() > deadline and seconds:
            break
        try:
            seconds[choice] = [trial.seconds(choice) for trial in trials]
        except Exception as problem:  # too much shared memory, most likely
            work.machine.synchronize()  # raises if it was worse
            why_not[choice] = str(problem).splitlines()[0][:100]
    rows = _rows(seconds, own := next(_choices(kernel, function, work.rehearse)))
    print(
        f"{kernel.name}, {function}: {len(seconds)} choices, {len(why_not)} that do not run; the library's is {own}"
    )
    print(
        report.table(
            (
                "pixels, at once, warps, stages",
                *(f"{t.name}, us" for t in trials),
                "times the library's",
            ),
            rows,
        ),
        flush=True,
    )
    listed = [{"choice": choice, "seconds": times} for choice, times in seconds.items()]
    return "right", {
        "cases": [trial.name for trial in trials],
        "measured": listed,
        "why_not": [[*choice, why] for choice, why in why_not.items()],
    }


def _rows(seconds: dict[Choice, list[float]], own: Choice) -> list[tuple[object, ...]]:
    """The best, and the library's own."""

    def gain(choice: Choice) -> float:
        if own not in seconds:
            return 1 / statistics.geometric_mean(seconds[choice])
        return statistics.geometric_mean(
            [a / b for a, b in zip(seconds[own], seconds[choice], strict=True)]
        )

    best = sorted(seconds, key=gain, reverse=True)[:SHOWN]
    return [
        (choice, *(f"{1e6 * s:.1f}" for s in seconds[choice]), f"{gain(choice):.2f}")
        for choice in dict.fromkeys([*best, *([own] * (own in seconds))])
    ]


def _cases(work: Work) -> Iterator[tuple[Layer, float]]:
    layers = (
        TINY["goals"][:1]
        if work.rehearse
        else (GROUPS["goals"][1], GROUPS["goals"][5], GROUPS["WRN-28-10"][1])
    )
    yield from itertools.product(layers, DENSITIES[:1] if work.rehearse else DENSITIES)


def _choices(kernel: Kernel, function: str, rehearse: bool) -> Iterator[Choice]:
    """The library's own first, the others in a fixed random order."""
    import compile_block_kernels

    pixels, at_once = compile_block_kernels.tile(
        function, TRITON_TYPES[kernel.arithmetic], int(kernel.block)
    )
    yield (pixels, at_once, 4, 3)
    tiles = itertools.product(
        (64, 128, 256) if function == "sum_products" else (32, 64, 128), (1, 2, 4)
    )
    others = [
        (*tile, *rest)
        for tile in tiles
        for rest in WARPS_AND_STAGES
        if (*tile, *rest) != (pixels, at_once, 4, 3)
    ]
    random.Random(0).shuffle(others)
    yield from others[:2] if rehearse else others


class Trial:
    """One launch of one layer, whose structure the library has built."""

    def __init__(
        self, work: Work, kernel: Kernel, function: str, layer: Layer, density: float
    ) -> None:
        self.work, self.kernel, self.function, self.name = (
            work,
            kernel,
            function,
            f"{layer.name} {density:g}",
        )
        product = PRODUCT_OF[function]
        generator = torch.Generator(work.machine.device).manual_seed(0)
        operands = random_operands(layer.sizes, kernel.arithmetic, work.machine.device, generator)
        first, second = operands.first_and_second(product)
        mask = mask_like(kernel.block, layer.sizes, density, generator)
        result = torch.zeros(operands.result_shape(product), dtype=first.dtype, device=first.device)
        workspace = torch.zeros(
            work.library.workspace(kernel, product, layer.sizes),
            dtype=torch.uint8,
            device=first.device,
        )
        self.tensors = (first, second, mask, result, workspace)
        prepared(work, kernel, product, layer.sizes, self.tensors)()
        launches = work.library.launches(
            kernel, product, layer.sizes, Pointers(*(tensor.data_ptr() for tensor in self.tensors))
        )
        self.launch = next(launch for launch in launches if launch[0] == function)
        self.output = (
            result
            if function == "sum_products"
            else self._tensor_at(self._arguments()["parts"], "*fp32")
        )
        work.machine.synchronize()
        self.right = self.output.clone()

    def _arguments(self) -> dict[str, int]:
        """Of the launch, by name."""
        import block_kernels

        names = [
            name for name in getattr(block_kernels, self.function).arg_names if not name.isupper()
        ]
        return dict(zip(names, self.launch[2], strict=True))

    def seconds(self, choice: Choice) -> float:
        """Of the card; an error if the result is another."""
        call = self._call(choice)
        self.output.zero_()
        call()
        self.work.machine.synchronize()
        error = torch.linalg.vector_norm(
            self.output.double() - self.right.double()
        ) / torch.linalg.vector_norm(self.right.double())
        if not error <= MOST_ERROR:
            raise RuntimeError(f"wrong: error {error:.1e}")
        return take_turns(self.work.machine, {"call": call}, TURNS)["call"][0]

    def _call(self, choice: Choice) -> Callable[[], Any]:
        import block_kernels
        import compile_block_kernels

        pixels, at_once, warps, stages = choice
        plain = getattr(block_kernels, self.function)
        type_ = TRITON_TYPES[self.kernel.arithmetic]
        arguments = self._arguments()
        kinds = {name: compile_block_kernels.pointer_of(name, type_) for name in arguments}
        numbers = [name for name, kind in kinds.items() if not kind and name != "in_channels"]
        function = _for_all_sizes(plain, tuple(numbers))
        values = [
            self._tensor_at(value, kind) if (kind := kinds[name]) else value
            for name, value in arguments.items()
        ]
        constants = {
            **compile_block_kernels.constants(self.function, type_, int(self.kernel.block)),
            "PIXELS": pixels,
            "AT_ONCE": at_once,
        }
        grid = _grid(self.launch, arguments, pixels, at_once)
        return lambda: function[grid](*values, **constants, num_warps=warps, num_stages=stages)

    def _tensor_at(self, address: int, kind: str) -> Tensor:
        """A tensor that begins there."""
        *others, workspace = self.tensors
        for tensor in others:
            if tensor.data_ptr() == address:
                return tensor
        type_ = {
            "*i32": torch.int32,
            "*fp32": torch.float32,
            "*bf16": torch.bfloat16,
            "*fp16": torch.float16,
        }[kind]
        rest = workspace[address - workspace.data_ptr() :]
        return rest[: rest.numel() // type_.itemsize * type_.itemsize].view(type_)


@functools.cache
def _for_all_sizes(plain: Any, numbers: tuple[str, ...]) -> Any:
    """The kernel as the library has it: no number is a constant, and none is known to be a multiple of 16."""
    import triton

    return triton.jit(plain.fn, do_not_specialize=list(numbers))


def _grid(
    launch: Launch, arguments: dict[str, int], pixels: int, at_once: int
) -> tuple[int, int, int]:
    """As block_conv2d.cc counts, for other tiles."""
    name, grid, _ = launch
    if name == "sum_gradients":
        return -(-arguments["capacity"] // at_once), grid[1], grid[2]
    lattice = arguments["batch"] * arguments["lattice_height"] * arguments["lattice_width"]
    return -(-lattice // pixels) * arguments["groups"], grid[1], grid[2]
