"""A distribution turns shapes and one density into active weights of each layer (NumPy only).

Every distribution returns exact integer counts. They add up to ``round(density * all weights)``.
None exceeds the size of its layer, and none is 0: fewer active weights than layers raise an error.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from keras_sparse.rules.exact_counts import exact, scaled
from keras_sparse.rules.received import received

Shape = tuple[int, ...]
Distribution = Callable[[Sequence[Shape], float], list[int]]


def uniform(shapes: Sequence[Shape], density: float) -> list[int]:
    """The same density in every layer.

    Args:
        shapes: kernel shapes, e.g. ``[(3, 3, 16, 32), (128, 10)]``.
        density: active / all weights, in (0, 1].

    Returns:
        Active weights per layer.

    Raises:
        ValueError: a density outside (0, 1], or one that leaves fewer active weights than layers.

    >>> uniform([(10, 10), (10, 2)], 0.1)
    [10, 2]
    """
    check_density(density)
    return exact(np.array([math.prod(shape) for shape in shapes]) * density, shapes, density)


def erdos_renyi(shapes: Sequence[Shape], density: float) -> list[int]:
    """Erdos-Renyi (Mocanu et al. 2018).

    A layer's density is proportional to ``(in + out) / (in * out)``, capped at 1.

    >>> erdos_renyi([(100, 100), (100, 10)], 0.2)
    [1419, 781]
    """
    return _scaled(erdos_renyi, shapes, density)


def erdos_renyi_kernel(shapes: Sequence[Shape], density: float) -> list[int]:
    """ERK, Erdos-Renyi by kernel (Evci et al. 2020).

    A layer's density is proportional to ``sum(shape) / prod(shape)``, capped at 1.

    >>> erdos_renyi_kernel([(3, 3, 4, 8), (3, 3, 8, 16)], 0.5)
    [270, 450]
    """
    return _scaled(erdos_renyi_kernel, shapes, density)


# To what a layer's density is proportional, by the distribution.
PROPORTIONAL: dict[Distribution, Callable[[Shape], float]] = {
    uniform: lambda shape: 1.0,
    erdos_renyi: lambda shape: sum(shape[-2:]) / math.prod(shape[-2:]),
    erdos_renyi_kernel: lambda shape: sum(shape) / math.prod(shape),
}
NAMED: dict[str, Distribution] = {
    "uniform": uniform,
    "erdos_renyi": erdos_renyi,
    "er": erdos_renyi,
    "erdos_renyi_kernel": erdos_renyi_kernel,
    "erk": erdos_renyi_kernel,
}


def active_counts(
    names: Sequence[str],
    shapes: Sequence[Shape],
    density: float,
    distribution: str | Distribution | Mapping[str, float] = "uniform",
) -> list[int]:
    """Active weights per layer, by a distribution: a name, a function, or a map.

    Args:
        names: names of the layers, for the map and for errors.
        shapes: kernel shapes.
        density: active / all weights, in (0, 1].
        distribution: ``"uniform"``, ``"erdos_renyi"``, ``"erk"``; a function of ``(shapes,
            density)``; or a map ``{glob on the name: density}``, where layers that no glob names
            get ``density``.

    Raises:
        ValueError: unknown distribution, a glob that names no layer, a density outside (0, 1].
    """
    check_density(density)
    check_distribution(distribution)
    if isinstance(distribution, Mapping):
        return _by_map(names, shapes, density, distribution)
    function = NAMED[distribution] if isinstance(distribution, str) else distribution
    return [int(count) for count in function(shapes, density)]


def check_density(density: float, name: str = "density") -> None:
    """Raises ValueError unless 0 < density <= 1."""
    is_number = isinstance(density, int | float | np.number) and not isinstance(density, bool)
    if not is_number or not 0.0 < density <= 1.0:
        raise ValueError(f"`{name}` must be in (0, 1]. {received(**{name: density})}")


def check_distribution(distribution: Any) -> Any:
    """Returns the distribution; ValueError unless it is a known name, a map or a function."""
    if isinstance(distribution, Mapping) and distribution:
        for pattern, value in distribution.items():
            check_density(value, f"distribution[{pattern!r}]")
    elif not callable(distribution) and (
        not isinstance(distribution, str) or distribution not in NAMED
    ):
        raise ValueError(
            f"`distribution` must be one of {sorted(NAMED)}, a map or a function. "
            f"{received(distribution=distribution)}"
        )
    return distribution


def matches(name: str, pattern: str) -> bool:
    """Does a glob name this path, a folder of it or its end?

    ``"stem"`` names ``"model/stem/kernel"``. A full path also names its own end: a Sequential that
    Keras has loaded from a file has lost its name in the paths.

    >>> [matches(name, "stem") for name in ("resnet/stem/kernel", "resnet/stem_2/kernel")]
    [True, False]
    >>> matches("a/b", "*/b")
    True
    >>> matches("stem/kernel", "resnet/stem/kernel")
    True
    """
    forms = (pattern, f"{pattern}/*", f"*/{pattern}", f"*/{pattern}/*")
    return any(fnmatchcase(name, form) for form in forms) or pattern.endswith(f"/{name}")


def _by_map(
    names: Sequence[str], shapes: Sequence[Shape], density: float, wanted: Mapping[str, float]
) -> list[int]:
    """Counts by the first glob that names a layer, else by ``density``."""
    chosen = densities_by_map(names, density, wanted)
    return [max(1, round(d * math.prod(shape))) for d, shape in zip(chosen, shapes, strict=True)]


def densities_by_map(
    names: Sequence[str], density: float, wanted: Mapping[str, float]
) -> list[float]:
    """The density of each layer, by the first glob that names it, else ``density``.

    Raises:
        ValueError: a glob that names no layer.
    """
    for pattern in wanted:
        if not any(matches(name, pattern) for name in names):
            raise ValueError(
                "`distribution` names a layer that has no mask. "
                f"Received: {pattern!r}; the masked weights are {list(names)}"
            )
    return [next((v for p, v in wanted.items() if matches(name, p)), density) for name in names]


def _scaled(distribution: Distribution, shapes: Sequence[Shape], density: float) -> list[int]:
    check_density(density)
    raw = [PROPORTIONAL[distribution](shape) for shape in shapes]
    sizes = np.array([math.prod(shape) for shape in shapes], float)
    return exact(scaled(raw, sizes, density), shapes, density)
