"""The delegates' gRPC stream: who is it, is that proved, and then messages to and fro.

A delegate is believed to be what its keyring certified, nothing more; what it says about tasks goes to the dispatcher. One
coroutine a stream and no task besides, since thousands of them are idle most of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Collection
from functools import partial
from typing import Any

import grpc
import structlog

from manager.books import Books
from manager.checks import Checks
from manager.clock import Clock
from manager.dispatch import Dispatcher
from manager.fleet import Delegate, Fleet
from manager.metrics import ManagerMetrics
from manager.peer import NOTHING, Cut, Peer
from manager.regrouping import Regrouping
from shared.documents.certificate import CertificateDocument
from shared.documents.jws import Verified, VerifyingKey, parse_as, peek_kind, thumbprint
from shared.documents.order import OrderDocument
from shared.errors import Malformed, NotReady, PrivySealError, Unauthenticated
from shared.hello import hello_message
from shared.liveness import Liveness
from shared.messages import (
    Challenge,
    Checked,
    Credit,
    Documents,
    Drain,
    Heartbeat,
    Hello,
    Need,
    NewCertificate,
    Output,
    Progress,
    Result,
    Welcome,
)
from shared.names import ACCOUNT_SCOPE
from shared.session import SILENT
from shared.trust.book import Book
from shared.trust.certificate import check_certificate, recheck_certificate
from shared.trust.group import tags_of
from shared.wire import delegate_pb2, delegate_pb2_grpc

HELLO_SECONDS = 10.0
"""How long a stranger may keep a stream without saying who he is."""

PUSH_SECONDS = 1.0
"""How long who publishes something waits until delegates were told of it; the slower ones are told all the same."""

BEAT_SECONDS = 0.001
"""Between one delegate's heartbeat and the next one's, unless there are too many for that."""

CUT_SECONDS = 1.0
"""How long a peer that is cut off may take to be told."""

_log = structlog.get_logger()


class Streams(delegate_pb2_grpc.DelegatesServicer):
    """Serves `Delegates.Connect`; `origins` are the URLs by which delegates may have dialled this manager."""

    def __init__(
        self,
        books: Books,
        fleet: Fleet,
        dispatcher: Dispatcher,
        checks: Checks,
        clock: Clock,
        metrics: ManagerMetrics,
        origins: Collection[str],
        heartbeat_ms: int = 2_000,
        silence_ms: int = 5_000,
        most_strangers: int = 1_000,
    ) -> None:
        self._books = books
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._checks = checks
        self._clock = clock
        self._metrics = metrics
        self._origins = frozenset(origins)
        self._heartbeat_ms = heartbeat_ms
        self._silence_ms = silence_ms
        self._liveness = Liveness(heartbeat_ms / 1000, silence_ms / 1000)
        self._looked: float | None = None
        self._strangers = most_strangers
        self._numbers = 0
        self._beaten: dict[Delegate, asyncio.Task[None] | None] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._regrouping = Regrouping(fleet)

    async def Connect(  # noqa: N802 (the name is gRPC's)
        self, request_iterator: AsyncIterator[delegate_pb2.FromDelegate], context: Any
    ) -> None:
        """One stream, from its challenge to its end."""
        if self._strangers <= 0:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "strangers_too_many: try again in a few seconds")
        stream = Peer(context, self._clock, self.number)
        is_cut = False
        try:
            self._strangers -= 1
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    delegate = await self._greet(stream)
            finally:
                self._strangers += 1
            await self._listen(stream, delegate)
        except PrivySealError as why:
            name = stream.delegate.name if stream.delegate else None
            if stream.delegate is None:
                self._metrics.strangers.labels(self._metrics.bounded(why.code)).inc()
            _log.warning("stream.refused", code=why.code, reason=why.detail, delegate=name)
            status = grpc.StatusCode[why.grpc_status]
            await context.abort(status, f"{why.code}: {why.detail}. {why.hint}".rstrip(". ") + ".")
        except TimeoutError:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "hello_late: the delegate didn't say who it is in time."
            )
        except Cut:
            is_cut = True
        except Exception as bug:  # noqa: BLE001 (the peer must learn nothing of it)
            # gRPC would tell the peer the exception's text.
            _log.error("stream.crashed", error_type=type(bug).__name__, exc_info=bug)
            await context.abort(grpc.StatusCode.INTERNAL, "internal: the manager failed in a way that it shouldn't.")
        finally:
            self._forget(stream.delegate)
        if is_cut:
            # Last, since a peer that has stopped reading doesn't take the status either.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CUT_SECONDS):
                    await context.abort(grpc.StatusCode.CANCELLED, "the manager cut the stream")

    def _forget(self, delegate: Delegate | None) -> None:
        if delegate is not None:
            self._fleet.leave(delegate, self._clock.now())
            self._weigh(delegate, SILENT)
            self._dispatcher.lost(delegate)
            self._metrics.closed.inc()
            self._metrics.delegates.set(len(self._fleet))
            _log.info("stream.closed", account=delegate.account, delegate=delegate.name)

    async def _greet(self, stream: Peer) -> Delegate:
        nonce = secrets.token_bytes(32)
        await stream.send(Challenge(nonce))
        hello = await stream.read()
        if not isinstance(hello, Hello):
            raise Malformed("protocol_violation", "the delegate's first message isn't its hello")
        if hello.origin not in self._origins:
            raise Unauthenticated(
                "origin_unknown",
                "the delegate dialled another URL than this manager goes by",
                "compare the delegate's --manager with the manager's --delegate-url",
            )
        claimed = parse_as(CertificateDocument, hello.certificate).document
        book = await self._books.book(claimed.acct)
        certificate = self._check(book, claimed.keyring, hello.certificate)
        message = hello_message(hello.origin, nonce, hello.certificate)
        VerifyingKey.of(certificate.document.key).verify(hello.proof, message)
        now, moment = self._clock.now(), self._clock.monotonic()
        delegate = Delegate(
            account=book.id,
            kid=VerifyingKey.of(certificate.document.key).kid,
            certificate=certificate,
            tags=tags_of(certificate.document, book.groups),
            generations=frozenset(hello.generations[:64]),
            kinds=frozenset(kind[:64] for kind in hello.kinds[:64]),
            version=hello.version[:64],
            capacity=min(hello.capacity, 10_000),
            session=stream.session,
            send=stream.send,
            cut=stream.cut,
            connected_at=now,
            last_seen=now,
            heard=moment,
            spoke=moment,
        )
        await stream.send(Welcome(self._heartbeat_ms, self._silence_ms, now))
        # From here on nothing that is published passes it by, and without credit it gets no task yet.
        book = await self._books.book(claimed.acct)
        self._recheck(book, delegate)
        delegate.tags = tags_of(certificate.document, book.groups)
        before = self._fleet.join(delegate)
        if before is not None:
            before.cut()
        stream.delegate = delegate
        trust = await self._trust(book, certificate.document)
        await stream.send(Documents(tuple(trust)))
        # What was published meanwhile may have gone out before that on which it stands.
        again = await self._trust(await self._books.book(claimed.acct), certificate.document)
        if again != trust:
            await stream.send(Documents(tuple(again)))
        self._metrics.opened.inc()
        self._metrics.delegates.set(len(self._fleet))
        _log.info("stream.opened", account=book.id, delegate=delegate.name, version=delegate.version)
        return delegate

    def _check(self, book: Book, keyring: str, compact: str) -> Verified[CertificateDocument]:
        document = book.keyrings.get(keyring)
        if document is None:
            raise NotReady(
                "keyring_unknown",
                "the account has no keyring of the delegate's name",
                "publish it first: privyseal keyring new",
            )
        status = book.status.document if book.status else None
        return check_certificate(compact, document, status, self._clock.now())

    def _recheck(self, book: Book, delegate: Delegate) -> None:
        """Raises Denied or Unauthenticated where the delegate is not to be connected any more."""
        certificate = delegate.certificate
        recheck_certificate(certificate, book.status.document if book.status else None, self._clock.now())
        keyring = book.keyrings.get(certificate.document.keyring)
        if keyring is not None and certificate.kid not in {thumbprint(one.key) for one in keyring.document.certifiers}:
            raise Unauthenticated(
                "certifier_unknown", "the delegate is certified by a key that its keyring lists no more"
            )

    async def _trust(self, book: Book, certificate: CertificateDocument) -> list[str]:
        """What a delegate starts from: account documents and status, and its own keyring and group; no other."""
        others = {one.compact for name, one in book.keyrings.items() if name != certificate.keyring}
        others |= {one.compact for name, one in book.groups.items() if name != certificate.group}
        documents = (await self._books.trust(book.id)).documents
        # Grants come with the tasks that pin them, but for those by which a service renewed the status.
        renewed = book.status is not None and book.status.document.base is not None
        return [one for one in documents if one not in others and (renewed or peek_kind(one) != "grant")]

    async def _listen(self, stream: Peer, delegate: Delegate) -> None:
        while (message := await stream.read()) is not None:
            match message:
                case Result() | Need():
                    self._dispatcher.replied(delegate, message)
                    # Whoever waits for it goes first: reading on takes the loop for a while.
                    await asyncio.sleep(0)
                case Credit():
                    self._dispatcher.offer(delegate)
                case Progress():
                    self._dispatcher.progressed(delegate, message)
                case Output():
                    self._dispatcher.wrote(delegate, message)
                case Checked():
                    self._checks.hear(delegate, message, self._dispatcher.probes.told)
                case NewCertificate():
                    await self._renew(delegate, message.certificate)
                case Heartbeat():
                    self._dispatcher.clocks.told(delegate, message.now)
                    self._weigh(delegate, message)
                case Drain():
                    self._dispatcher.prospects.narrowed(delegate.account, ends=False)
                case Hello():
                    pass

    def _weigh(self, delegate: Delegate, told: Heartbeat) -> None:
        """Counts it among those over a limit; what waits gets the places of one that no longer is."""
        over = frozenset(name for name, use in (("cpu", told.cpu), ("memory", told.memory)) if use and use.over)
        if over == delegate.over:
            return
        for name in over ^ delegate.over:
            self._metrics.over_limit.labels(name).inc(1 if name in over else -1)
        delegate.over = over
        if not over:
            self._dispatcher.offer(delegate)

    async def _renew(self, delegate: Delegate, compact: str) -> None:
        book = await self._books.book(delegate.account)
        certificate = self._check(book, delegate.certificate.document.keyring, compact)
        if certificate.document.key != delegate.certificate.document.key:
            raise Unauthenticated("certificate_foreign", "the new certificate is of another identity")
        self._fleet.renew(delegate, certificate, book.groups)
        # With other tags it may fit what waits, or no longer.
        self._dispatcher.offer(delegate)
        self._dispatcher.prospects.narrowed(delegate.account)

    @property
    def look_seconds(self) -> float:
        """How often `beat` is to be called."""
        return self._liveness.look_seconds

    async def beat(self) -> None:
        """One look at all streams: cuts those that were silent for too long, and tells the others that the manager is there.

        A look that comes late finds messages unread: what held up the manager is not held against its delegates.
        """
        moment, now, liveness = self._clock.monotonic(), self._clock.now(), self._liveness
        held_up = 0.0 if self._looked is None else liveness.held_up(moment - self._looked)
        self._looked = moment
        if held_up:
            _log.warning("heartbeat.late", seconds=round(held_up, 3))
        due = []
        for delegate in self._fleet:
            if held_up:
                delegate.heard = min(moment, delegate.heard + held_up)
            if delegate.certificate.document.exp <= now:
                _log.warning("certificate.expired", account=delegate.account, delegate=delegate.name)
                delegate.cut()
            elif liveness.is_silent(moment - delegate.heard):
                _log.warning("stream.silent", account=delegate.account, delegate=delegate.name)
                delegate.cut()
            elif delegate not in self._beaten and liveness.is_due(moment - delegate.spoke + liveness.look_seconds):
                due.append(delegate)
        # One after the other, all before the next look: thousands at once would keep a task from its delegate meanwhile.
        loop, apart = asyncio.get_running_loop(), min(BEAT_SECONDS, liveness.look_seconds / max(1, len(due)))
        for at, delegate in enumerate(due):
            self._beaten[delegate] = None
            loop.call_later(apart * at, self._beat, delegate)

    def _beat(self, delegate: Delegate) -> None:
        # Not waited for: one that doesn't read mustn't keep the others from being told.
        self._beaten[delegate] = beating = asyncio.create_task(self._tell(delegate))
        beating.add_done_callback(partial(self._told, delegate))

    @staticmethod
    async def _tell(delegate: Delegate) -> None:
        await delegate.send(Heartbeat())

    def _told(self, delegate: Delegate, beating: asyncio.Task[None]) -> None:
        del self._beaten[delegate]
        if not beating.cancelled() and (why := beating.exception()) is not None:
            _log.error("heartbeat.crashed", delegate=delegate.name, exc_info=why)

    async def push(self, account: str, compacts: Collection[str]) -> None:
        """New account, status, keyring, group and order documents for every connected delegate; cuts those that they exclude.

        Groups count for the choice of a delegate when it returns, and no task that was given by them arrives before what it is owed here.

        What it tells of is durable already, so it never raises; and a delegate that doesn't read keeps nobody waiting.
        """
        try:
            book = await self._books.book(account)
        except PrivySealError as why:
            _log.error("push.failed", account=account, code=why.code)
            return
        renewers = self._renewers(book, compacts)
        telling = []
        for delegate in self._fleet.online(account):
            try:
                self._recheck(book, delegate)
            except PrivySealError as why:
                _log.warning("stream.excluded", account=account, delegate=delegate.name, code=why.code)
                delegate.cut()
                continue
            mine = [one for one in compacts if self._concerns(book, one, delegate.certificate.document)]
            if mine:
                delegate.owed += [*renewers, *mine]
                telling.append(asyncio.create_task(delegate.tell(NOTHING)))
        # Each is owed what it must know by now, which goes before any task.
        dispatcher = self._dispatcher
        await self._regrouping.run(account, book.groups, dispatcher.offer, dispatcher.prospects.narrowed)
        if telling:
            self._telling.update(telling)
            for task in telling:
                task.add_done_callback(self._telling.discard)
            await asyncio.wait(telling, timeout=PUSH_SECONDS)

    def _renewers(self, book: Book, compacts: Collection[str]) -> list[str]:
        """The grants by which a service has renewed the status, or an order was signed, for who must believe that."""
        orders = [parse_as(OrderDocument, one).document for one in compacts if peek_kind(one) == "order"]
        pinned = [book.find(pin.digest) for order in orders for pin in order.pins if pin.kind == "grant"]
        if pinned:
            return [one.compact for one in pinned if one is not None]
        status = book.status
        if status is None or status.document.base is None or status.compact not in compacts:
            return []
        try:
            chain = book.authority.chain(status.kid, "renew", ACCOUNT_SCOPE, None, self._clock.now())
        except PrivySealError:
            return []
        return [grant.compact for grant in reversed(chain.grants)]

    @staticmethod
    def _concerns(book: Book, compact: str, certificate: CertificateDocument) -> bool:
        kind = peek_kind(compact)
        if kind in {"keyring", "group"}:
            keyring = book.keyrings.get(certificate.keyring)
            group = book.groups.get(certificate.group or "")
            return compact in {one.compact for one in (keyring, group) if one is not None}
        if kind == "order":
            return parse_as(OrderDocument, compact).document.keyring == certificate.keyring
        return kind in {"account", "status"}

    def number(self) -> int:
        """A number for a chunked message."""
        self._numbers += 1
        return self._numbers
