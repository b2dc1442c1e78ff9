"""What came of a delegate's newest test of a connector's revision, and how that is told.

Pure: time is an argument. Which test counts, and for how long, `manager.probes` says: what is at hand here still counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

MOST_LISTED = 4
"""Tests that one sentence tells of."""


class Probed(NamedTuple):
    """A test of `connector` (its identifier; `id` is its id) that ended with `code` and counts from `at` until `until` (seconds)."""

    connector: str
    code: str
    at: int
    until: int
    id: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it keeps the delegate from tasks that go through the connector."""
        return self.code != "ok"


def failures(probed: Mapping[str, Probed], connectors: Collection[str]) -> list[Probed]:
    """The failed ones of those connectors, which are named by their documents' digests."""
    return sorted(one for one in _known(probed, connectors) if one.has_failed) if probed else []


def _known(probed: Mapping[str, Probed], connectors: Collection[str]) -> list[Probed]:
    """The tests of those connectors: thousands may be asked for, of thousands of delegates."""
    if len(probed) < len(connectors):
        return [one for name, one in probed.items() if name in connectors]
    return [probed[name] for name in connectors if name in probed]


def told(tests: Collection[Probed], now: int) -> str:
    """What came of them, how long ago, and for how long that counts."""
    said = [
        f"its test of {one.connector} {_span(now - one.at)} ago "
        + (f"ended as {one.code}" if one.has_failed else "passed")
        + f" and counts for {_span(one.until - now)} more"
        for one in sorted(tests)[:MOST_LISTED]
    ]
    more = [f"and {len(tests) - MOST_LISTED} more"] if len(tests) > MOST_LISTED else []
    return ", ".join([*said, *more])


def passed(probed: Mapping[str, Probed], connectors: Collection[str], now: int) -> str:
    """Why no test keeps the delegate from those connectors."""
    if not connectors:
        return "no connector is asked for"
    known = _known(probed, connectors)
    return told(known, now) if known else "no test of it is known, and none is needed"


def _span(seconds: int) -> str:
    seconds = max(0, seconds)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds // 3_600} h"
