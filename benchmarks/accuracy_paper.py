"""The test errors in % that Dettmers & Zettlemoyer 2019 report, by network, method and density."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reported:
    """A test error in %, and its standard error where one is given."""

    error: float
    standard_error: float | None = None

    def __str__(self) -> str:
        known = self.standard_error is not None
        return f"{self.error:.2f}" + (f" ± {self.standard_error:.2f}" if known else "")


Densities = dict[float, Reported]


def _of(figures: dict[float, tuple[float, ...]]) -> Densities:
    return {density: Reported(*values) for density, values in figures.items()}


def _of_accuracies(accuracies: dict[float, float]) -> Densities:
    return {density: Reported(round(100 - value, 4)) for density, value in accuracies.items()}


_LENET_300_100 = {
    "dense": _of({1.0: (1.34, 0.011)}),
    "sparse momentum": _of(
        {
            0.08: (1.447,),
            0.05: (1.53, 0.020),
            0.02: (1.99, 0.019),
            0.015: (2.053,),
            0.01: (2.36, 0.044),
        }
    ),
    "SET": _of_accuracies({0.1: 98.39, 0.05: 98.14, 0.02: 97.74, 0.01: 95.80}),
    # The paper calls it magnitude pruning.
    "gradual pruning": _of_accuracies({0.1: 98.55, 0.05: 98.47, 0.02: 98.12, 0.01: 97.47}),
    "static": _of_accuracies({0.1: 97.94, 0.05: 96.68, 0.02: 82.8, 0.01: 49.5}),
    "SNIP": _of({0.05: (1.6,), 0.02: (2.4,)}),
}
_LENET_5 = {
    "dense": _of({1.0: (0.58, 0.01)}),
    "sparse momentum": _of(
        {
            0.08: (0.645,),
            0.05: (0.69, 0.021),
            0.02: (0.76, 0.022),
            0.01: (0.83, 0.040),
            0.005: (1.144, 0.024),
        }
    ),
    "SNIP": _of({0.02: (0.8,), 0.01: (1.1,)}),
}
_WRN_28_2 = {
    "dense": _of_accuracies({1.0: 94.70}),
    "sparse momentum": _of_accuracies({0.1: 93.61, 0.2: 94.32, 0.3: 94.58, 0.4: 94.68, 0.5: 94.75}),
    "SET": _of_accuracies({0.1: 93.28, 0.2: 94.25, 0.3: 94.40, 0.4: 94.55, 0.5: 94.76}),
    "gradual pruning": _of_accuracies({0.1: 93.75, 0.2: 94.13, 0.3: 94.53, 0.4: 94.54, 0.5: 94.59}),
    "static": _of_accuracies({0.1: 92.04, 0.2: 93.48, 0.3: 93.87, 0.4: 94.26, 0.5: 94.28}),
}


PAPER: dict[str, dict[str, Densities]] = {
    "lenet-300-100": _LENET_300_100,
    "lenet-5": _LENET_5,
    "wrn-28-2": _WRN_28_2,
}


def reported(network: str, method: str, density: float) -> Reported | None:
    """What the paper reports, or None."""
    return PAPER.get(network, {}).get(method, {}).get(density)
