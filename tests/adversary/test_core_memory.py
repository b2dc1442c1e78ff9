"""Adversary with little, who fills the memory of whoever judges his tasks with what he makes up: paths and labels."""

from __future__ import annotations

import gc
import tracemalloc

from shared.documents.usage import TaskUsage
from shared.names import Scope
from tests.adversary.paths import fetching


def test_paths_and_labels_that_a_signer_makes_up_fill_no_memory() -> None:
    world, vault, reader = fetching("team")
    book, scope, resource = world.book(), Scope.parse(vault.document.scope), vault.document.resource
    authority = book.authority_of(list(book.grants.values()))
    authority.chain(reader.kid, "fetch", scope, f"{resource}/team", world.now)
    tracemalloc.start()
    try:
        for n in range(1_000):
            path = f"{resource}/team/{n}{'x' * 2_000}"
            authority.chain(reader.kid, "fetch", scope, path, world.now)
            usage = TaskUsage(application=f"{n}{'x' * 100}")
            authority.chain(reader.kid, "fetch", scope, f"{resource}/team", world.now, usage)
        # What is only waiting to be collected isn't kept.
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
