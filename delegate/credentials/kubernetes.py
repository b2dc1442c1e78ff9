"""An API server of Kubernetes, and who a connector is there: the pod's own service account, or one whose token a secret holds.

Promises: the pod's token is read anew each minute and when it isn't taken any longer, since Kubernetes replaces it, and its
authority when that isn't trusted any longer; files only as the local policy lets connectors name them, and a token is sent
only where it has a token's form; nothing of an answer is repeated in an error. Sources: Kubernetes, "Accessing the Kubernetes
API from a Pod", "API Concepts"; `Status` of the API conventions.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from delegate.credentials.refusals import Refusal, Refusals
from delegate.credentials.rest import Answer, Rest
from delegate.credentials.rest_refusals import OTHER, refusal
from delegate.files import read_bytes
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.kubernetes_secrets import KubernetesSecretsSettings, ManualConfig
from shared.connectors.servers import parts_of
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound, NotReady, Overloaded, PrivySealError, Unavailable

LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes: 1 MiB in base64, and what managers of fields note beside it."""
TOKEN_SECONDS = 60.0
"""How long a token that was read is used: as Kubernetes' own clients do."""

_TOKEN = re.compile(rb"[A-Za-z0-9_\-.~+/=:]{1,16384}\Z")
T = TypeVar("T")


class _Status(msgspec.Struct, frozen=True):
    """What an API server says of a refusal."""

    reason: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """Where an API server is and whom to trust there: origin, base path, authorities in PEM ("" for the system's)."""

    origin: str
    base: str
    authorities: str


class Who(Protocol):
    """Where, and by which token."""

    renews: bool

    async def place(self) -> Place:
        """Raises NotReady, NotFound, Denied, Malformed."""

    async def token(self, fresh: bool) -> str:
        """The token; read anew where `fresh`. Raises as `place`."""


class Held:
    """A URL, and a token that a secret holds."""

    renews = False

    def __init__(self, settings: ManualConfig, secrets: Mapping[str, Plaintext]) -> None:
        manual, who = settings.spec, settings.spec.auth.spec
        origin, base = parts_of(manual.master_url)
        authorities = manual.ca_certificate
        if who.ca_cert_ref:
            authorities = _pem(secrets[who.ca_cert_ref].reveal(), f"the secret {who.ca_cert_ref}")
        self._place = Place(origin, base, authorities)
        self._token = _token(
            secrets[who.service_account_token_ref].reveal(), f"the secret {who.service_account_token_ref}"
        )

    async def place(self) -> Place:
        """As the settings say."""
        return self._place

    async def token(self, fresh: bool) -> str:
        """As the secret says."""
        return self._token


class Own:
    """The service account of the pod."""

    renews = True

    def __init__(self, folder: str, surroundings: Surroundings) -> None:
        self._folder = folder.rstrip("/")
        self._policy = surroundings.policy
        self._clock = surroundings.clock
        self._read: tuple[float, str] | None = None

    async def place(self) -> Place:
        """The cluster's, by the variables that Kubernetes sets."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
        if not host:
            raise NotReady(
                "kubernetes_outside",
                "this delegate doesn't run in a pod: KUBERNETES_SERVICE_HOST isn't set",
                "name by delegateSelectors delegates that do, or give masterUrl and a token (ManualConfig)",
            )
        host = f"[{host}]" if ":" in host else host
        path = f"{self._folder}/ca.crt"
        return Place(f"https://{host}:{port}", "", _pem(await self._content(path), path))

    async def token(self, fresh: bool) -> str:
        """The file's."""
        now = self._clock.monotonic()
        if fresh or self._read is None or now - self._read[0] >= TOKEN_SECONDS:
            path = f"{self._folder}/token"
            self._read = now, _token(await self._content(path), path)
        return self._read[1]

    async def _content(self, path: str) -> bytes:
        self._policy.check_file(path)
        return await asyncio.to_thread(read_bytes, path, "service_account")


class Cluster:
    """One API server. Constructing asks nobody and reads no file; raises Malformed for an unusable token or certificate."""

    def __init__(
        self, settings: KubernetesSecretsSettings, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        credential = settings.credential
        self._who: Who
        if isinstance(credential, ManualConfig):
            self._who = Held(credential, secrets)
        else:
            self._who = Own(credential.spec.service_account_path, surroundings)
        self._surroundings = surroundings
        self._tries = Tries(surroundings.call_seconds, surroundings.randomness)
        self._opened: tuple[Rest, str] | None = None
        self._opening = asyncio.Lock()

    async def ask(
        self, about: str, method: str, path: str, body: bytes | None = None, refusals: Refusals | None = None
    ) -> Answer:
        """What an API server answers with success; in at most three tries, so only what is harmless twice may be asked.

        `about` names verb and resource, for errors; `refusals` go before those of every call.
        """

        async def once() -> Answer:
            answer = await self._sent(about, method, path, body, fresh=False)
            if answer.status == 401 and self._who.renews:
                answer = await self._sent(about, method, path, body, fresh=True)
            if not 200 <= answer.status < 300:
                status = answer.read(_Status)
                raise refusal(answer.status, status.reason if status else "", about, refusals or {}, REFUSALS)
            return answer

        return await self._tries.of(once, lambda: _slow(about))

    def parsed(self, answer: Answer, form: type[T], about: str) -> T:
        """An answer as that struct. Raises Unavailable for one of another form."""
        found = answer.read(form)
        if found is None:
            raise self.garbled(about)
        return found

    def garbled(self, about: str) -> PrivySealError:
        """The error for an answer that isn't an API server's, or is about something else."""
        return Unavailable(
            "kubernetes_garbled",
            f"what answers {about} doesn't speak as an API server of Kubernetes does, or speaks about something else",
            "look at masterUrl, and at what stands between the delegate and the API server",
        )

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[0].close()

    async def _sent(self, about: str, method: str, path: str, body: bytes | None, *, fresh: bool) -> Answer:
        rest, base = await self._rest()
        headers = {"Authorization": f"Bearer {await self._who.token(fresh)}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return await rest.ask(method, base + path, headers=headers, body=body, about=about)
        except Unavailable as why:
            # The cluster's authority may have been replaced: the next try reads it anew.
            if why.code == "kubernetes_untrusted" and self._who.renews and self._opened == (rest, base):
                await self.close()
            raise

    async def _rest(self) -> tuple[Rest, str]:
        async with self._opening:
            if self._opened is None:
                place = await self._who.place()
                rest = Rest(
                    place.origin,
                    self._surroundings.policy,
                    self._surroundings.call_seconds,
                    authorities=place.authorities,
                    largest=LARGEST_ANSWER,
                    name="the API server of Kubernetes",
                    code="kubernetes",
                )
                self._opened = rest, place.base
            return self._opened


def _token(raw: bytes, where: str) -> str:
    token = raw.strip()
    if not _TOKEN.match(token):
        raise Malformed(
            "credential_malformed",
            f"what stands in {where} isn't the token of a service account",
            "store the token alone, as kubectl create token prints it",
        )
    return token.decode("ascii")


def _pem(raw: bytes, where: str) -> str:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Malformed(
            "ca_malformed", f"what stands in {where} isn't a certificate in PEM", "give the cluster's ca.crt"
        )
    return text


def _slow(about: str) -> PrivySealError:
    return Unavailable(
        "kubernetes_slow",
        f"the API server of Kubernetes didn't answer {about} in time",
        "try again; if it stays so, look at its load and at the network between the delegate and it",
    )


_PAGE = "docs/secret-managers/kubernetes-secrets.md"

# What an API server's status codes mean.
REFUSALS: Refusals = {
    400: Refusal(Malformed, "kubernetes_invalid", "the API server doesn't take {about}", "see " + _PAGE),
    401: Refusal(
        Denied,
        "kubernetes_unauthenticated",
        "the API server doesn't take the connector's token, at {about}",
        "it has ended, its service account was deleted, or it is another cluster's: kubectl create token, and store that",
    ),
    403: Refusal(
        Denied,
        "kubernetes_denied",
        "the API server doesn't allow {about}",
        "allow that verb to the service account by a Role and a RoleBinding of the namespace: "
        + _PAGE
        + "; where it is allowed, a "
        "quota, an admission controller or the namespace's end forbids it",
    ),
    404: Refusal(
        NotFound,
        "kubernetes_missing",
        "there is nothing for {about}",
        "look at the name and at namespace of the connector",
    ),
    409: Refusal(Conflict, "kubernetes_changed", "somebody else changed it meanwhile: {about}", "try again"),
    413: Refusal(Malformed, "value_too_large", "the API server doesn't take so much at once, at {about}", "store less"),
    422: Refusal(
        Malformed,
        "kubernetes_invalid",
        "the API server finds it invalid: {about}",
        "see " + _PAGE + "; an admission controller may have rules of its own",
    ),
    429: Refusal(
        Overloaded,
        "kubernetes_throttled",
        "the API server takes no more of {about} for now",
        "try again later; calls_per_minute keeps a connector below its limit",
    ),
    500: Refusal(
        Unavailable, "kubernetes_unavailable", "the API server fails at {about}", "try again; see the API server's log"
    ),
    OTHER: Refusal(Denied, "kubernetes_refused", "the API server refuses {about}", "see the API server's log"),
}
