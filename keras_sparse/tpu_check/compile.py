"""Does the TPU compiler take a step?  libtpu compiles it for a topology, on a machine that has no TPU, in a process of its own."""

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "_libtpu.py"
OUTCOMES = (
    "compiles",
    "rejected",
    "cannot run",
)  # by exit code; what cannot be run has not been compiled
INSTALL = "Install libtpu and jax beside keras_sparse: pip install jax libtpu, or '.[tpu-aot]' in its folder."


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What libtpu says.

    Args:
        outcome: "compiles", "rejected" or "cannot run".
        why: it does not compile, or "".
        seconds: that it took to compile.
        flops: of one core, in one step.
        memory: bytes that one core needs for a step: arguments, results, temporary values and the program.
        temporary: those of them that hold temporary values.
        all_reduces: sums over all cores, in one step; the compiler puts many of them together.
        conditionals: where the program branches.
    """

    outcome: str
    why: str = ""
    seconds: float = 0.0
    flops: float = 0.0
    memory: int = 0
    temporary: int = 0
    all_reduces: int = 0
    conditionals: int = 0

    @property
    def code(self) -> int:
        """0, 1 or 2, for a program to exit with."""
        return OUTCOMES.index(self.outcome)


def compile_for(hlo: bytes, topology: str, replicas: int, timeout: float = 3600.0) -> Compiled:
    """Compiles a serialized HloModuleProto with libtpu.

    Args:
        hlo: the step of one replica.
        topology: as libtpu calls it: "v4:2x2x1", "v5e:2x2", "v6e:2x4".
        replicas: on as many of its cores.
        timeout: seconds; what takes longer cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.hlo.pb"
        file.write_bytes(hlo)
        command = [
            sys.executable,
            "-P",
            str(PROGRAM),
            str(file),
            topology,
            str(replicas),
        ]  # -P: the names of our modules stay ours
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return Compiled("cannot run", f"libtpu was not done after {timeout:g} seconds")
    return _read(done)


def _read(done: Any) -> Compiled:
    """What the program has said; if it was ended, or has said nothing, it cannot be run."""
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        outcome = OUTCOMES[done.returncode]
    except (IndexError, ValueError):
        what = (
            signal.Signals(-done.returncode).name
            if done.returncode < 0
            else f"exit code {done.returncode}"
        )
        return Compiled(
            "cannot run", f"libtpu's process ended with {what}: {done.stderr[-500:].strip()}"
        )
    if outcome != "compiles":
        hint = (
            f" {INSTALL}"
            if "is not installed" in said["why"] or "No module named" in said["why"]
            else ""
        )
        return Compiled(outcome, said["why"] + hint)
    sizes = said["bytes"]
    memory = (
        sizes["argument"]
        + sizes["output"]
        - sizes["alias"]
        + sizes["temp"]
        + sizes["generated_code"]
    )
    return Compiled(
        outcome,
        "",
        said["seconds"],
        said["flops"],
        memory,
        sizes["temp"],
        said["all_reduces"],
        said["conditionals"],
    )
