"""Runs a function in a thread that ends with it, so that what is measured later computes alone.

OpenMP keeps a team of threads for every thread that has computed, and GNU's waits less eagerly where the teams together
are more than the cores. Measured on 2 cores, torch with two threads, fashion-mobilenet in batches of 32, on another
thread than the one that warmed up: 1,500 samples/s while that one lived, 3,500 once it had ended.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def on_own_thread(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorates a function to run in a thread of its own; what it returns or raises comes back."""

    @functools.wraps(function)
    def wrapped(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *arguments, **named).result()

    return wrapped
