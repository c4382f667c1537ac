"""The code of a notebook, run by a real Jupyter kernel: a fork of a process that has TensorFlow."""

from pathlib import Path

from forked import Program

ROOT = Path(__file__).resolve().parents[1]
KERNEL = """
import os, sys, warnings
warnings.simplefilter("error", UserWarning)
warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # Keras' own default
from ipykernel.kernelapp import launch_new_instance
os.chdir(sys.argv[1])
launch_new_instance(["-f", sys.argv[2]])
"""
SECONDS = 600  # for the start, and for a cell
# As of a Jupyter whose own environment is another one: no `python` of the kernel's is in the path.
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XDG_CACHE_HOME": str(ROOT / "build" / "cache"),  # as in tests/tpu: compiled once
}


def printed_by(notebook, folder):
    """What the code cells of a notebook print in this folder; one that fails is an error."""
    from jupyter_client import BlockingKernelClient
    from jupyter_client.connect import write_connection_file

    file, _ = write_connection_file(str(folder / "kernel.json"))
    kernel = Program(KERNEL, folder, file, **ENVIRONMENT)
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels(hb=False)  # on busy machines, heartbeats come late
    try:
        client.kernel_info(reply=True, timeout=SECONDS)
        client.get_iopub_msg(timeout=SECONDS)  # its welcome: from here on, no output is lost
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        printed = "".join(_printed(client, source) for source in code)
    finally:
        client.shutdown()
        client.stop_channels()
        kernel.wait(timeout=30)
    return printed


def _printed(client, source):
    printed = []

    def keep(message):
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(source, timeout=SECONDS, output_hook=keep)["content"]
    if reply["status"] != "ok":
        raise AssertionError("\n".join([source, *printed, *reply.get("traceback", ())]))
    return "".join(printed)
