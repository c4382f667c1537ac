"""A program that compiles HLO with libtpu, in its own process: libtpu may end the process.

    python _libtpu.py step.hlo.pb v5e:2x2 4

Its last line is JSON. It exits with 0 if the HLO compiles, 1 if the compiler refuses it, and 2 if
that could not be determined. Only this file uses private names of jax: its compile-only client
reaches libtpu without a TPU. The program does not import TensorFlow.
"""

import importlib.util
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

COMPILES, REJECTED, CANNOT_RUN = 0, 1, 2
# The compiler's errors; any other error is one of libtpu itself.
REFUSALS = ("INVALID_ARGUMENT", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION")
# Settings that libtpu would otherwise read from the machine.
NO_TPU_HERE = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_MIN_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # otherwise only one process at a time can compile
}


def main(file: Path, topology: str, replicas: int) -> tuple[int, dict[str, Any]]:
    """The exit code, and what to print as JSON."""
    try:
        client, devices = compiler(topology, replicas)
        module = stablehlo(file.read_bytes())
    except Exception as error:
        return CANNOT_RUN, {"why": _beginning(error)}
    begin = time.time()
    try:
        executable = compiled(client, devices, module)
    except Exception as error:
        why = _beginning(error)
        return (REJECTED if why.startswith(REFUSALS) else CANNOT_RUN), {"why": why}
    return COMPILES, {
        "seconds": time.time() - begin,
        "device": devices[0].device_kind,
        **figures(executable),
    }


def compiler(topology: str, replicas: int) -> tuple[Any, list[Any]]:
    """The compile-only client, and the devices of the topology, one for each replica."""
    if importlib.util.find_spec("libtpu") is None:
        raise RuntimeError("libtpu is not installed")
    from jax.experimental import topologies
    from jaxlib import _jax

    devices: list[Any] = list(
        topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    )
    if len(devices) < replicas:
        raise RuntimeError(
            f"{topology} has {len(devices)} cores, but needs {replicas}, one for each replica"
        )
    client = devices[0].client
    if not isinstance(client, _jax.CompileOnlyPyClient):
        raise RuntimeError(
            f"jax returns a {type(client).__name__} instead of a compile-only client"
        )
    return client, devices[:replicas]


def stablehlo(hlo: bytes) -> Any:
    """The MLIR module of a serialized HloModuleProto."""
    from jax._src.interpreters import mlir
    from jaxlib import _jax
    from jaxlib.mlir import ir

    with mlir.make_ir_context():
        return ir.Module.parse(_jax.mlir.hlo_to_stablehlo(hlo))


def compiled(client: Any, devices: list[Any], module: Any) -> Any:
    """The executable for one replica on each device."""
    import numpy as np
    from jaxlib import _jax, xla_client

    options = xla_client.CompileOptions()
    options.num_replicas, options.num_partitions = len(devices), 1
    options.device_assignment = xla_client.DeviceAssignment.create(
        np.array([[device.id] for device in devices], np.int32)
    )
    with module.context:
        return client.compile(
            module, executable_devices=_jax.DeviceList(tuple(devices)), compile_options=options
        )


def figures(executable: Any) -> dict[str, Any]:
    """The compiler's figures for one core and one step."""
    costs = executable.cost_analysis()
    memory = executable.get_compiled_memory_stats()
    text = executable.hlo_modules()[0].to_string()
    sizes = {
        what: getattr(memory, f"{what}_size_in_bytes")
        for what in ("argument", "output", "alias", "temp", "generated_code")
    }
    return {
        "flops": (costs[0] if isinstance(costs, list) else costs)["flops"],
        "bytes": sizes,
        "all_reduces": len(re.findall(r" all-reduce(?:-start)?\(", text)),
        "conditionals": len(re.findall(r" conditional\(", text)),
    }


def _beginning(error: BaseException) -> str:
    return " ".join(str(error)[:600].split()) or type(error).__name__


if __name__ == "__main__":
    for name, value in NO_TPU_HERE.items():
        os.environ.setdefault(name, value)
    code, said = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.write("\n" + json.dumps(said) + "\n")
    sys.stdout.flush()
    os._exit(code)  # libtpu's threads would keep the process alive
