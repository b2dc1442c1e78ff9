"""Which delegate may have a task, and for every other one why not. Pure: a snapshot goes in, a decision comes out.

These rules are the measure; `selection` finds by them the one to choose, without asking them of everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from shared.condition import Condition
from shared.documents.task import EXEC
from shared.messages import Use
from shared.names import Scope
from shared.selectors import missing


class Reason(NamedTuple):
    """Why a delegate can't take a task: a stable code, and a sentence that names what would change it."""

    code: str
    detail: str


MOST_LISTED = 8
"""Names that one reason lists."""

BUSY = "busy"
PASSING = frozenset({BUSY, "over_cpu", "over_memory"})
"""The reasons that pass by themselves: a task may wait for such a delegate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What routing knows of one delegate. `load` is executing tasks over capacity; `order` breaks ties (least recent first).

    One over its limit of `cpu` or `memory` isn't `free`. `scopes` are those that its own policy takes, all where there are none.
    """

    delegate: str
    name: str
    tags: frozenset[str]
    keyring: str
    generations: frozenset[int]
    kinds: frozenset[str]
    online: bool
    draining: bool
    free: bool
    load: float
    order: int
    idle_seconds: int = 0
    scopes: tuple[str, ...] = ()
    cpu: Use | None = None
    memory: Use | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a task needs of its delegate. `to` is the one that it names; `tried` failed it already.

    `conditions` must all hold for its tags; `scopes` are where what the task is about lives.
    """

    keyring: str
    generation: int
    kinds: frozenset[str]
    selectors: frozenset[str]
    to: str | None = None
    tried: frozenset[str] = frozenset()
    conditions: tuple[Condition, ...] = ()
    scopes: frozenset[str] = frozenset()


@lru_cache(maxsize=65_536)
def takes(owned: tuple[str, ...], scopes: frozenset[str]) -> bool:
    """Whether a delegate whose policy takes `owned` takes a task about all of `scopes`."""
    above = [Scope.parse(one) for one in owned]
    return not above or all(any(one.covers(Scope.parse(scope)) for one in above) for scope in scopes)


def reasons(candidate: Candidate, wanted: Wanted) -> list[Reason]:
    """Every rule that says no; empty when it may have the task now."""
    found = []
    if not candidate.online:
        found.append(Reason("offline", f"it has been disconnected for {candidate.idle_seconds} seconds"))
    if wanted.to is not None and wanted.to != candidate.delegate:
        found.append(Reason("not_chosen", "the task names another delegate"))
    if candidate.keyring != wanted.keyring:
        found.append(
            Reason("wrong_keyring", f"it holds the keyring {candidate.keyring}, the task needs {wanted.keyring}")
        )
    elif wanted.generation not in candidate.generations:
        held = ", ".join(str(one) for one in sorted(candidate.generations)) or "none"
        found.append(
            Reason(
                "generation_missing",
                f"it holds generation {held} of the keyring, the task needs {wanted.generation}",
            )
        )
    lacking = missing(wanted.selectors, candidate.tags)
    if lacking:
        found.append(Reason("selectors_missing", f"it lacks the selector {_listed(lacking)}"))
    unmet = [str(one) for one in wanted.conditions if not one.holds(candidate.tags)]
    if unmet:
        found.append(Reason("condition_unmet", f"its tags don't meet {_listed(unmet)}"))
    if not takes(candidate.scopes, wanted.scopes):
        found.append(
            Reason(
                "out_of_scope",
                f"its owner lets it take tasks of {_listed(candidate.scopes)} alone (scopes in its policy file)",
            )
        )
    unknown = sorted(wanted.kinds - candidate.kinds)
    if EXEC in unknown:
        unknown.remove(EXEC)
        found.append(Reason("exec_off", "its owner lets no commands run there (exec in its policy file)"))
    if unknown:
        found.append(Reason("kind_unknown", f"it doesn't know the kind {_listed(unknown)}"))
    if candidate.delegate in wanted.tried:
        found.append(Reason("tried", "it has tried this task and failed"))
    if candidate.draining:
        found.append(Reason("draining", "it is shutting down and takes no new tasks"))
    elif candidate.online and not candidate.free:
        found.extend(_not_free(candidate))
    return found


def _not_free(candidate: Candidate) -> list[Reason]:
    over = [
        Reason(
            f"over_{name.lower()}",
            f"it uses {use.percent} % of its {name} and takes no new tasks while that is over its limit of {use.limit_percent} %",
        )
        for name, use in (("CPU", candidate.cpu), ("memory", candidate.memory))
        if use is not None and use.over
    ]
    return over or [Reason(BUSY, "it has as many tasks as it takes")]


def _listed(names: Sequence[str]) -> str:
    # A thousand connectors have many selectors, and this is said for each of a thousand delegates.
    more = [f"and {len(names) - MOST_LISTED} more"] if len(names) > MOST_LISTED else []
    return ", ".join([*names[:MOST_LISTED], *more])


def explain(candidates: Iterable[Candidate], wanted: Wanted) -> list[dict[str, object]]:
    """For every known delegate, each rule that says no."""
    return [
        {
            "delegate": one.delegate,
            "name": one.name,
            "reasons": [{"code": reason.code, "detail": reason.detail} for reason in reasons(one, wanted)],
        }
        for one in candidates
    ]
