"""When the first grant of an account ends, for whoever watches that."""

from __future__ import annotations

from shared.trust.expiry import soonest_grant
from tests.fakes.world import World

DAY = 86_400


def test_an_account_without_grants_or_status_has_nothing_that_ends() -> None:
    from shared.trust.book import Book

    assert soonest_grant(Book(World().id), 0) is None


def test_the_first_grant_that_still_counts_is_told() -> None:
    world = World()
    first = world.grant(world.identity("first"), ["reveal"], exp=world.now + 10 * DAY)
    second = world.grant(world.identity("second"), ["reveal"], exp=world.now + 20 * DAY)
    third = world.grant(world.identity("third"), ["reveal"], exp=world.now + 30 * DAY)
    book = world.book()
    assert soonest_grant(book, world.now) == first.document.exp
    assert soonest_grant(book, first.document.exp) == second.document.exp
    book.admit(world.revise_status(grants=(first.document.id,)).compact, world.now)
    assert soonest_grant(book, world.now) == second.document.exp
    book.admit(
        world.revise_status(grants=(first.document.id,), keys=(world.identity("second").kid,)).compact, world.now
    )
    assert soonest_grant(book, world.now) == third.document.exp
    assert soonest_grant(book, third.document.exp) is None
