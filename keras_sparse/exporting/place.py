"""A file or folder is written beside its place, and moved there when it is whole and checked."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path


def check_place(
    path: Path, overwrite: bool, also: tuple[str, ...] = (), is_folder: bool = False
) -> None:
    """Raises ValueError if the place is not local, or if something is there that must stay.

    Args:
        path: what to write. An empty folder may be replaced by a folder.
        overwrite: whether anything may be, but for a folder by a file.
        also: suffixes of files beside it that are written, too.
        is_folder: whether a folder will be written.
    """
    if re.match(r"[a-z0-9]+:/", str(path)):
        raise ValueError(
            "`path` must be a local file or folder: export to one, and copy it. "
            f"Received: path={str(path)!r}"
        )
    for place in (path, *(path.with_suffix(suffix) for suffix in also)):
        if place.is_dir() and not is_folder:
            raise ValueError(
                "`path` must name a file, and a folder of this name is there: pass a path in it, "
                f"or another name. Received: path={str(place)!r}"
            )
        is_free = not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir()))
        if not is_free and not overwrite:
            raise ValueError(
                "`path` must be free: pass overwrite=True to replace what is there, or --overwrite "
                f"to a command. Received: path={str(place)!r}"
            )


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path of the same name in a new folder, on the same disk as ``path``.

    Where the body ends without an error, all that it has written there replaces what is at
    ``path``. After an error, what was there is still there. A folder at ``path`` stays, and its
    content is replaced: it may be a mounted volume, or in a folder that may not be written to.
    """
    is_kept = path.is_dir()
    place = path if is_kept else path.parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=f".{path.name}.") as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        old.mkdir()
        yield new / path.name
        written = sorted((new / path.name if is_kept else new).iterdir())
        taken = place.iterdir() if is_kept else [place / each.name for each in written]
        replaced = [each for each in taken if os.path.lexists(each) and each != Path(folder)]
        _move(replaced, old, written, place)


def _move(replaced: list[Path], old: Path, written: list[Path], place: Path) -> None:
    """Moves the one list to ``old`` and then the other to ``place``; after an error, all back."""
    moves = [(each, old / each.name) for each in replaced]
    moves += [(each, place / each.name) for each in written]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            os.rename(target, source)
        raise
