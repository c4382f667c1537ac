"""Checks the keras_sparse that is installed in this environment: release_check.py runs it there.

python installed_check.py README.md 0.1.0 with-ops|without-ops
"""

import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path


def run_first_example(readme: Path) -> dict:
    """The names that the first Python example of a page defines."""
    found = re.search(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{readme} has no example"
    file, names = Path("example.py").resolve(), {}  # tf.function reads the source from a file
    file.write_text(found[1])
    exec(compile(found[1], file, "exec"), names)
    return names


def main(readme: str, expected: str, ops: str) -> None:
    """AssertionError says what is not as a release should be."""
    import keras_sparse as ks

    assert Path(ks.__file__).is_relative_to(sys.prefix), f"{ks.__file__} is not the installed one"
    assert ks.__version__ == version("keras-sparse") == expected, ks.__version__
    available = ks.ops.available()
    assert bool(available) == (ops == "with-ops"), available
    names = run_first_example(Path(readme))
    model = names["model"]
    used = [getattr(layer, "implementation_used", "dense") for layer in model.layers]
    assert ("custom_op" in used) == (ops == "with-ops"), used
    accuracy = model.evaluate(names["images"], names["labels"], verbose=0)[1]
    assert accuracy > 0.9, f"the README's example reaches an accuracy of {accuracy:.3f}"
    print(
        f"keras_sparse {expected}, TensorFlow {version('tensorflow')}, Python "
        f"{platform.python_version()}, ops {available}: the README's example reaches {accuracy:.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
