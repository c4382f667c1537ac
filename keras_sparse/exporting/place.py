"""A file or folder is written beside its place, and moved there when it is whole and checked."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path


def check_place(path: Path, overwrite: bool, also: tuple[str, ...] = ()) -> None:
    """Raises ValueError if the place is not local, or if something is there that must stay.

    Args:
        path: file or folder to write. An empty folder may be replaced.
        overwrite: whether anything may be.
        also: suffixes of files beside it that are written, too.
    """
    if re.match(r"[a-z0-9]+:/", str(path)):
        raise ValueError(
            "`path` must be a local file or folder: export to one, and copy it. "
            f"Received: path={str(path)!r}"
        )
    for place in (path, *(path.with_suffix(suffix) for suffix in also)):
        is_free = not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir()))
        if not is_free and not overwrite:
            raise ValueError(
                "`path` must be free: pass overwrite=True to replace what is there, or --overwrite "
                f"to a command. Received: path={str(place)!r}"
            )


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path of the same name in a new folder beside ``path``, on the same disk.

    Where the body ends without an error, all that it has written there replaces what is at
    ``path``. After an error, what was there is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        old.mkdir()
        yield new / path.name
        for written in sorted(new.iterdir()):
            _move(written, path.parent / written.name, old / written.name)


def _move(written: Path, place: Path, old: Path) -> None:
    """Moves ``written`` to its place, and what is there to ``old``."""
    is_taken = os.path.lexists(place)
    if is_taken:
        os.rename(place, old)
    try:
        os.rename(written, place)
    except OSError:
        if is_taken:
            os.rename(old, place)
        raise
