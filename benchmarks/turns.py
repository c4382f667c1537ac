"""Times contenders that run in turns, so that a busy moment of the machine hits all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]
Seconds = dict[str, list[float]]  # of each contender, turn by turn

LEAST_TURN = 0.02  # seconds; what is quicker is repeated within a turn


def clock_for(threads: int) -> Clock:
    """CPU time for one thread; wall time for more, because threads that wait for work spin."""
    return time.process_time if threads == 1 else time.perf_counter


def limit_threads(threads: int) -> None:
    """For the rest of the process; to be called before TensorFlow's first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def take_turns(contenders: Mapping[str, Callable[[], object]], turns: int, clock: Clock) -> Seconds:
    """Seconds of one call of each contender, turn by turn; every other turn in reverse order.

    Warm them up first.
    """
    repeats = {name: _repeats(contender, clock) for name, contender in contenders.items()}
    seconds: Seconds = {name: [] for name in contenders}
    for turn in range(turns):
        for name in contenders if turn % 2 == 0 else reversed(list(contenders)):
            seconds[name].append(_time(contenders[name], repeats[name], clock))
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times as long the first takes: the median over turns.

    The two of one turn saw the same machine.
    """
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def geometric_mean(ratios: list[float]) -> float:
    return statistics.geometric_mean(ratios)


def _repeats(contender: Callable[[], object], clock: Clock) -> int:
    once = min(_time(contender, 1, clock) for _ in range(2))
    return max(1, round(LEAST_TURN / max(once, 1e-6)))


def _time(contender: Callable[[], object], repeats: int, clock: Clock) -> float:
    begin = clock()
    for _ in range(repeats):
        contender()
    return (clock() - begin) / repeats
