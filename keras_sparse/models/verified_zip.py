"""Zip files whose every part has a digest: what was damaged is never read as something else."""

import contextlib
import hashlib
import json
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

INDEX = "index.json"
FORMAT = 1
LENGTH = struct.Struct("<Q")
OF_THE_SYSTEM = (FileNotFoundError, IsADirectoryError, PermissionError)  # they say what is wrong


class DamagedFileError(Exception):
    """A file does not hold what was written to it."""


@contextlib.contextmanager
def as_damage() -> Iterator[None]:
    """Raises DamagedFileError for what decoders raise at bytes that nobody has written."""
    try:
        yield
    except (DamagedFileError, MemoryError, *OF_THE_SYSTEM):
        raise
    except Exception as error:  # zipfile raises a dozen kinds
        raise DamagedFileError(f"{type(error).__name__}: {error}") from error


def check_whole(path: Path) -> None:
    """Raises ValueError for what a copy that stopped leaves: nothing, or a zip file's beginning.

    Args:
        path: a file that is no whole zip file.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start in (b"", b"PK\x03\x04"):
        why = "it is a zip file without its end" if start else "it is empty"
        raise ValueError(f"The file is damaged: {why}. Received: {path}")


class ZipWithDigests:
    """Writes parts, then an index with their SHA-256, whose own is the comment of the file."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", allowZip64=True)
        self.index: dict[str, Any] = {"format": FORMAT, "digests": {}}

    def write(self, name: str, content: bytes) -> None:
        """One part, deflated."""
        self._zip.writestr(name, content, zipfile.ZIP_DEFLATED)
        self.index["digests"][name] = hashlib.sha256(content).hexdigest()

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """One part of pieces, which are compressed already and come back one by one."""
        digest = hashlib.sha256()
        with self._zip.open(name, "w", force_zip64=True) as part:
            for piece in pieces:
                content = LENGTH.pack(len(piece)) + piece
                part.write(content)
                digest.update(content)
        self.index["digests"][name] = digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            content = json.dumps(self.index).encode()
            self._zip.writestr(INDEX, content, zipfile.ZIP_DEFLATED)
            self._zip.comment = hashlib.sha256(content).hexdigest().encode()
        self._zip.close()


class VerifiedZip:
    """Reads a file of ``ZipWithDigests``; raises DamagedFileError where it holds anything else."""

    def __init__(self, path: Path) -> None:
        with as_damage():
            self._zip = zipfile.ZipFile(path)
            content = self._zip.read(INDEX)
            _compare(INDEX, hashlib.sha256(content), self._zip.comment.decode("ascii"))
            self.index: dict[str, Any] = json.loads(content)
        if self.index["format"] != FORMAT:
            raise DamagedFileError(
                f"its format is {self.index['format']}, and this version of keras_sparse reads "
                f"{FORMAT}; install a newer version"
            )
        self.names = set(self.index["digests"])

    def read(self, name: str) -> bytes:
        """A part of ``write``."""
        with as_damage():
            content = self._zip.read(name)
        _compare(name, hashlib.sha256(content), self.index["digests"][name])
        return content

    def read_pieces(self, name: str) -> Iterator[bytes]:
        """The pieces of ``write_pieces``. They are right if the last one raises nothing."""
        digest = hashlib.sha256()
        with as_damage(), self._zip.open(name) as part:
            while head := part.read(LENGTH.size):
                piece = part.read(LENGTH.unpack(head)[0])
                digest.update(head + piece)
                yield piece
        _compare(name, digest, self.index["digests"][name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()


def _compare(name: str, found: "hashlib._Hash", expected: str) -> None:
    if found.hexdigest() != expected:
        raise DamagedFileError(f"the checksum of {name} differs")
