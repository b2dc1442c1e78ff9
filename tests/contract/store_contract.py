"""What every database under the store must do, run against SQLite and PostgreSQL alike.

A subclass gives the fixture `url`: an empty database of its own for each test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from sqlalchemy import text

from manager.rows import AccountRow, CheckRow, QueuedRow, Sight, StoredDocument, StoredVersion, TaskRow
from manager.store import Store, add_token
from manager.transaction import MOST_CHECKERS, Transaction
from shared.audit import Head, verify
from shared.errors import Conflict, Malformed, Overloaded, PrivySealError, Unauthenticated, Unavailable

A = "a" * 52
B = "b" * 52
ENTRY: dict[str, str | int] = {"at": 1, "op": "reveal", "principal": "p", "outcome": "done"}


def document(
    rev: int = 1,
    id: str = "one",
    *,
    identifier: str = "",
    scope: str = "account",
    deleted: bool = False,
    kind: str = "secret",
    text: str = "x.y.z",
) -> StoredDocument:
    """A revision whose digest tells what it is, so that `prev` can be computed."""
    prev = f"digest-{kind}-{id}-{rev - 1}" if rev > 1 else ""
    return StoredDocument(
        kind, id, rev, f"digest-{kind}-{id}-{rev}", prev, scope, identifier, "signer", "", 7, deleted, text
    )


def check(
    delegate: str, at: int, *, revision: str = "digest-connector-c-1", expires: int = 2**39, connector: str = "c"
) -> CheckRow:
    """A test of a connector."""
    return CheckRow(connector, delegate, revision, at, expires, "x.y.z", "a.b.c")


def version(n: int = 1, secret: str = "s", record: bytes = b"\x00\xffsealed") -> StoredVersion:
    """A version whose digest tells what it is."""
    prev = f"digest-{secret}-{n - 1}" if n > 1 else ""
    return StoredVersion(
        secret,
        n,
        f"digest-{secret}-{n}",
        prev,
        0,
        "zone",
        1,
        "conn",
        "signer",
        5,
        "del",
        None,
        "a.b.c",
        record,
    )


def queued(task: str = "t", submission: bytes = b"\x00sealed") -> QueuedRow:
    """A task that waits for a delegate."""
    return QueuedRow(task, "p", "low", "reveal", "main", 5, 90, len(submission), submission=submission)


class StoreContract:
    """The promises of `Store`, one test each."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with Store(url) as store:
            yield store

    async def test_a_published_document_is_found_by_id_name_and_digest(self, url: str, store: Store) -> None:
        new = document(identifier="db")
        await store.publish(A, [new])
        assert store.cached_head(A, "secret", "one") == new
        await store.close()
        async with Store(url) as again:
            assert again.cached_head(A, "secret", "one") is None
            assert await again.head(A, "secret", "one") == new
            assert await again.by_name(A, "secret", "account", "db") == new
            assert await again.by_digest(A, [new.digest, "unknown"]) == {new.digest: new}
            assert again.cached_head(A, "secret", "one") == new
            assert again.cached_by_name(A, "secret", "account", "db") == new
            assert again.cached_by_digest(A, new.digest) == new

    async def test_nothing_is_found_in_another_account_or_kind(self, store: Store) -> None:
        await store.publish(A, [document(identifier="db")])
        await store.add_version(A, version())
        assert await store.head(B, "secret", "one") is None
        assert await store.head(A, "connector", "one") is None
        assert await store.by_name(B, "secret", "account", "db") is None
        assert await store.by_digest(B, ["digest-secret-one-1"]) == {}
        assert (await store.documents(B, "secret")).items == []
        assert await store.latest(B, "s") is None
        assert await store.version(B, "s", 1) is None

    async def test_a_revision_must_follow_the_head(self, store: Store) -> None:
        with pytest.raises(Conflict) as first:
            await store.publish(A, [document(2)])
        assert first.value.facts == {"kind": "secret", "id": "one", "rev": 0, "digest": ""}
        await store.publish(A, [document(1), document(2)])
        fork = msgspec.structs.replace(document(2), digest="fork")
        astray = msgspec.structs.replace(document(3), prev="digest-secret-one-1")
        for wrong in (fork, astray, document(4), document(1)):
            with pytest.raises(Conflict) as refused:
                await store.publish(A, [wrong])
            assert refused.value.code == "document_changed"
            assert refused.value.facts["rev"] == 2
            assert refused.value.facts["digest"] == "digest-secret-one-2"
        assert [row.rev for row in await store.history(A, "secret", "one")] == [1, 2]

    async def test_publishing_the_head_again_changes_nothing(self, store: Store) -> None:
        await store.publish(A, [document()])
        await store.publish(A, [document()])
        assert [row.rev for row in await store.history(A, "secret", "one")] == [1]

    async def test_a_name_belongs_to_one_document_of_its_kind_and_scope(self, store: Store) -> None:
        await store.publish(A, [document(id="one", identifier="db")])
        with pytest.raises(Conflict) as refused:
            await store.publish(A, [document(id="two", identifier="db")])
        assert refused.value.code == "name_taken"
        assert refused.value.facts == {"kind": "secret", "id": "one", "digest": "digest-secret-one-1"}
        await store.publish(
            A,
            [
                document(id="two", identifier="db", scope="org/x"),
                document(id="three", identifier="db", kind="connector"),
                document(id="four"),
                document(id="five"),
            ],
        )
        assert await store.head(A, "secret", "two") is not None

    async def test_a_deleted_or_renamed_document_frees_its_name(self, store: Store) -> None:
        await store.publish(A, [document(id="one", identifier="db"), document(id="two", identifier="web")])
        await store.publish(A, [document(2, "one", identifier="db", deleted=True)])
        await store.publish(A, [document(2, "two", identifier="site")])
        assert store.cached_by_name(A, "secret", "account", "db") is None
        assert await store.by_name(A, "secret", "account", "db") is None
        assert await store.by_name(A, "secret", "account", "web") is None
        gone = await store.head(A, "secret", "one")
        assert gone is not None and gone.deleted
        await store.publish(A, [document(id="three", identifier="db"), document(id="four", identifier="web")])
        found = await store.by_name(A, "secret", "account", "db")
        assert found is not None and found.id == "three"

    async def test_a_batch_of_documents_is_published_whole_or_not_at_all(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await store.publish(A, [document(id="one"), document(id="two"), document(3, "three")], [ENTRY])
        assert await store.heads(A, "secret", ["one", "two", "three"]) == {}
        assert await store.audit_page(A) == []

    async def test_documents_are_listed_by_scope_in_bounded_pages(self, store: Store) -> None:
        scopes = ["account", "org/a", "org/a/project/p", "org/ab", "org/b"]
        new = [document(id=f"{n}{i}", identifier=f"{n}{i}", scope=s) for i, s in enumerate(scopes) for n in "xyz"]
        gone = document(id="gone", identifier="gone", scope="org/a", deleted=True)
        await store.publish(A, [*new, gone])

        async def listed(scope: str, below: bool = False, deleted: bool = False) -> list[StoredDocument]:
            rows, after = [], ""
            while True:
                page = await store.documents(A, "secret", scope, below=below, deleted=deleted, after=after, limit=2)
                assert len(page.items) <= 2
                rows += page.items
                after = page.next
                if not after:
                    return rows

        order = sorted(new, key=lambda row: (row.scope, row.identifier))
        assert await listed("") == order
        assert await listed("account", below=True) == order
        assert await listed("org/a") == [row for row in order if row.scope == "org/a"]
        assert await listed("org/a", below=True) == [r for r in order if r.scope in ("org/a", "org/a/project/p")]
        assert gone in await listed("org/a", deleted=True)
        assert await listed("org/none", below=True) == []

    async def test_a_page_mark_of_somebody_else_is_malformed(self, store: Store) -> None:
        for mark in ("!", "AAAA", "WzFd", "é", "WyJhIiwiYiJd", "WzkwMDcxOTkyNTQ3NDA5OTMsImEiXQ=="):
            with pytest.raises(Malformed):
                await store.documents(A, "secret", after=mark)
            with pytest.raises(Malformed):
                await store.tasks(A, before=mark)

    async def test_more_than_a_thousand_names_at_once_are_refused(self, store: Store) -> None:
        names = [str(n) for n in range(1001)]
        for reading in (
            store.heads(A, "secret", names),
            store.by_digest(A, names),
            store.latest_many(A, names),
        ):
            with pytest.raises(Malformed) as refused:
                await reading
            assert refused.value.code == "too_many"

    async def test_many_versions_and_documents_are_read_at_once(self, url: str, store: Store) -> None:
        secrets = [f"s{n:03}" for n in range(450)]
        await asyncio.gather(*(store.add_version(A, version(1, s)) for s in secrets))
        await asyncio.gather(*(store.add_version(A, version(2, s)) for s in secrets[:3]))
        await store.publish(A, [document(id=s, identifier=s) for s in secrets])
        await store.close()
        async with Store(url) as again:
            latest = await again.latest_many(A, [*secrets, "none"])
            assert {s: row.n for s, row in latest.items()} == {s: 2 if s in secrets[:3] else 1 for s in secrets}
            assert set(await again.version_many(A, [(s, 1) for s in secrets])) == {(s, 1) for s in secrets}
            assert set(await again.heads(A, "secret", secrets)) == set(secrets)
            names = [("account", s) for s in secrets]
            assert set(await again.by_names(A, "secret", names)) == set(names)

    async def test_a_version_keeps_its_bytes(self, url: str, store: Store) -> None:
        record = bytes(range(256)) * 4096
        stored = await store.add_version(A, version(record=record))
        assert (stored.size, stored.record) == (len(record), record)
        await store.close()
        async with Store(url) as again:
            assert await again.version(A, "s", 1) == stored
            assert await again.latest(A, "s") == stored
            assert again.cached_latest(A, "s") == stored
            assert again.cached_version(A, "s", 1) == stored

    async def test_large_records_can_be_left_where_they_are(self, url: str, store: Store) -> None:
        small, large = version(1, "small", record=b"x"), version(1, "large", record=bytes(100))
        for one in (small, large):
            await store.add_version(A, one)
        await store.close()
        async with Store(url) as again:
            for _ in range(2):
                latest = await again.latest_many(A, ["small", "large"], 10)
                assert {s: (row.record, row.size) for s, row in latest.items()} == {
                    "small": (b"x", 1),
                    "large": (None, 100),
                }
                named = await again.version_many(A, [("small", 1), ("large", 1)], 10)
                assert [named["small", 1].record, named["large", 1].record] == [b"x", None]
            # What was left out isn't mistaken for what isn't there.
            assert again.cached_latest(A, "large") is None
            whole = await again.latest(A, "large")
            assert whole is not None and whole.record == bytes(100)
            assert (await again.latest_many(A, ["large"], 10))["large"].record == bytes(100)

    async def test_a_version_must_follow_the_newest(self, store: Store) -> None:
        with pytest.raises(Conflict) as early:
            await store.add_version(A, version(2))
        assert early.value.facts == {"n": 0, "digest": ""}
        await store.add_version(A, version(1))
        await store.add_version(A, version(2))
        fork = msgspec.structs.replace(version(2), digest="fork")
        astray = msgspec.structs.replace(version(3), prev="digest-s-1")
        for wrong in (fork, astray, version(4), version(0), version(-1)):
            with pytest.raises(Conflict) as refused:
                await store.add_version(A, wrong)
            assert refused.value.code == "version_exists"
            assert refused.value.facts == {"n": 2, "digest": "digest-s-2"}
        assert [row.n for row in await store.versions(A, "s")] == [1, 2]

    async def test_storing_a_version_again_keeps_the_first_record(self, store: Store) -> None:
        await store.add_version(A, version(record=b"first"))
        again = await store.add_version(A, version(record=b"second"), [ENTRY])
        assert again.record == b"first"
        latest = await store.latest(A, "s")
        assert latest is not None and latest.record == b"first"
        assert len(await store.audit_page(A)) == 1

    async def test_a_deleted_version_leaves_a_tombstone_and_its_number(self, url: str, store: Store) -> None:
        for n in (1, 2, 3):
            await store.add_version(A, version(n, record=b"12345"))
        assert await store.delete_versions(A, "s", 99, [2, 7]) == [2]
        assert await store.delete_versions(A, "s", 100) == [1, 3]
        assert await store.delete_versions(A, "s", 101) == []
        for n, at in ((1, 100), (2, 99), (3, 100)):
            row = await store.version(A, "s", n)
            assert row is not None
            assert (row.record, row.deleted_at, row.size) == (None, at, 5)
        again = await store.add_version(A, version(3))
        assert again.record is None
        with pytest.raises(Conflict):
            await store.add_version(A, msgspec.structs.replace(version(1), digest="another"))
        await store.add_version(A, version(4))
        await store.close()
        async with Store(url) as reopened:
            assert [row.deleted_at for row in await reopened.versions(A, "s")] == [100, 99, 100, None]

    async def test_versions_are_listed_without_their_records(self, store: Store) -> None:
        for n in range(1, 6):
            await store.add_version(A, version(n))
        rows = await store.versions(A, "s", after_n=1, limit=3)
        assert [(row.n, row.record) for row in rows] == [(2, None), (3, None), (4, None)]

    async def test_a_token_is_redeemed_once_however_many_try(self, url: str, store: Store) -> None:
        add_token(url, "hash", 1, 1000)

        async def redeem(n: int) -> str:
            account = f"{n:052}"
            try:
                await store.create_account("hash", AccountRow(account, 10, "n"), [document(id=account)], [ENTRY])
            except Unauthenticated:
                return ""
            return account

        won = [account for account in await asyncio.gather(*map(redeem, range(100))) if account]
        assert len(won) == 1
        assert [row.account for row in (await store.accounts()).items] == won
        assert await store.account_exists(won[0])
        assert not await store.account_exists("f" * 52)
        assert len(await store.audit_page(won[0])) == 1

    async def test_unknown_used_and_expired_tokens_are_refused_alike(self, url: str, store: Store) -> None:
        add_token(url, "used", 1, 1000)
        add_token(url, "late", 1, 10)
        await store.create_account("used", AccountRow(A, 2, "n"), [])
        told = set()
        for token in ("used", "late", "none"):
            with pytest.raises(Unauthenticated) as refused:
                await store.create_account(token, AccountRow(B, 10, "n"), [])
            told.add((refused.value.code, refused.value.detail))
        assert len(told) == 1
        assert await store.account(B) is None

    async def test_a_refused_account_leaves_its_token_usable(self, url: str, store: Store) -> None:
        add_token(url, "hash", 1, 1000)
        with pytest.raises(Conflict):
            await store.create_account("hash", AccountRow(A, 2, "n"), [document(2)])
        await store.create_account("hash", AccountRow(A, 2, "n"), [document(1)])
        assert await store.account(A) == AccountRow(A, 2, "n")

    async def test_an_account_is_made_once(self, url: str, store: Store) -> None:
        for token in ("one", "two"):
            add_token(url, token, 1, 1000)
        await store.create_account("one", AccountRow(A, 2, "n"), [])
        with pytest.raises(Conflict) as refused:
            await store.create_account("two", AccountRow(A, 2, "n"), [])
        assert refused.value.code == "account_exists"

    async def test_accounts_are_listed_in_pages(self, url: str, store: Store) -> None:
        for n in range(5):
            add_token(url, f"t{n}", 1, 1000)
            await store.create_account(f"t{n}", AccountRow(f"{n:052}", 2, "n"), [])
        first = await store.accounts(limit=3)
        rest = await store.accounts(first.next, limit=3)
        assert [row.account for row in (*first.items, *rest.items)] == [f"{n:052}" for n in range(5)]
        assert rest.next == ""

    async def test_a_task_is_written_over_as_it_moves_on(self, store: Store) -> None:
        await store.put_task(A, TaskRow("t", "reveal", "p", "queued", submitted_at=3, jti="j", summary='{"n":1}'))
        done = TaskRow("t", "reveal", "p", "done", "", "d", 1, 3, 4, "j", "zone", "account", '{"n":1}')
        await store.put_task(A, done, [ENTRY])
        assert await store.task(A, "t") == done
        assert await store.task(B, "t") is None
        assert (await store.tasks(A)).items == [done]

    async def test_tasks_are_listed_newest_first_in_pages(self, store: Store) -> None:
        for n in range(7):
            state, principal = ("done", "p") if n % 2 else ("failed", "q")
            await store.put_task(A, TaskRow(f"t{n}", "exec", principal, state, submitted_at=n // 2))
        seen, before = [], ""
        while True:
            page = await store.tasks(A, before=before, limit=2)
            seen += [row.task for row in page.items]
            before = page.next
            if not before:
                break
        assert seen == [f"t{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
        assert {row.task for row in (await store.tasks(A, state="done")).items} == {"t1", "t3", "t5"}
        assert {row.task for row in (await store.tasks(A, principal="q")).items} == {"t0", "t2", "t4", "t6"}

    async def test_old_finished_tasks_are_pruned(self, store: Store) -> None:
        for n in range(5):
            await store.put_task(A, TaskRow(f"t{n}", "exec", "p", "done", finished_at=n))
        await store.put_task(A, TaskRow("running", "exec", "p", "running"))
        assert await store.prune_tasks(before=3, limit=2) == 2
        assert await store.prune_tasks(before=3) == 1
        assert {row.task for row in (await store.tasks(A)).items} == {"t3", "t4", "running"}

    async def test_the_audit_of_each_account_is_one_unbroken_chain(self, url: str, store: Store) -> None:
        async def access(n: int) -> None:
            await store.audit((A, B)[n % 2], [{**ENTRY, "count": n}, {**ENTRY, "count": n}])

        await asyncio.gather(*map(access, range(120)))
        middle = verify(await store.audit_page(A, limit=100))
        await store.close()
        async with Store(url) as again:
            await again.audit(A, [ENTRY])
            end = verify(await again.audit_page(A, after_seq=middle.seq, limit=500), middle)
            assert end.seq == 121
            assert verify(await again.audit_page(B, limit=500)).seq == 120
            head = await again.audit_head(A)
            assert head is not None and head.seq == 121
            assert head.at == 1
            assert await again.audit_head("c" * 52) is None

    async def test_a_write_that_fails_leaves_the_others_of_its_batch_alone(self, store: Store) -> None:
        def run(n: int) -> asyncio.Future[None]:
            def write(transaction: Transaction) -> None:
                transaction.publish(A, [document(id=f"d{n}")])
                if n % 3 == 0:
                    raise ValueError
                if n % 3 == 1:
                    raise Conflict("made_up", "refused after it wrote")

            return asyncio.ensure_future(store.write(write, account=A, audit=[{**ENTRY, "count": n}]))

        results = await asyncio.gather(*map(run, range(90)), return_exceptions=True)
        assert [n for n, result in enumerate(results) if result is None] == list(range(2, 90, 3))
        assert set(await store.heads(A, "secret", [f"d{n}" for n in range(90)])) == {f"d{n}" for n in range(2, 90, 3)}
        links = await store.audit_page(A, limit=500)
        assert verify(links) != Head()
        assert len(links) == 30

    async def test_one_failing_write_alone_leaves_nothing(self, store: Store) -> None:
        def write(transaction: Transaction) -> None:
            transaction.publish(A, [document()])
            raise ValueError

        with pytest.raises(ValueError):
            await store.write(write, account=A, audit=[ENTRY])
        assert await store.head(A, "secret", "one") is None
        assert await store.audit_page(A) == []
        await store.publish(A, [document()], [ENTRY])
        assert verify(await store.audit_page(A)).seq == 1

    async def test_a_broken_rule_of_the_database_is_told_without_values(self, store: Store) -> None:
        row = {"a": "SECRET-VALUE", "c": 1, "n": "SECRET-VALUE"}
        insert = text("INSERT INTO accounts (account, created, name) VALUES (:a, :c, :n)")

        def twice(transaction: Transaction) -> None:
            transaction.connection.execute(insert, row)
            transaction.connection.execute(insert, row)

        with pytest.raises(RuntimeError) as refused:
            await store.write(twice, account=A)
        assert "SECRET-VALUE" not in str(refused.value)
        assert (await store.accounts()).items == []

    async def test_a_write_gives_the_result_of_its_function(self, store: Store) -> None:
        assert await store.write(lambda transaction: 42, account=A) == 42

    async def test_an_entry_with_free_text_is_refused_before_anything_is_written(self, store: Store) -> None:
        entries: list[dict[str, str | int]] = [{"at": 1, "op": "a b"}, {"at": 1, "message": "x"}, {"op": "x"}]
        for entry in entries:
            with pytest.raises(Malformed):
                await store.publish(A, [document()], [entry])
        assert await store.head(A, "secret", "one") is None

    async def test_a_task_that_waits_is_kept_and_then_how_it_ended(self, url: str, store: Store) -> None:
        await store.write(lambda transaction: transaction.put_queued(A, queued()), account=A)
        await store.close()
        async with Store(url) as again:
            assert await again.queued(A, "t") == queued()
            assert await again.queued(B, "t") is None
            assert await again.queued(A, "other") is None
            ended = await again.write(lambda one: one.end_queued(A, "t", "done", "ok", 7, b"outcome"), account=A)
            assert ended
            row = await again.queued(A, "t")
            expected = msgspec.structs.replace(queued(), state="done", code="ok", ended_at=7, size=7)
            assert row == msgspec.structs.replace(expected, submission=None, outcome=b"outcome")
            # What has ended doesn't end again, whatever comes late.
            late = await again.write(lambda one: one.end_queued(A, "t", "expired", "expired", 9, b""), account=A)
            assert not late
            assert await again.queued(A, "t") == row
            await again.write(lambda one: one.drop_queued(A, ["t", "unknown"]), account=A)
            assert await again.queued(A, "t") is None

    async def test_all_that_wait_are_listed_without_what_is_kept_of_them(self, store: Store) -> None:
        def run(transaction: Transaction) -> None:
            for account in (B, A):
                for task in ("two", "one"):
                    transaction.put_queued(account, queued(task))

        await store.write(run, account=A)
        first = await store.queue(limit=3)
        rest = await store.queue(first.next)
        told = [(account, row.task, row.size, row.submission) for account, row in first.items + rest.items]
        assert told == [(A, "one", 7, None), (A, "two", 7, None), (B, "one", 7, None), (B, "two", 7, None)]
        assert rest.next == ""

    async def test_too_many_waiting_writes_are_refused(self, url: str) -> None:
        async with Store(url, waiting_writes=5, waiting_bytes=1000) as store:
            writes = [store.audit(A, [ENTRY]) for _ in range(5)]
            with pytest.raises(Overloaded) as refused:
                store.audit(A, [ENTRY])
            assert refused.value.code == "store_busy"
            await asyncio.gather(*writes)
            with pytest.raises(Overloaded):
                await store.add_version(A, version(record=bytes(1001)))
            await store.audit(A, [ENTRY])
            assert verify(await store.audit_page(A)).seq == 6
            assert store.figures()["waiting_bytes"] == 0

    async def test_a_caller_that_goes_away_leaves_a_whole_write(self, store: Store) -> None:
        writing = asyncio.ensure_future(store.publish(A, [document()], [ENTRY]))
        writing.cancel()
        await store.audit(A, [ENTRY])
        assert verify(await store.audit_page(A)).seq == 2
        assert await store.head(A, "secret", "one") == document()

    async def test_closing_finishes_what_waits_and_takes_no_more(self, url: str, store: Store) -> None:
        writes = [store.audit(A, [ENTRY]) for _ in range(20)]
        await store.close()
        await asyncio.gather(*writes)
        with pytest.raises(Unavailable) as refused:
            store.audit(A, [ENTRY])
        assert refused.value.code == "store_closed"
        await store.close()
        async with Store(url) as again:
            assert verify(await again.audit_page(A)).seq == 20

    async def test_a_second_manager_is_refused_until_the_first_is_gone(self, url: str, store: Store) -> None:
        await store.publish(A, [document()])
        second = Store(url)
        with pytest.raises(Conflict) as refused:
            await second.open()
        assert refused.value.code == "store_locked"
        assert refused.value.hint
        await store.close()
        async with Store(url) as second:
            assert await second.head(A, "secret", "one") == document()

    async def test_a_newer_database_is_refused_and_left_as_it_is(self, url: str, store: Store) -> None:
        await store.write(
            lambda transaction: transaction.connection.execute(text("UPDATE alembic_version SET version_num = '9999'")),
            account=A,
        )
        await store.close()
        for _ in range(2):
            with pytest.raises(Conflict) as refused:
                await Store(url).open()
            assert refused.value.code == "store_newer"
            with pytest.raises(Conflict):
                add_token(url, "hash", 1, 2)

    async def test_a_token_can_be_added_before_the_first_start(self, url: str) -> None:
        add_token(url, "hash", 1, 1000)
        async with Store(url) as store:
            await store.create_account("hash", AccountRow(A, 2, "n"), [])

    async def test_reads_and_writes_at_once_never_show_an_older_head(self, store: Store) -> None:
        await store.publish(A, [document(1, identifier="db")])

        async def write() -> None:
            for rev in range(2, 60):
                await store.publish(A, [document(rev, identifier="db")])
                head = await store.head(A, "secret", "one")
                named = await store.by_name(A, "secret", "account", "db")
                assert head is not None and named is not None
                assert head.rev >= rev and named.rev >= rev

        async def read() -> None:
            seen = 0
            while seen < 59:
                head = (await store.heads(A, "secret", ["one", "none"]))["one"]
                assert head.rev >= seen
                seen = head.rev

        await asyncio.gather(write(), read(), read())

    async def test_readiness_is_a_real_commit_once_one_failed(self, store: Store) -> None:
        await store.check()
        assert store.figures()["writes"] == 0

    async def test_errors_are_of_the_house(self) -> None:
        for url in ("sqlite://", "sqlite:///:memory:", "mysql://h/d", "nonsense", "sqlite:////x?mode=ro"):
            with pytest.raises(PrivySealError) as refused:
                Store(url)
            assert refused.value.code == "store_url_malformed"

    async def test_the_newest_test_of_each_connector_and_delegate_is_kept(self, store: Store) -> None:
        await store.publish(A, [document(id="c", kind="connector")])
        for at, delegate in ((1, "d1"), (2, "d2"), (3, "d1")):
            await store.put_check(A, check(delegate, at))
        sight = Sight(("account",))
        kept = await store.checks(A, "account", sight=sight)
        assert [(one.delegate, one.at) for one in kept.items] == [("d1", 3), ("d2", 2)]
        first = await store.checks(A, "account", sight=sight, limit=1)
        rest = await store.checks(A, "account", sight=sight, after=first.next)
        assert [*first.items, *rest.items] == kept.items
        assert (await store.checks(A, "account", sight=sight, connector="c")).items == kept.items
        assert (await store.checks(A, "account", sight=sight, connector="other")).items == []
        assert (await store.checks(B, "account", sight=sight)).items == []
        assert (await store.checks(A, "account", sight=Sight())).items == []

    async def test_of_many_delegates_tests_of_one_connector_the_newest_are_kept(self, store: Store) -> None:
        await store.publish(A, [document(id="c", kind="connector")])
        for at in range(MOST_CHECKERS + 3):
            await store.put_check(A, check(f"d{at:02}", at))
        kept = await store.checks(A, "account", sight=Sight(("account",)))
        assert [one.at for one in kept.items] == list(range(3, MOST_CHECKERS + 3))

    async def test_a_test_of_a_revision_that_is_over_is_not_shown_and_goes_with_the_next(self, store: Store) -> None:
        await store.publish(A, [document(id="c", kind="connector")])
        await store.put_check(A, check("d1", 1))
        await store.publish(A, [document(2, id="c", kind="connector")])
        assert (await store.checks(A, "account", sight=Sight(("account",)))).items == []
        await store.put_check(A, check("d2", 2, revision=document(2, id="c", kind="connector").digest))
        assert [one.delegate for one in (await store.checks(A, "account", sight=Sight(("account",)))).items] == ["d2"]
        assert await store.prune_checks(now=2**40) == 1

    async def test_tests_end_with_their_certificates(self, store: Store) -> None:
        await store.publish(A, [document(id="c", kind="connector")])
        for at, delegate in enumerate(("d1", "d2", "d3")):
            await store.put_check(A, check(delegate, at, expires=10 + at))
        assert await store.prune_checks(now=11, limit=1) == 1
        assert await store.prune_checks(now=11) == 1
        assert [one.delegate for one in (await store.checks(A, "account", sight=Sight(("account",)))).items] == ["d3"]
