"""What counts as a positive integer in an argument (standard library only)."""

import numbers
from typing import Any


def is_positive_integer(value: Any) -> bool:
    """Is it an integer above 0, of Python or NumPy, and no bool?

    >>> [is_positive_integer(value) for value in (4, np.int64(4), 0, True, 4.0)]
    [True, True, False, False, False]
    """
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0
