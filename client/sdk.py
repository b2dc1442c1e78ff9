"""The SDK: `Client`, one account at one manager, as one principal.

    async with Client.open() as client:
        value = await client.reveal("account.token")

Promises: everything that comes from the manager is verified before it is acted on; values are `Plaintext`, whose only exit
is `reveal()`. One client serves many calls at once and keeps its connections; close it. Raises `shared.errors` only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from msgspec import UNSET, UnsetType

from client.account import Account
from client.administrators import Administrators
from client.audit import Audit
from client.built_in import BuiltIn
from client.clock import Clock, system_clock
from client.commands import Commands
from client.connectors import Connectors
from client.context import Context, Contexts, parse_here, parse_origin
from client.copies import Copies
from client.custom_managers import CustomManagers
from client.directory import Directory
from client.drift import Drifts
from client.explanations import Explanations
from client.grants import Grants
from client.groups import Groups
from client.home import Home
from client.identities import Identities, Passphrase, from_environment
from client.keyrings import Keyrings
from client.kinds import installed_kinds
from client.logins import Logins
from client.meanings import NOTHING
from client.oidc import Issuers
from client.order_keys import OrderKeys
from client.orders import Orders
from client.patience import LONGEST_SECONDS, Detached, Patience
from client.publish import Publisher
from client.readers import Readers
from client.scopes import Scopes
from client.secret_plans import SecretPlans
from client.secrets import Secrets, SecretType, Stored
from client.state import State
from client.templates import Templates
from client.traces import ENDPOINT, tracer
from client.transport import Transport
from client.views import Views
from shared.connectors.catalogue import Catalogue
from shared.crypto.identity import Identity
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.usage import TaskUsage, Usage
from shared.errors import Malformed, PrivySealError
from shared.names import check_account
from shared.task import Priority
from shared.tracing import Untraced

__all__ = ["Client", "Plaintext"]


class Client:
    """Made by `open` from a stored context, or directly for programs that bring their own identity.

    `home` None keeps nothing between runs: then what was seen before can't be compared, so give one where you can. `kinds`
    are those that connectors are described of, by default those that are installed. `otlp_endpoint` is the origin of a collector
    that takes traces of its tasks (OTLP over HTTP, needs the extra `otel`), `traceparent` the span that they belong to.
    """

    def __init__(
        self,
        manager: str,
        account: str,
        identity: Identity,
        *,
        org: str = "",
        project: str = "",
        ca_file: str = "",
        home: Home | None = None,
        clock: Clock = system_clock,
        kinds: Catalogue | None = None,
        otlp_endpoint: str = "",
        traceparent: str = "",
    ) -> None:
        origin, account = parse_origin(manager), check_account(account)
        self.transport = Transport(origin, account, identity, clock, ca_file=ca_file)
        self.account = Account(self.transport, identity, State(account, home), clock)
        self.account.tracer = tracer(otlp_endpoint)
        self.account.traceparent = traceparent
        self.directory = Directory(self.account)
        self.publisher = Publisher(self.account)
        self.here = parse_here(org, project)
        readers = Readers()
        self.kinds = kinds or installed_kinds()
        self.secrets = Secrets(self.account, self.directory, readers, self.here)
        self.copies = Copies(self.account, self.directory, self.secrets)
        self.logins = Logins(self.account, self.directory, readers, self.here)
        self.templates = Templates(self.account, self.publisher, self.directory, self.here)
        self.custom_managers = CustomManagers(self.account, self.directory, self.templates)
        self.secret_plans = SecretPlans(
            self.account, self.publisher, self.directory, self.secrets, self.custom_managers
        )
        self.commands = Commands(self.account, self.directory, readers, self.here)
        self.connectors = Connectors(
            self.account, self.publisher, self.directory, readers, self.here, self.kinds, self.custom_managers
        )
        self.drifts = Drifts(self.account, self.directory, self.connectors, self.templates)
        self.built_in = BuiltIn(self.account, self.publisher, self.directory)
        self.grants = Grants(self.account, self.publisher, self.directory)
        self.keyrings = Keyrings(self.account, self.publisher, self.directory)
        self.groups = Groups(self.account, self.publisher)
        self.issuers = Issuers(self.account, self.publisher, self.directory, self.kinds)
        self.administrators = Administrators(self.account, self.publisher, self.directory)
        self.orders = Orders(self.account, self.directory, OrderKeys(account, home), self.here)
        self.scopes = Scopes(self.publisher, self.directory)
        self.audit = Audit(self.account)
        self.views = Views(self.account)
        self.explanations = Explanations(self.account, self.directory, self.here)

    @staticmethod
    def open(
        context: str | None = None,
        *,
        home: str | Path | None = None,
        org: str | None = None,
        project: str | None = None,
        ca_file: str | None = None,
        passphrase: Passphrase = from_environment,
        environ: Mapping[str, str] = os.environ,
    ) -> Client:
        """The client of a stored context, by default the current one.

        Raises NotReady without a context, NotFound for an unknown one or a missing identity, Denied for a locked or
        exposed identity file.
        """
        place = Home.find(environ, str(home) if home else None)
        _, chosen = Contexts(place).find(context or environ.get("PRIVYSEAL_CONTEXT"))
        return Client.of_context(
            chosen, place, org=org, project=project, ca_file=ca_file, passphrase=passphrase, environ=environ
        )

    @staticmethod
    def of_context(
        context: Context,
        home: Home,
        *,
        org: str | None = None,
        project: str | None = None,
        ca_file: str | None = None,
        passphrase: Passphrase = from_environment,
        identity: Identity | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Client:
        """The client of a context at hand; `identity` where the key is at hand too.

        PRIVYSEAL_OTLP_ENDPOINT and TRACEPARENT say whether its tasks are traced, and as a part of what.
        """
        same_org = org is None or org == context.org
        return Client(
            context.manager,
            context.account,
            identity or Identities(home).load(context.identity, passphrase),
            org=context.org if org is None else org,
            # Another organisation has other projects.
            project=project if project is not None else (context.project if same_org else ""),
            ca_file=ca_file or context.ca_file,
            home=home,
            otlp_endpoint=environ.get(ENDPOINT, ""),
            traceparent=environ.get("TRACEPARENT", ""),
        )

    async def store(
        self,
        reference: str,
        value: bytes | Plaintext,
        *,
        type: SecretType | None = None,  # noqa: A002 (the document's word)
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        filename: str = "",
        connector: str | None = None,
        selectors: Sequence[str] = (),
        refers_to: str = "",
        metadata: Mapping[str, str] | None = None,
        usage: TaskUsage | None = None,
        labels: Usage | UnsetType | None = UNSET,
        inputs: Mapping[str, str] | None = None,
    ) -> Stored:
        """Stores a new secret, or the next version of an existing one; at most 10,000,000 bytes. See `Secrets.store`.

        With `inputs` it is one of a custom secret manager, and they are checked against the connector and its template. An empty
        value: a delegate runs the script that reads, once. Else it runs the one that writes, if the template has one.
        """
        if inputs is not None:
            if refers_to or metadata:
                raise Malformed("reference_with_inputs", "inputs stand for reference and metadata", "leave one out")
            place, writes = self.secrets.reference(reference), len(value) > 0
            text = await self.custom_managers.checked(place, inputs, connector, writes=writes)
            refers_to, metadata = ("", dict(inputs)) if writes else (text, None)
        return await self.secrets.store(
            reference,
            value if isinstance(value, Plaintext) else Plaintext(value),
            type=type,
            name=name,
            description=description,
            tags=tags,
            filename=filename,
            connector=connector,
            selectors=selectors,
            refers_to=refers_to,
            metadata=metadata,
            usage=usage,
            labels=labels,
        )

    async def reveal(
        self,
        reference: str,
        *,
        version: int | None = None,
        selectors: Sequence[str] = (),
        excluded: bool = False,
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> Plaintext:
        """A secret's value. One round trip once its documents are known. See `Secrets.reveal`."""
        return await self.secrets.reveal(
            reference, version=version, selectors=selectors, excluded=excluded, usage=usage, variables=variables
        )

    async def reveal_all(
        self,
        references: Sequence[str],
        *,
        selectors: Sequence[str] = (),
        excluded: bool = False,
        usage: TaskUsage | None = None,
        variables: Mapping[str, str] = NOTHING,
    ) -> list[Item]:
        """Many values at once, a thousand a task; an error stands in the place of a value that can't be revealed."""
        return await self.secrets.reveal_all(
            references, selectors=selectors, excluded=excluded, usage=usage, variables=variables
        )

    async def try_inputs(
        self,
        template: str,
        connector: str,
        inputs: Mapping[str, str],
        *,
        selectors: Sequence[str] = (),
        usage: TaskUsage | None = None,
    ) -> Plaintext:
        """What a version of a template (`NAME@LABEL`) reads with these inputs, by a connector that runs it; nothing is kept.

        Takes `fetch` over the connector, besides `reveal`. Raises Malformed for inputs that don't fit, Conflict where the
        connector runs another version, and the script's errors.
        """
        direct = await self.custom_managers.direct(await self.templates.find(template), connector, self.here, inputs)
        (item,) = await self.secrets.read_direct([direct], selectors=selectors, usage=usage)
        if isinstance(item, PrivySealError):
            raise item
        return item

    async def delete(
        self, reference: str, *, selectors: Sequence[str] = (), force: bool = False, usage: TaskUsage | None = None
    ) -> None:
        """Deletes a secret with all its versions; `force` although connectors name it. See `Secrets.delete`."""
        await self.secrets.delete(reference, selectors=selectors, force=force, usage=usage)

    def waiting(self, seconds: int, *, priority: Priority = "normal") -> AbstractContextManager[None]:
        """What is asked for within waits so long, at most a day, for a delegate that can take it, kept by the manager meanwhile.

        `with client.waiting(3_600): value = await client.reveal("account.token")`. It holds for the asyncio task that enters it and
        those that this one starts; what may happen only once doesn't wait. `seconds` 0 only says how urgent it is.
        """
        return self.account.waiting(Patience(seconds, priority))

    async def hand_over(
        self,
        act: Callable[[Client], Awaitable[object]],
        seconds: int = LONGEST_SECONDS,
        *,
        priority: Priority = "normal",
    ) -> str:
        """The digest of the task that `act` begins, once the manager keeps it; empty where it was done at once.

        `await client.hand_over(lambda one: one.store("token", value))`. Nobody here waits for its outcome, which
        `privyseal task list` and the audit tell, by the manager's word.
        """
        with self.account.waiting(Patience(seconds, priority, is_detached=True)):
            try:
                await act(self)
            except Detached as handed:
                return handed.task
        return ""

    async def close(self) -> None:
        """Keeps what was seen and ends the connections."""
        try:
            self.account.state.save()
        finally:
            await self.transport.close()
            if not isinstance(self.account.tracer, Untraced):
                # Waits for the collector, a few seconds at most.
                await asyncio.to_thread(self.account.tracer.close)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
