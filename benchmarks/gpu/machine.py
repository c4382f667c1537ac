"""The device that runs the products, a GPU or in a rehearsal the CPU, and its clock."""

import platform
import re
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Contender = Callable[[], Any]
# Several times the L2 of an H200. The GPU reads them for longer than the CPU needs to start a
# product.
FLUSH_BYTES = 512 << 20


def multiply_float32_in(tensorfloat32: bool) -> None:
    """Does PyTorch multiply float32 in TF32 on tensor cores from now on?"""
    with warnings.catch_warnings():
        # PyTorch has a newer setting beside this; the two must not be mixed.
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tensorfloat32


class Card:
    """A GPU, whose L2 is full of other data before each timed call, as in a training step."""

    device = "cuda"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU")
        torch.backends.cudnn.benchmark = True
        self.other_data = torch.ones(FLUSH_BYTES // 4, device="cuda")
        self.unused = torch.zeros((), device="cuda")

    def stream(self) -> int:
        return torch.cuda.current_stream().cuda_stream

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def one_turn(self, contenders: Mapping[str, Contender]) -> dict[str, tuple[float, float]]:
        """(Seconds of the GPU, seconds of the CPU until its start) of one call of each."""
        events, started = {}, {}
        for name, contender in contenders.items():
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.sum(self.other_data, dim=0, out=self.unused)
            before = time.perf_counter()
            begin.record()
            contender()
            end.record()
            started[name] = time.perf_counter() - before
            events[name] = (begin, end)
        torch.cuda.synchronize()
        return {
            name: (begin.elapsed_time(end) / 1000, started[name])
            for name, (begin, end) in events.items()
        }

    def facts(self) -> dict[str, str]:
        """What a result has to say of where it was measured."""
        gpu = torch.cuda.get_device_properties(0)
        cache = getattr(gpu, "L2_cache_size", 0)
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
        driver = said.stdout.strip() or "unknown"
        size = f"{gpu.total_memory >> 30} GiB, L2 {cache >> 20} MiB"
        cuda = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        return {
            "gpu": f"{gpu.name}, {gpu.multi_processor_count} multiprocessors, {size}",
            "compute_capability": f"{gpu.major}.{gpu.minor}",
            "driver": driver,
            "versions": f"{_versions()}, {cuda}",
        }


class Rehearsal:
    """The CPU: all of it runs, and no number means anything."""

    device = "cpu"

    def stream(self) -> int:
        return 0

    def synchronize(self) -> None:
        """Nothing runs behind our back."""

    def one_turn(self, contenders: Mapping[str, Contender]) -> dict[str, tuple[float, float]]:
        seconds = {}
        for name, contender in contenders.items():
            before = time.perf_counter()
            contender()
            seconds[name] = (time.perf_counter() - before,) * 2
        return seconds

    def facts(self) -> dict[str, str]:
        model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        return {
            "gpu": f"NONE: a rehearsal on {model[1] if model else 'a CPU'}",
            "compute_capability": "rehearsal",
            "driver": "none",
            "versions": _versions(),
        }


Machine = Card | Rehearsal


def take_turns(
    machine: Machine, contenders: Mapping[str, Contender], turns: int
) -> dict[str, tuple[float, float]]:
    """The medians over turns; every other turn in reverse order. Warm them up first."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(turns):
        order = list(contenders) if turn % 2 == 0 else list(reversed(contenders))
        for name, pair in machine.one_turn({name: contenders[name] for name in order}).items():
            seconds[name].append(pair)
    return {
        name: (statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs))
        for name, pairs in seconds.items()
    }


def _versions() -> str:
    try:
        import triton

        version = triton.__version__
    except ImportError:
        version = "none"
    return f"Python {platform.python_version()}, PyTorch {torch.__version__}, Triton {version}"
