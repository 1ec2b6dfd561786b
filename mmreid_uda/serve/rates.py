"""How often a client may ask: a bucket of tokens for each."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RateLimiter"]

# Clients that are remembered; one that has not asked for long has a full bucket, like a new one.
_MOST_CLIENTS = 10_000


class RateLimiter:
    """A bucket for each client: it fills at a steady rate up to its size, and every request takes its cost out.

    Args:
        rate: Tokens per second; 0 lets everything pass.
        burst: Size of a bucket.
        clock: Seconds. Defaults to those since the machine was started.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, client: str, cost: float = 1.0) -> float:
        """Take the cost of a request out of the bucket of a client.

        Args:
            client: Its address.
            cost: In tokens, at most the size of a bucket.

        Returns:
            0 where it may pass; else the seconds until it may, and nothing is taken.
        """
        if self.rate <= 0:
            return 0.0
        key, now = _network(client), self.clock()
        with self._lock:
            level, since = self._buckets.pop(key, (self.burst, now))
            level = min(self.burst, level + (now - since) * self.rate)
            passes = level >= cost
            self._buckets[key] = (level - cost if passes else level, now)
            while len(self._buckets) > _MOST_CLIENTS:
                self._buckets.popitem(last=False)
        return 0.0 if passes else (cost - level) / self.rate


def _network(client: str) -> str:
    """What one client has at its disposal: an address, of the sixth version 2^64 of them."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
