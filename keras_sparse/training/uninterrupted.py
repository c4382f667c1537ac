"""``finish`` does all of what a Ctrl-C must not leave half done, and lets it stop the rest."""

from collections.abc import Callable


def finish(action: Callable[[], None]) -> None:
    """Calls an action; one that a KeyboardInterrupt stops is called again before that goes on.

    Args:
        action: one that may be called twice.
    """
    try:
        action()
    except KeyboardInterrupt:
        action()
        raise
