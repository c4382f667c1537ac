"""Runs a function in a process of its own, with TensorFlow's threads and memory of its own."""

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any


def pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """A pool that starts a new process for each call; TensorFlow does not survive a fork."""
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, max_tasks_per_child=1, initializer=_end_with_the_parent
    )


def _end_with_the_parent() -> None:
    """Ends this process when its parent is killed: a training left behind spoils later timings."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What the function returns there."""
    with pool(1) as alone:
        return alone.submit(function, *arguments).result()
