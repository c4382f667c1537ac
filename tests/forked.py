"""Programs in processes of their own, forked from one that has imported TensorFlow and Keras.

That import takes seconds; it is made once for all programs of a pytest process. A program finds
what it would find in a new interpreter, but all programs of a pytest process hash strings alike.
"""

import multiprocessing
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tensorflow", "keras"])


class Ended(NamedTuple):
    """A negative exit code is the number of the signal that ended the process."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """Python code that runs in its own process, with ``sys.argv`` and more of the environment."""

    def __init__(self, code, *arguments, **environment):
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        given = code, list(map(str, arguments)), {**os.environ, **environment}, self._files
        self._process = _server.Process(target=_execute, args=given, daemon=True)
        self._process.start()

    def poll(self):
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def kill(self):
        """Ends it by SIGKILL."""
        self._process.kill()

    def wait(self, timeout=300):
        """What it printed, at its end; it is killed when the time is over. To be called once."""
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            self._process.join()
        printed = [file.read_text() for file in self._files]
        self._folder.cleanup()
        return Ended(self.poll(), *printed)


def script(path, *arguments, **environment):
    """The program ``python path arguments``."""
    code = f"import runpy\nrunpy.run_path({str(path)!r}, run_name='__main__')"
    return Program(code, *arguments, **environment)


def _execute(code, arguments, environment, files):
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    np.random.seed()  # a fork begins with the state of its parent
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), main.__dict__)
