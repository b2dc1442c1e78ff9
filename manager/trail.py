"""A task's trail: who was chosen for it when and why, who was passed over then, and why it had to be chosen for again.

Promises: bounded, however long the fleet or its tags are: at most `routing.MOST_TOLD` delegates of a moment in full and the
others counted, `MOST_TEXT` characters of sentences in all. Holds names and metadata, never a value. Who may read it the
API says: the task's signer and administrators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from manager.routing import MOST_TOLD, Candidate, Reason, Wanted, reasons, remedy

MOST_STEPS = 24
"""Three attempts, each with its waiting, its documents that were lacking and its end, are fewer."""

MOST_TEXT = 16_384
LONGEST_TEXT = 240

What = Literal["chosen", "waits", "needs", "answered", "lost", "refused"]


class Said(msgspec.Struct, frozen=True):
    """A reason as it was at that time."""

    code: str
    detail: str
    remedy: str


class Refused(msgspec.Struct, frozen=True):
    """Delegates (names) that were passed over for the same reasons."""

    delegates: tuple[str, ...]
    reasons: tuple[Said, ...]


class PassedOver(msgspec.Struct, frozen=True):
    """Who couldn't have the task at that time; `others` are not told in full but counted by code."""

    refused: tuple[Refused, ...] = ()
    others: dict[str, int] = {}


class Step(msgspec.Struct, omit_defaults=True):
    """Something that happened to the task `at` seconds since 1970, with its `code` or the sentence `why`."""

    at: int
    what: What
    delegate: str = ""
    name: str = ""
    code: str = ""
    why: str = ""
    passed_over: PassedOver = PassedOver()


class Trail:
    """One task's."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._text = 0

    def note(self, at: int, what: What, delegate: str = "", name: str = "", code: str = "", why: str = "") -> None:
        """That happened. What is past the bound isn't kept: it couldn't come to that."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append(Step(at, what, delegate, name, code, why))

    def tell(self, passed_over: PassedOver) -> None:
        """Who couldn't have it when the last step happened; only counted where there is too much to tell already."""
        if not self.steps:
            return
        if not passed_over.refused:
            self.steps[-1].passed_over = passed_over
            return
        kept, others = [], Counter(passed_over.others)
        for one in passed_over.refused:
            size = sum(map(len, one.delegates)) + sum(len(said.detail) + len(said.remedy) for said in one.reasons)
            if self._text + size > MOST_TEXT:
                for said in one.reasons:
                    others[said.code] += len(one.delegates)
                continue
            self._text += size
            kept.append(one)
        self.steps[-1].passed_over = PassedOver(tuple(kept), dict(sorted(others.items())))

    def told(self) -> list[dict[str, Any]]:
        """As it is kept with the task's row."""
        steps: list[dict[str, Any]] = msgspec.to_builtins(self.steps)
        return steps


def passed_over(
    looked_at: Sequence[Candidate], wanted: Wanted, counted: Mapping[str, int], chosen: str = ""
) -> PassedOver:
    """Of those that were looked at, who couldn't have it; `counted` are the reasons of all, by code, where there are more.

    The chosen one isn't passed over, whatever it is now.
    """
    groups: dict[tuple[Said, ...], list[str]] = {}
    others, told = Counter(counted), 0
    for one in looked_at:
        found = reasons(one, wanted) if one.delegate != chosen else []
        if counted:
            others.subtract(_coarse(found))
        if not found:
            continue
        if told < MOST_TOLD:
            told += 1
            groups.setdefault(tuple(_said(reason, one, wanted) for reason in found), []).append(one.name)
        else:
            others.update(_coarse(found))
    refused = tuple(Refused(tuple(sorted(names)), said) for said, names in groups.items())
    return PassedOver(refused, {code: count for code, count in sorted(others.items()) if count > 0})


def _said(reason: Reason, candidate: Candidate, wanted: Wanted) -> Said:
    change = remedy(reason.code, candidate, wanted)
    return Said(reason.code, _short(reason.detail), _short(change))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def _coarse(found: Iterable[Reason]) -> list[str]:
    """Their codes, as `Selection.tally` counts them."""
    return sorted({"busy" if one.code.startswith("over_") else one.code for one in found})


def wanted_of(wanted: Wanted) -> dict[str, Any]:
    """What a task needs of its delegate, in words."""
    return {
        "keyring": wanted.keyring,
        "gen": wanted.generation,
        "kinds": sorted(wanted.kinds),
        "selectors": sorted(wanted.selectors),
        "where": [str(one) for one in wanted.conditions],
        "scopes": sorted(wanted.scopes),
        "to": wanted.to or "",
    }
