"""Which delegate may have a task, and for every other one why not. Pure: a snapshot goes in, a decision comes out.

These rules are the measure; `selection` finds by them the one to choose, without asking them of everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from manager.probed import Probed, failures, passed, told
from shared.condition import Condition
from shared.documents.task import EXEC
from shared.messages import Use
from shared.names import Scope
from shared.selectors import missing
from shared.trust.authority import SKEW_SECONDS


class Reason(NamedTuple):
    """Why a delegate can't take a task: a stable code, and a sentence that names what would change it."""

    code: str
    detail: str


MOST_LISTED = 8
"""Names that one reason lists."""

BUSY = "busy"
PROBE_FAILED = "probe_failed"
CLOCK_WRONG = "clock_wrong"
DOUBTS = frozenset({PROBE_FAILED, CLOCK_WRONG})
"""The reasons for which a delegate is only the last choice: where nobody else could, its signed answer says what is wrong."""

PASSING = frozenset({BUSY, "over_cpu", "over_memory"}) | DOUBTS
"""The reasons that pass by themselves: a task may wait for such a delegate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What routing knows of one delegate. `load` is executing tasks over capacity; `order` breaks ties (least recent first).

    One over its limit of `cpu` or `memory` isn't `free`. `scopes` are those that its own policy takes, all where there are none.
    `group` is its group's name, empty for none, whose tags are among `tags`. `probed` are its tests that still count, by the
    digests of the connectors' documents, and `now` the time by which they are told. `clock` is by how many seconds its clock is
    ahead of the manager's (behind: negative); 0 where it doesn't say.
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
    executing: int = 0
    capacity: int = 0
    group: str = ""
    probed: Mapping[str, Probed] = field(default_factory=dict)
    now: int = 0
    clock: int = 0

    @property
    def is_off(self) -> bool:
        """Whether its clock differs by more than anybody tolerates."""
        return abs(self.clock) > SKEW_SECONDS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a task needs of its delegate. `to` is the one that it names; `tried` failed it already.

    `conditions` must all hold for its tags; `scopes` are where what the task is about lives. `connectors` are those in use, by
    their documents' digests; where it is `forgiving`, failed tests of them speak against nobody, nor do clocks.
    """

    keyring: str
    generation: int
    kinds: frozenset[str]
    selectors: frozenset[str]
    to: str | None = None
    tried: frozenset[str] = frozenset()
    conditions: tuple[Condition, ...] = ()
    scopes: frozenset[str] = frozenset()
    connectors: frozenset[str] = frozenset()
    forgiving: bool = False


@lru_cache(maxsize=65_536)
def takes(owned: tuple[str, ...], scopes: frozenset[str]) -> bool:
    """Whether a delegate whose policy takes `owned` takes a task about all of `scopes`."""
    above = [Scope.parse(one) for one in owned]
    return not above or all(any(one.covers(Scope.parse(scope)) for one in above) for scope in scopes)


def fits(candidate: Candidate, wanted: Wanted) -> bool:
    """Whether there are no `reasons`: a whole line is asked of each delegate that becomes free, so that none is worded here."""
    return (
        candidate.free
        and candidate.online
        and not candidate.draining
        and wanted.to in {None, candidate.delegate}
        and candidate.keyring == wanted.keyring
        and wanted.generation in candidate.generations
        and wanted.selectors <= candidate.tags
        and wanted.kinds <= candidate.kinds
        and candidate.delegate not in wanted.tried
        and all(one.holds(candidate.tags) for one in wanted.conditions)
        and takes(candidate.scopes, wanted.scopes)
        and (wanted.forgiving or not (candidate.is_off or failures(candidate.probed, wanted.connectors)))
    )


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
    if not wanted.forgiving and (failed := failures(candidate.probed, wanted.connectors)):
        found.append(Reason(PROBE_FAILED, told(failed, candidate.now)))
    if not wanted.forgiving and candidate.is_off:
        way = "ahead of" if candidate.clock > 0 else "behind"
        found.append(Reason(CLOCK_WRONG, f"its clock is {abs(candidate.clock)} seconds {way} the manager's"))
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


class Rule(NamedTuple):
    """One rule about one delegate. `verdict` is pass, fail, or not_asked where another rule's no leaves nothing to ask.

    `code` is ok, not_asked, or the stable one of the `Reason`; `remedy` what would change a fail.
    """

    rule: str
    verdict: str
    code: str
    detail: str
    remedy: str


RULES = {
    "connected": ("offline",),
    "named": ("not_chosen",),
    "keyring": ("wrong_keyring",),
    "generation": ("generation_missing",),
    "selectors": ("selectors_missing",),
    "condition": ("condition_unmet",),
    "scope": ("out_of_scope",),
    "commands": ("exec_off",),
    "kind": ("kind_unknown",),
    "untried": ("tried",),
    "probe": (PROBE_FAILED,),
    "clock": (CLOCK_WRONG,),
    "staying": ("draining",),
    "cpu": ("over_cpu",),
    "memory": ("over_memory",),
    "room": (BUSY,),
}
"""Each rule by its name, and the codes of the reasons by which it says no."""

_BEFORE = {"generation": ("keyring",), **dict.fromkeys(("cpu", "memory", "room"), ("connected", "staying"))}
"""Rules that aren't asked where one of those says no."""


def rules(candidate: Candidate, wanted: Wanted) -> list[Rule]:
    """Every rule, those that pass too. `reasons` decides; this only tells."""
    found = {reason.code: reason for reason in reasons(candidate, wanted)}
    failed = {rule for rule, codes in RULES.items() if not found.keys().isdisjoint(codes)}
    told = []
    for rule, codes in RULES.items():
        said = [found.pop(code) for code in codes if code in found]
        if said:
            told += [Rule(rule, "fail", *one, remedy(one.code, candidate, wanted)) for one in said]
        elif before := [one for one in _BEFORE.get(rule, ()) if one in failed]:
            told.append(Rule(rule, "not_asked", "not_asked", f"not asked: {before[0]} says no already", ""))
        elif rule == "room" and not candidate.free:
            told.append(
                Rule(rule, "not_asked", "not_asked", "not asked: it takes no tasks while it is over a limit", "")
            )
        else:
            told.append(Rule(rule, "pass", "ok", _passed(rule, candidate, wanted), ""))
    # What has no rule's name yet is told all the same.
    return told + [Rule(code, "fail", *one, remedy(code, candidate, wanted)) for code, one in found.items()]


def _passed(rule: str, candidate: Candidate, wanted: Wanted) -> str:
    match rule:
        case "connected":
            return "it is connected"
        case "named":
            return "the task names it" if wanted.to else "the task names no delegate"
        case "keyring":
            return f"it holds the keyring {wanted.keyring}"
        case "generation":
            return f"it holds generation {wanted.generation} of the keyring"
        case "selectors":
            return f"it carries {_listed(sorted(wanted.selectors))}" if wanted.selectors else "no selector is asked for"
        case "condition":
            conditions = [str(one) for one in wanted.conditions]
            return f"its tags meet {_listed(conditions)}" if conditions else "there is no condition"
        case "scope":
            where = _listed(sorted(wanted.scopes)) or "any scope"
            return f"it takes tasks of {where}" + ("" if candidate.scopes else ", as of all scopes")
        case "commands":
            return "its owner lets commands run there" if EXEC in wanted.kinds else "the task runs no command"
        case "kind":
            kinds = sorted(wanted.kinds - {EXEC})
            return f"it knows the kind {_listed(kinds)}" if kinds else "no kind is asked for"
        case "untried":
            return "it hasn't tried this task"
        case "probe":
            return passed(candidate.probed, wanted.connectors, candidate.now)
        case "clock":
            return f"no more than {abs(candidate.clock)} seconds are known by which its clock differs"
        case "staying":
            return "it isn't shutting down"
        case "room":
            return f"it has room: {candidate.executing} of {candidate.capacity} tasks"
    use = candidate.cpu if rule == "cpu" else candidate.memory
    name = "CPU" if rule == "cpu" else rule
    if use is None:
        return f"it doesn't tell what it uses of its {name}"
    limit = f"its limit is {use.limit_percent} %" if use.limit_percent else "it has no limit"
    return f"it uses {use.percent} % of its {name}; {limit}"


def remedy(code: str, candidate: Candidate, wanted: Wanted) -> str:
    """What would change that reason: the option, tag, policy key or command. Empty for a code that isn't known."""
    match code:
        case "offline":
            return "start it again, or read its log: privyseal-delegate"
        case "not_chosen":
            return f"ask for it by its name: --delegate {candidate.name}"
        case "wrong_keyring":
            return f"use a connector of the keyring {candidate.keyring}, or give it that of {wanted.keyring} (keyring_file)"
        case "generation_missing":
            return "give it the keyring's newest file (keyring_file) and start it again; it is written by privyseal keyring rotate"
        case "selectors_missing":
            lacking = missing(wanted.selectors, candidate.tags)
            give = f"give it the tags (--tags {','.join(lacking[:MOST_LISTED])})"
            group = (
                f" or add them to its group (privyseal group set {candidate.group} --add TAG)"
                if candidate.group
                else ""
            )
            return f"{give}{group}, or ask for others: --delegate, delegateSelectors"
        case "condition_unmet":
            group = f" or its group's (privyseal group set {candidate.group})" if candidate.group else ""
            return f"change its tags (--tags){group}, or the condition: --where, delegateCondition"
        case "out_of_scope":
            return f"add {_listed(sorted(wanted.scopes))} to scopes in its policy file"
        case "exec_off":
            return "set exec = true in its policy file"
        case "kind_unknown":
            return f"add {_listed(sorted(wanted.kinds - candidate.kinds - {EXEC}))} to kinds in its policy file, or update it"
        case "tried":
            return "nothing for this task; ask again"
        case "probe_failed":
            return "mend what it logs in with, or its way there; it tests again when hardly another is left, or: privyseal connector test"
        case "clock_wrong":
            return "set its machine's clock (NTP), or the manager's where all differ; it is asked again as soon as it is right"
        case "draining":
            return "wait until it has started again, or start another"
        case "busy":
            return "wait, raise its --capacity, or start another"
        case "over_cpu" | "over_memory":
            return f"wait, raise its --{code.removeprefix('over_')}-limit-percent, or start another"
    return ""


class Explanation(NamedTuple):
    """Of the delegates, at most so many in full, whoever is nearest to having the task first; `others` counts the rest by code."""

    rows: list[dict[str, object]]
    others: dict[str, int]


MOST_TOLD = 32
"""Delegates that an error, or a task's history, tells of in full."""


def explain(candidates: Iterable[Candidate], wanted: Wanted, winner: str = "", most: int = MOST_TOLD) -> Explanation:
    """For every known delegate, each rule, and what it comes to: winner, able (of a lesser turn), waits or refused."""
    ranked = []
    for at, one in enumerate(candidates):
        found = reasons(one, wanted)
        passing = {reason.code for reason in found} <= PASSING
        verdict = "winner" if one.delegate == winner else "able" if not found else "waits" if passing else "refused"
        rank = ("winner", "able", "waits", "refused").index(verdict)
        ranked.append(((rank, (one.load, one.order) if rank < 3 else (len(found), 0), at), one, verdict, found))
    ranked.sort(key=lambda row: row[0])
    rows: list[dict[str, object]] = [
        {
            "delegate": one.delegate,
            "name": one.name,
            "group": one.group,
            "verdict": verdict,
            "executing": one.executing,
            "capacity": one.capacity,
            "reasons": [{**reason._asdict(), "remedy": remedy(reason.code, one, wanted)} for reason in found],
            "rules": [rule._asdict() for rule in rules(one, wanted)],
        }
        for _, one, verdict, found in ranked[:most]
    ]
    others: Counter[str] = Counter()
    for _, _, verdict, found in ranked[most:]:
        others.update([reason.code for reason in found] or [verdict])
    return Explanation(rows, dict(sorted(others.items())))


class Standing(NamedTuple):
    """How a chosen delegate stood: so many could take the task at once, so many were as little loaded, itself included.

    `is_new` says that it had none yet since it connected.
    """

    able: int
    equal: int
    is_new: bool


def why(standing: Standing, executing: int, capacity: int) -> str:
    """Why it was chosen, with the figures before it had the task."""
    has = f"{executing} of {capacity} tasks"
    if standing.able <= 1:
        return f"the only one that can take it now ({has})"
    if standing.equal <= 1:
        return f"the least loaded of {standing.able} that can take it now ({has})"
    turn = "has had none since it connected" if standing.is_new else "has waited longest for one"
    return f"{standing.equal} of {standing.able} that can take it now are as little loaded ({has}), and it {turn}"
