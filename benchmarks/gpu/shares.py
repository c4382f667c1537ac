"""Measures the share of a call that builds the structure of the mask, by PyTorch's profiler."""

import functools

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.attempts import Outcome, Work, culprit_of, prepared
from benchmarks.gpu.layers import PRODUCTS, Layer, all_layers
from benchmarks.gpu.library import ALL_KERNELS, Kernel
from benchmarks.gpu.operands import mask_like, random_operands

# Flags also pack the weights side by side: what a kernel reads is made in these.
STRUCTURE = ("flag_blocks", "list_blocks", "BuildWeightLists", "BuildPairLists")
DENSITY = 0.1
LAYERS = 2
CALLS = 5


def run(work: Work) -> None:
    """Of the first layers, every kernel."""
    if work.rehearse:
        return
    layers = [layer for layer in all_layers(rehearse=False) if layer.size == 3][1 : 1 + LAYERS]
    for layer in layers:
        for kernel in ALL_KERNELS:
            key = f"share/{layer.name}/{kernel.name}"
            if not (work.is_over or work.journal.is_done(key)) and _runs(work, layer, kernel):
                measured = functools.partial(_measure, work, layer, kernel)
                work.attempt(key, culprit_of(kernel, "profiled"), measured)


def _runs(work: Work, layer: Layer, kernel: Kernel) -> bool:
    culprits = {culprit_of(kernel, product) for product in (*PRODUCTS, "profiled")}
    if culprits & work.journal.broken.keys():
        return False
    return all(work.library.why_not(kernel, product, layer.sizes) is None for product in PRODUCTS)


def _measure(work: Work, layer: Layer, kernel: Kernel) -> Outcome:
    share, times = {}, {}
    for product in PRODUCTS:
        times[product] = _kernel_times(work, layer, kernel, product)
        structure = sum(
            time for name, time in times[product].items() if any(part in name for part in STRUCTURE)
        )
        share[product] = structure / max(sum(times[product].values()), 1e-9)
    return "right", {"name": f"{layer.name}, {kernel.name}", "share": share, "microseconds": times}


def _kernel_times(work: Work, layer: Layer, kernel: Kernel, product: str) -> dict[str, float]:
    """Microseconds of a call in each kernel of it."""
    generator = torch.Generator(work.machine.device).manual_seed(0)
    operands = random_operands(layer.sizes, kernel.arithmetic, work.machine.device, generator)
    mask = mask_like(kernel.block, layer.sizes, DENSITY, generator)
    first, second = operands.first_and_second(product)
    result = torch.empty(operands.result_shape(product), dtype=first.dtype, device=first.device)
    size = max(work.library.workspace(kernel, product, layer.sizes), 1)
    workspace = torch.empty(size, dtype=torch.uint8, device=first.device)
    call = prepared(work, kernel, product, layer.sizes, (first, second, mask, result, workspace))
    call()
    work.machine.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(CALLS):
            call()
        work.machine.synchronize()
    return {
        event.key: event.self_device_time_total / CALLS
        for event in profiled.key_averages()
        if event.self_device_time_total > 0
    }
