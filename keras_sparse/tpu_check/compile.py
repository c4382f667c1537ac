"""Compiles a step with libtpu for a topology, in its own process and without a TPU."""

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "_libtpu.py"
OUTCOMES = ("compiles", "rejected", "cannot run")  # by exit code; 2 could not be determined
INSTALL = (
    "Install libtpu and jax beside keras_sparse: pip install jax libtpu, or '.[tpu-aot]' in its "
    "folder."
)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The result of libtpu.

    Args:
        outcome: ``"compiles"``, ``"rejected"`` or ``"cannot run"``.
        why: the reason, if the step does not compile; otherwise ``""``.
        seconds: duration of the compilation.
        flops: floating-point operations of one core in one step.
        memory: bytes that one core needs for a step: arguments, results, temporary values and the
            program.
        temporary: bytes of temporary values.
        all_reduces: number of sums over all cores in one step, after the compiler combined them.
        conditionals: number of branches in the program.
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
        """The exit code of a program with this outcome: 0, 1 or 2."""
        return OUTCOMES.index(self.outcome)


def compile_for(hlo: bytes, topology: str, replicas: int, timeout: float = 3600.0) -> Compiled:
    """Compiles a serialized HloModuleProto with libtpu.

    Args:
        hlo: the step of one replica.
        topology: libtpu's name, e.g. ``"v4:2x2x1"``, ``"v5e:2x2"``, ``"v6e:2x4"``.
        replicas: number of its cores to run on.
        timeout: most seconds that the compilation may take.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "step.hlo.pb"
        file.write_bytes(hlo)
        # -P: modules beside PROGRAM must not hide those that it imports
        command = [sys.executable, "-P", str(PROGRAM), str(file), topology, str(replicas)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return Compiled("cannot run", f"libtpu was not done after {timeout:g} seconds")
    return _read(done)


def _read(done: Any) -> Compiled:
    """The result that the program printed; "cannot run" if it crashed or printed none."""
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        outcome = OUTCOMES[done.returncode]
    except (IndexError, ValueError):
        return Compiled("cannot run", _crash(done))
    if outcome == "compiles":
        return _success(said)
    missing = "is not installed" in said["why"] or "No module named" in said["why"]
    return Compiled(outcome, f"{said['why']} {INSTALL}" if missing else said["why"])


def _crash(done: Any) -> str:
    code = done.returncode
    what = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"libtpu's process ended with {what}: {done.stderr[-500:].strip()}"


def _success(said: dict[str, Any]) -> Compiled:
    sizes = said["bytes"]
    memory = (
        sizes["argument"]
        + sizes["output"]
        - sizes["alias"]
        + sizes["temp"]
        + sizes["generated_code"]
    )
    figures = {name: said[name] for name in ("seconds", "flops", "all_reduces", "conditionals")}
    return Compiled("compiles", memory=memory, temporary=sizes["temp"], **figures)
