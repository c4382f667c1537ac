"""Names the processor of this machine, with AMD's microarchitecture, and its instructions."""

import functools
import platform
from pathlib import Path

# A virtual machine may hide the model behind "AMD EPYC", but not family and model numbers. These
# {CPU family: ((first model number, last, microarchitecture), ...)} are those of Linux.
ZEN = {
    23: ((0x00, 0x2F, "Zen"), (0x50, 0x5F, "Zen"), (0x30, 0x4F, "Zen 2"), (0x60, 0x7F, "Zen 2")),
    25: (
        (0x00, 0x0F, "Zen 3"),
        (0x20, 0x5F, "Zen 3"),
        (0x10, 0x1F, "Zen 4"),
        (0x60, 0xAF, "Zen 4"),
    ),
    26: ((0x00, 0x2F, "Zen 5"), (0x40, 0x4F, "Zen 5"), (0x60, 0x7F, "Zen 5")),
}


@functools.cache
def processor() -> str:
    """The name of the processor, e.g. "AMD EPYC (Zen 5)"; where nothing names it, "aarch64"."""
    info = Path("/proc/cpuinfo")
    name = name_in(info.read_text()) if info.exists() else None
    return name or platform.processor() or platform.machine()


def features_in(cpuinfo: str) -> frozenset[str]:
    r"""The instructions of the first core in ``/proc/cpuinfo``, by Linux' names.

    >>> sorted(features_in("flags\t\t: avx512f amx_bf16\n"))
    ['amx_bf16', 'avx512f']
    """
    lines = (line.partition(":")[::2] for line in cpuinfo.splitlines())
    flags = next((value for key, value in lines if key.strip() == "flags"), "")
    return frozenset(flags.split())


@functools.cache
def instructions() -> frozenset[str]:
    """Those of this machine's processor, by Linux' names; none where ``/proc/cpuinfo`` has none."""
    info = Path("/proc/cpuinfo")
    return features_in(info.read_text()) if info.exists() else frozenset()


def name_in(cpuinfo: str) -> str | None:
    r"""The processor's name in ``/proc/cpuinfo``, with AMD's microarchitecture where it is known.

    >>> name_in("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n")
    'AMD EPYC (Zen 5)'
    """
    pairs = (line.partition(":")[::2] for line in reversed(cpuinfo.splitlines()))
    fields = {key.strip(): value.strip() for key, value in pairs}  # of the first core
    name = fields.get("model name")
    if name is None or not name.startswith("AMD"):
        return name
    number = int(fields.get("model", -1))
    kinds = ZEN.get(int(fields.get("cpu family", -1)), ())
    found = [kind for first, last, kind in kinds if first <= number <= last]
    return f"{name} ({found[0]})" if found else name
