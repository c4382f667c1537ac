"""The code of a page of the documentation, and a process of its own that runs all of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from forked import Program

ROOT = Path(__file__).resolve().parents[1]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
RUN = """
import os, sys, warnings
warnings.simplefilter("error", UserWarning)
warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # Keras' own default
import pages
os.chdir(sys.argv[2])
pages.run(sys.argv[1])
"""


def code_of(page):
    """[("python" or "bash", its text)] of a page, in its order."""
    text = (ROOT / page).read_text()
    return re.findall(r"^```(python|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(page):
    """Runs the page's code in the present folder, Python in this process."""
    names = {"__name__": "__main__"}
    for number, (language, text) in enumerate(code_of(page)):
        path = Path(f"code_{number}.py").resolve()  # tf.function reads the source from a file
        path.write_text(text)
        if language == "bash":
            sys.stdout.flush()
            subprocess.run(["bash", "-euo", "pipefail", str(path)], check=True)
        else:
            exec(compile(text, path, "exec"), names)


def ended(page, folder):
    """The end of a process that runs the page in this folder; ``python`` is the present one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        "PYTHONPATH": PATHS,
        "PATH": path,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XDG_CACHE_HOME": str(ROOT / "build" / "cache"),  # as in tests/tpu: compiled once
    }
    return Program(RUN, page, folder, **environment).wait(timeout=600)
