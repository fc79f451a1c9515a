"""How often somebody may ask: a token bucket for each name, in the memory of one process."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict

__all__ = ["Rate"]

_NAMES = 10_000
"""Of more names than these the ones not heard of for longest are forgotten; their buckets are full by then."""


class Rate:
    """Lets each name through so many times a second, and so many times at once.

    Parameters
    ----------
    per_second : float
    burst : int
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second, self.burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, *, take: bool = True) -> int:
        """Whole seconds until `name` may ask again; 0 lets it through and, with `take`, counts it."""
        now = time.monotonic()
        with self._lock:
            tokens, before = self._buckets.get(name, (float(self.burst), now))
            tokens = min(tokens + (now - before) * self.per_second, self.burst)
            allowed = tokens >= 1
            self._buckets[name] = (tokens - 1 if allowed and take else tokens, now)
            self._buckets.move_to_end(name)
            while len(self._buckets) > _NAMES:
                self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - tokens) / self.per_second))
