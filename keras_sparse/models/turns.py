"""Times contenders that run in turns, so that a busy moment of the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    turns: int,
    min_seconds: float,
    warm_up: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of one call of each contender, turn by turn.

    Args:
        contenders: functions, by name.
        turns: number of turns.
        min_seconds: of a turn of one contender; quicker ones are repeated.
        warm_up: calls of each contender before the first turn; the first one traces.
        clock: seconds; CPU time counts what threads wait for work, too.
    """
    for contender in contenders.values():
        for _ in range(warm_up):
            contender()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            begin, number = clock(), 0
            while number == 0 or clock() - begin < min_seconds:
                contender()
                number += 1
            seconds[name].append((clock() - begin) / number)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """The median ratio over turns; both times of one turn saw the same machine.

    >>> ratio([4.0, 6.0, 5.0], [1.0, 2.0, 2.0])
    3.0
    """
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
