"""The files of a backup: which are whole, and how one is replaced in one step."""

import errno
import json
import os
import warnings
from typing import Any

import h5py

STAMP = "training_metadata"  # attribute of a weight file
BROKEN = (OSError, RuntimeError, KeyError, ValueError)  # h5py raises them on a part of a file


def read_progress(weights: str, metadata: str, flaws: list[str]) -> dict[str, int] | None:
    """Epoch and batch of a whole backup, else None; adds what is wrong to ``flaws``."""
    flaw = find_flaw(weights)
    if flaw is not None:
        flaws.append(flaw)
        return None
    with h5py.File(weights) as file:
        stamp = file.attrs.get(STAMP)
    written = read_metadata(metadata)
    if written is None and (stamp is None or os.path.exists(metadata)):
        flaws.append(f"{metadata} is not whole")
    if stamp is not None:
        return dict(json.loads(stamp))
    if written is not None and os.stat(metadata).st_mtime_ns < os.stat(weights).st_mtime_ns:
        flaws.append(f"{metadata} is older than {weights}")  # Keras writes it after the weights
        return None
    return written


def find_flaw(weights: str) -> str | None:
    """Why this weight file is not whole, or None; reads all of it."""

    def read(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    if not os.path.exists(weights):
        return f"{weights} is missing"
    try:
        with h5py.File(weights) as file:
            file.visititems(read)
    except (PermissionError, BlockingIOError):
        raise  # it may be whole
    except BROKEN as error:
        return f"{weights} is not whole ({error})"
    return None


def read_metadata(metadata: str) -> dict[str, int] | None:
    """Epoch and batch, or None where the file is missing or broken."""
    try:
        with open(metadata, encoding="utf-8") as file:
            written = json.load(file)
        return {"epoch": int(written["epoch"]), "batch": int(written.get("batch", 0))}
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def warn_of_flaws(what: str, flaws: list[str]) -> None:
    """Warns of what was done in spite of flaws, if there are any."""
    if flaws:
        warnings.warn(f"{what}: {'; '.join(flaws)}.", stacklevel=3)


def temporary(path: str) -> str:
    """Where a file is written before it gets its name; Keras wants the ending of weight files."""
    return os.path.join(os.path.dirname(path), f"new.{os.path.basename(path)}")


def replace_by_temporary(path: str) -> None:
    """The temporary file, flushed to the disk, replaces this one in one step."""
    with open(temporary(path), "r+b") as file:
        os.fsync(file.fileno())
    os.replace(temporary(path), path)
    flush_folder(os.path.dirname(path))


def flush_folder(folder: str) -> None:
    """Makes renames last, where the system can flush a folder: not on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot either
            raise
    finally:
        os.close(descriptor)
