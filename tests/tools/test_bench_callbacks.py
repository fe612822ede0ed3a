"""The least queue of the bench: every sample is answered once, whoever is idle, and in no batch above the most."""

import random
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tools.bench import callbacks

pytestmark = pytest.mark.side_by_side

MOST = 8


class Session:
    """Answers a sample with its index, and notes how many came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, samples: Any) -> Any:
        self.sizes.append(len(samples))
        return np.eye(10)[samples % 10]


def test_every_sample_is_completed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries of one sample to three batches, now in a row and now with pauses in which workers fall asleep."""
    done, all_done, answers = list[int](), threading.Event(), dict[int, int]()
    counts = [random.Random(5).choice([1, 1, 1, 2, MOST - 1, MOST, 3 * MOST]) for _ in range(400)]
    total = sum(counts)

    def complete(ids: list[int], rows: Any) -> None:
        answers.update(zip(ids, rows.tolist(), strict=True))
        done.extend(ids)
        if len(done) == total:
            all_done.set()

    monkeypatch.setattr(callbacks.loadgen, "complete", complete)
    sessions = [Session() for _ in range(3)]
    subject = SimpleNamespace(dataset=SimpleNamespace(batch=np.array))
    queue = callbacks.LeastQueue(subject, sessions, MOST)  # type: ignore[arg-type]
    first = 0
    for number, count in enumerate(counts):
        own = list(range(first, first + count))
        queue.issue(own, list(own))
        first += count
        if number % 50 == 0:
            all_done.wait(0.01)
    assert all_done.wait(30)
    assert sorted(done) == list(range(total)) and answers == {number: number % 10 for number in range(total)}
    assert max(size for session in sessions for size in session.sizes) <= MOST
