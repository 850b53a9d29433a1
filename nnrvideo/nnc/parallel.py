# SPDX-License-Identifier: Apache-2.0
"""Units side by side: the native coder works without the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(
    action: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int | None,
    *,
    size: Callable[[Item], int],
) -> list[Result]:
    """Results of an action on each item, in order, the largest items begun first.

    Args:
        action: Lets other threads run most of its time.
        items: What to act on.
        threads: At most so many; None for one on each core.
        size: Measure of the time an item takes.
    """
    threads = min(threads or os.cpu_count() or 1, len(items))
    if threads < 2:
        return [action(item) for item in items]
    order = sorted(range(len(items)), key=lambda index: -size(items[index]))
    with ThreadPoolExecutor(threads) as pool:
        futures = {index: pool.submit(action, items[index]) for index in order}
        return [futures[index].result() for index in range(len(items))]
