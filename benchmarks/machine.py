"""Names the machine of a measurement, and recognises one machine under names of several ages."""

import os
import platform
import re
from collections.abc import Iterable
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


def machine() -> str:
    """The processor, the number of its cores that this process may use, and the system."""
    info = Path("/proc/cpuinfo")
    name = processor(info.read_text()) if info.exists() else None
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = "one core" if count == 1 else f"{count} cores"
    return f"{name or platform.processor() or platform.machine()}, {cores}, {platform.system()}"


def processor(cpuinfo: str) -> str | None:
    r"""The processor's name in ``/proc/cpuinfo``, with AMD's microarchitecture where it is known.

    >>> processor("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n")
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


def same_names(names: Iterable[str]) -> dict[str, str]:
    """{a recorded name: today's name of the same machine}.

    Older records say "1 cores", and no microarchitecture. Such a name is that of the only machine
    that differs from it by the microarchitecture alone; of several, it stays as it is.

    >>> names = ["AMD EPYC, 1 cores, Linux", "AMD EPYC (Zen 5), one core, Linux"]
    >>> same_names(names)["AMD EPYC, 1 cores, Linux"]
    'AMD EPYC (Zen 5), one core, Linux'
    """
    today = {name: name.replace(", 1 cores,", ", one core,") for name in names}
    full: dict[str, set[str]] = {}
    for name in today.values():
        if (bare := _without_microarchitecture(name)) != name:
            full.setdefault(bare, set()).add(name)
    only = {bare: found.pop() for bare, found in full.items() if len(found) == 1}
    return {recorded: only.get(name, name) for recorded, name in today.items()}


def _without_microarchitecture(name: str) -> str:
    return re.sub(r" \(Zen[ \d]*\)", "", name)
