"""Numbers of bytes, and shapes, as a report shows them."""

from collections.abc import Sequence

UNITS = ("kB", "MB", "GB", "TB")


def size_text(size: int) -> str:
    """A number of bytes in units of 1000.

    >>> size_text(999), size_text(12_345), size_text(1_250_000)
    ('999 bytes', '12.3 kB', '1.25 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    power = min((len(str(size)) - 1) // 3, len(UNITS))
    return f"{size / 1000**power:.3g} {UNITS[power - 1]}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape.

    >>> shape_text([3, 3, 16, 32])
    '3x3x16x32'
    """
    return "x".join(map(str, shape))
