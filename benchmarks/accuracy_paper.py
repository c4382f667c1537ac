"""The test errors in % that Dettmers & Zettlemoyer 2019 report, by network, method and density."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reported:
    """A test error in %, and its standard error where one is given."""

    error: float
    standard_error: float | None = None

    def __str__(self) -> str:
        return f"{self.error:.2f}" + (f" ± {self.standard_error:.2f}" if self.standard_error is not None else "")


def _of(figures: dict[float, tuple[float, ...]]) -> dict[float, Reported]:
    return {density: Reported(*values) for density, values in figures.items()}


def _of_accuracies(densities: tuple[float, ...], accuracies: tuple[float, ...]) -> dict[float, Reported]:
    return {density: Reported(round(100 - accuracy, 4)) for density, accuracy in zip(densities, accuracies, strict=True)}


_MNIST, _WRN = (0.01, 0.02, 0.05, 0.1), (0.1, 0.2, 0.3, 0.4, 0.5)
# "gradual pruning" is what the paper calls magnitude pruning.
PAPER: dict[str, dict[str, dict[float, Reported]]] = {
    "lenet-300-100": {
        "dense": _of({1.0: (1.34, 0.011)}),
        "sparse momentum": _of({0.08: (1.447,), 0.05: (1.53, 0.020), 0.02: (1.99, 0.019), 0.015: (2.053,), 0.01: (2.36, 0.044)}),
        "SET": _of_accuracies(_MNIST, (95.80, 97.74, 98.14, 98.39)),
        "gradual pruning": _of_accuracies(_MNIST, (97.47, 98.12, 98.47, 98.55)),
        "static": _of_accuracies(_MNIST, (49.5, 82.8, 96.68, 97.94)),
        "SNIP": _of({0.05: (1.6,), 0.02: (2.4,)}),
    },
    "lenet-5": {
        "dense": _of({1.0: (0.58, 0.01)}),
        "sparse momentum": _of({0.08: (0.645,), 0.05: (0.69, 0.021), 0.02: (0.76, 0.022), 0.01: (0.83, 0.040), 0.005: (1.144, 0.024)}),
        "SNIP": _of({0.02: (0.8,), 0.01: (1.1,)}),
    },
    "wrn-28-2": {
        "dense": _of_accuracies((1.0,), (94.70,)),
        "sparse momentum": _of_accuracies(_WRN, (93.61, 94.32, 94.58, 94.68, 94.75)),
        "SET": _of_accuracies(_WRN, (93.28, 94.25, 94.40, 94.55, 94.76)),
        "gradual pruning": _of_accuracies(_WRN, (93.75, 94.13, 94.53, 94.54, 94.59)),
        "static": _of_accuracies(_WRN, (92.04, 93.48, 93.87, 94.26, 94.28)),
    },
    "vgg16-d": {"dense": _of({1.0: (6.59,)}), "sparse momentum": _of({0.05: (6.69,)})},
    "wrn-16-8": {"dense": _of({1.0: (4.57,)}), "sparse momentum": _of({0.05: (5.62,)})},
    "wrn-16-10": {"dense": _of({1.0: (4.45,)}), "sparse momentum": _of({0.05: (5.24,)})},
    "wrn-22-8": {"dense": _of({1.0: (4.26,)}), "sparse momentum": _of({0.05: (4.93,)})},
}


def reported(network: str, method: str, density: float) -> Reported | None:
    """What the paper reports, or None."""
    return PAPER.get(network, {}).get(method, {}).get(density)
