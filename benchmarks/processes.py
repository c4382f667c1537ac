"""Runs a function in a process of its own, with TensorFlow's threads and memory of its own."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from typing import Any


def pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """A pool that starts a new process for each call; TensorFlow does not survive a fork."""
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, max_tasks_per_child=1
    )


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What the function returns there."""
    with pool(1) as alone:
        return alone.submit(function, *arguments).result()
