"""The page on the dispatch protocol names every invariant of the state machine, every message, every state, and the right numbers."""

from __future__ import annotations

import re

from manager.dispatch import EXECUTION_SECONDS, GRACE_SECONDS, MOST_NEEDS
from manager.line import OLDEST_EVERY
from shared.session import MOST_CREDITS, TABLE, Phase
from shared.task import FINAL, MOST_ATTEMPTS, RETRYABLE_CODES, State
from tests.architecture.source import ROOT
from tests.fakes import dispatch_invariants as general
from tests.fakes import lasting_invariants as lasting

PAGE = (ROOT / "docs" / "dispatch.md").read_text()
ROW = re.compile(r"^\| D(\d+) \| (.+) \| `(\w+)` \|$", re.MULTILINE)


def test_the_page_and_the_machines_have_the_same_invariants_in_the_same_order() -> None:
    rows = ROW.findall(PAGE)
    known = (*general.ALWAYS, *general.AFTERWARDS, *lasting.ALWAYS, *lasting.AFTERWARDS)
    assert [name for _, _, name in rows] == [one.__name__ for one in known]
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))


def test_each_table_has_those_of_its_time() -> None:
    protocol, _, what_lasts = PAGE.partition("### What lasts")
    for text, known in ((protocol, general), (what_lasts, lasting)):
        always, _, afterwards = text.partition("| | once all is well again |")
        assert [name for _, _, name in ROW.findall(always)] == [one.__name__ for one in known.ALWAYS]
        assert [name for _, _, name in ROW.findall(afterwards)] == [one.__name__ for one in known.AFTERWARDS]


def test_the_page_has_every_message_and_who_says_it() -> None:
    told: set[tuple[str, str]] = set()
    for who, messages in re.findall(r"^\| (manager|delegate|either) \| (`.+?`) \|", PAGE, re.MULTILINE):
        sides = ("manager", "delegate") if who == "either" else (who,)
        told |= {(side, name) for side in sides for name in re.findall(r"`(\w+)`", messages)}
    assert told == {(side.value, message.__name__) for _, side, message in TABLE}


def test_the_page_has_every_phase_and_every_state() -> None:
    assert [one.name for one in Phase if one.name not in PAGE] == []
    assert [one.name for one in State if one.name not in PAGE] == []
    final = re.search(r"^Final are (.+), each with a code", PAGE, re.MULTILINE)
    assert final is not None
    assert set(re.findall(r"`(\w+)`", final[1])) == {one.name for one in FINAL}
    assert all(f"`{code}`" in PAGE for code in RETRYABLE_CODES)


def test_the_numbers_of_the_page_are_those_of_the_program() -> None:
    assert f"never more than {MOST_CREDITS:,} at once" in PAGE
    assert f"is an attempt, at most {MOST_ATTEMPTS}." in PAGE
    assert f"doesn't answer within {EXECUTION_SECONDS:.0f} s" in PAGE
    assert f"one has {GRACE_SECONDS:.0f} s to come" in PAGE
    assert f"as the same attempt; at most {MOST_NEEDS} times" in PAGE
    assert OLDEST_EVERY == 8 and "each eighth place" in PAGE
