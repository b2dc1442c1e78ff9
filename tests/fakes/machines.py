"""How many examples a state machine of the dispatch protocol makes: the suite's own few, or a long run's."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

LONG = int(os.environ.get("DISPATCH_EXAMPLES", "0"))
"""How many a long run makes, drawn by lot; 0 for the suite's own, which are the same in every run."""


def how_long(examples: int, steps: int, long_steps: int) -> settings:
    """The suite's examples, of so many steps, or in a long run `LONG` of `long_steps`."""
    return settings(
        max_examples=LONG or examples,
        stateful_step_count=long_steps if LONG else steps,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.generate] if os.environ.get("DISPATCH_RAW") else [Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
