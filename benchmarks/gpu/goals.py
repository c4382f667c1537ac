"""Our goals for 3x3 convolutions, and whether they are reached.

Forward and both gradients; 256 and 512 channels, batch 128.
"""

import dataclasses
import statistics

from layers import GROUPS, TINY
from results import Block, Results


@dataclasses.dataclass(frozen=True)
class Goal:
    """So many times as fast as dense."""

    arithmetic: str
    block: Block
    density: float
    times: float


GOALS = (
    Goal("bfloat16", 32, 0.25, 2.0),
    Goal("bfloat16", 32, 0.1, 4.0),
    Goal("bfloat16", 64, 0.5, 1.3),
    Goal("float32", "weights", 0.1, 2.0),
)
COLUMNS = ("goal", "wanted", "layers", "reached by", "least", "geometric mean")


def rows(results: Results) -> list[tuple[object, ...]]:
    """How far each goal is reached."""
    layers = (TINY if results.rehearse else GROUPS)["goals"]
    found = []
    for goal in GOALS:
        ratios = [
            results.ratio(layer, goal.arithmetic, goal.block, goal.density) for layer in layers
        ]
        known = [ratio for ratio in ratios if ratio is not None]
        name = f"{goal.arithmetic}, {goal.block}{'-blocks' if isinstance(goal.block, int) else ''}, density {goal.density}"
        reached = sum(ratio >= goal.times for ratio in known)
        figures = (
            (f"{min(known):.2f}", f"{statistics.geometric_mean(known):.2f}")
            if known
            else ("-", "-")
        )
        found.append((name, goal.times, f"{len(known)} of {len(layers)}", reached, *figures))
    return found
