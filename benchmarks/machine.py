"""Names the machine of a measurement, and recognises one machine under names of several ages."""

import os
import platform
import re
from collections.abc import Iterable


def machine() -> str:
    """The processor, the number of its cores that this process may use, and the system."""
    from keras_sparse.compute.processor import processor

    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = "one core" if count == 1 else f"{count} cores"
    return f"{processor()}, {cores}, {platform.system()}"


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
