"""What a delegate believes: its zone against the account's documents, and what becomes of refused ones."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from delegate.clock import Clock
from delegate.trust import MOST_AT_ONCE, MOST_REFUSALS, Trust
from delegate.zone import Zone
from shared.crypto.keyring import Keyring
from shared.errors import Malformed, NotReady, Tampered, Unauthenticated
from shared.trust.book import Book
from tests.fakes.world import World


class SetClock(Clock):
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.now


def trusting(world: World, keyring: Keyring | None = None, book: Book | None = None) -> Trust:
    book = Book(world.id) if book is None else book
    return Trust(book, Zone(keyring or world.keyring, book), SetClock(world))


async def test_documents_are_taken_in_whatever_order_and_in_many_turns() -> None:
    world = World()
    secrets = [world.secret(f"s{number}") for number in range(200)]
    trust = trusting(world)
    await trust.take(list(reversed(world.documents)))
    assert all(trust.book.find(secret.digest) for secret in secrets)
    assert trust.problem() is None


async def test_a_refused_document_is_remembered_with_its_reason() -> None:
    world = World()
    forged = world.sign(world.secret_document("x"), world.identity("stranger"))
    trust = trusting(world)
    await trust.take(world.documents)
    assert trust.refusal(forged.digest) is None
    with capture_logs() as logs:
        await trust.take([forged.compact])
    why = trust.refusal(forged.digest)
    assert isinstance(why, Unauthenticated)
    assert why.code == "signer_unknown"
    assert [(line["event"], line["code"]) for line in logs] == [("document.refused", "signer_unknown")]


async def test_refusals_are_bounded() -> None:
    world = World()
    trust = trusting(world)
    await trust.take(world.documents)
    garbage = [f"a.b.{number}" for number in range(MOST_REFUSALS + 50)]
    with capture_logs():
        await trust.take(garbage)
    assert len(trust._refused) == MOST_REFUSALS


async def test_more_documents_than_any_task_needs_are_refused_at_once() -> None:
    trust = trusting(World())
    with pytest.raises(Malformed, match="more than"):
        await trust.take(["x"] * (MOST_AT_ONCE + 1))


@pytest.mark.parametrize("text", ["", "x", "\u00e4", "a.b.c", "." * 100])
async def test_garbage_among_documents_harms_nothing(text: str) -> None:
    world = World()
    trust = trusting(world)
    with capture_logs():
        await trust.take([text, *world.documents])
    assert trust.problem() is None


async def test_a_forgery_is_alarming() -> None:
    world = World()
    compact = world.secret("x").compact
    forged = compact[:-8] + ("A" * 8 if not compact.endswith("A" * 8) else "B" * 8)
    trust = trusting(world)
    await trust.take(world.documents[:-1])
    with capture_logs() as logs:
        await trust.take([forged])
    assert [(line["event"], line["code"]) for line in logs] == [("trust.alarmed", "signature_invalid")]


def test_problems_are_told_in_the_order_in_which_they_are_solved() -> None:
    world = World()
    assert isinstance(trusting(world).problem(), NotReady)
    assert trusting(world, book=world.book()).problem() is None
    old = world.keyring
    world.rotate()
    problem = trusting(world, old, world.book()).problem()
    assert isinstance(problem, NotReady)
    assert problem.code == "generation_missing"
    mixed = Keyring(world.id, "main", [(1, world.seed("a")), (2, world.seed("b"))])
    problem = trusting(world, mixed, world.book()).problem()
    assert isinstance(problem, Tampered)
    assert problem.code == "keyring_mismatch"
    other = Keyring(world.id, "other", [(1, world.seed("a"))])
    problem = trusting(world, other, world.book()).problem()
    assert isinstance(problem, NotReady)
    assert problem.code == "keyring_unknown"


def test_new_records_are_made_with_the_accounts_generation_not_the_files_newest() -> None:
    world = World()
    ahead = world.keyring.rotated(world.seed("generation 2"))
    assert Zone(ahead, Book(world.id)).current().number == 2
    assert Zone(ahead, world.book()).current().number == 1


def test_an_excluded_generation_reads_and_makes_nothing_new() -> None:
    world = World()
    world.rotate()
    world.revise_status(keyrings={"main": 2})
    zone = Zone(world.keyring, world.book())
    assert [zone.made_with(number).number for number in (1, 2)] == [1, 2]
    assert zone.current().number == 2
    assert [zone.counts(number) for number in (1, 2)] == [False, True]
    with pytest.raises(NotReady, match="isn't in the delegate's keyring file"):
        zone.made_with(3)
    world.revise_status(keyrings={"main": 3})
    with pytest.raises(NotReady, match="excluded"):
        Zone(world.keyring, world.book()).current()
