"""Compiles ``serve.cc`` against the TensorFlow of this Python: needs g++ or clang++, a minute.

python examples/serving/build.py serve    # the program to write
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Writes the program."""
    subprocess.run(command(Path(sys.argv[1])), check=True)


def command(program: Path) -> list[str]:
    """The compiler's command line."""
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        raise SystemExit("TensorFlow is not installed: pip install tensorflow")
    package = Path(found.origin).parent
    libraries = [f"-l:{name}" for name in ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")]
    flags = ["-std=c++17", "-O2", "-D_GLIBCXX_USE_CXX11_ABI=1", "-isystem", f"{package}/include"]
    places = [f"-L{package}", f"-Wl,-rpath,{package}"]
    source = str(Path(__file__).with_name("serve.cc"))
    return [os.environ.get("CXX", "g++"), *flags, source, "-o", str(program), *places, *libraries]


if __name__ == "__main__":
    main()
