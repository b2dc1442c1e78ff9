"""Who this delegate is: an identity made at the start and held in memory, certified by the keyring in its hands.

Promises: the certificate is renewed at half its life, and made with a generation that the manager knows. Must not write
the identity anywhere: a restarted delegate is another one, which is what makes `repeat: never` hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from delegate.clock import Clock
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.certificate import LIFETIME_SECONDS, MOST_SCOPES, CertificateDocument
from shared.hello import hello_message
from shared.messages import Hello
from shared.names import ACCOUNT_SCOPE, Scope
from shared.selectors import normalise, normalise_all
from shared.trust.authority import SKEW_SECONDS

_log = structlog.get_logger()


class Passport:
    """Identity and certificate; `tags` always hold the delegate's name and host, `scopes` are those of its local policy.

    `group` is the one that it says it is of; the tags that this brings are no part of it.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        keyring: Keyring,
        name: str,
        tags: Iterable[str],
        group: str | None = None,
        version: str,
        kinds: tuple[str, ...],
        capacity: int,
        scopes: Collection[Scope],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._keyring = keyring
        self._name = normalise(name)
        self.tags = normalise_all([name, *tags])
        self.group = None if group is None else normalise(group)
        self._version = version
        self._kinds = kinds
        self._capacity = capacity
        # Many of them would be as long as a document: then the manager isn't told, and tasks are refused here.
        self._scopes = () if ACCOUNT_SCOPE in scopes or len(scopes) > MOST_SCOPES else tuple(sorted(map(str, scopes)))
        self._clock = clock
        self._generation = keyring.newest
        self._issued = self._half_life = 0
        self.expires = 0
        """When the certificate does, in seconds since 1970."""
        self.certificate = ""
        self._certify()

    @property
    def is_half_spent(self) -> bool:
        """Whether a new certificate is due."""
        # One of the future, from before this clock was set back, counts nowhere until then.
        return not self._issued - SKEW_SECONDS <= self._clock.now() < self._half_life

    def renew(self) -> str:
        """A new certificate of the same identity."""
        self._certify()
        _log.info("certificate.renewed", generation=self._generation.number, thumbprint=self._identity.kid)
        return self.certificate

    def follow(self, current: int) -> bool:
        """Whether the certificate's generation changed because `current` is the account's now, and it is in the file."""
        if current == self._generation.number or current not in self._keyring.numbers:
            return False
        self._generation = self._keyring.generation(current)
        self._certify()
        return True

    def hello(self, origin: str, nonce: bytes) -> Hello:
        """The answer to a manager's challenge, of use to that manager and for that stream alone."""
        # The clock may have been set since, while there was no stream.
        if self.is_half_spent:
            self.renew()
        proof = self._identity.sign(hello_message(origin, nonce, self.certificate))
        numbers = self._keyring.numbers
        return Hello(self.certificate, proof, origin, self._version, self._kinds, numbers, self._capacity)

    def refused(self, code: str) -> None:
        """The manager refused the hello. It may not know the newest generation yet: the next hello tries an older one."""
        numbers = self._keyring.numbers
        if code != "certifier_unknown" or len(numbers) == 1:
            return
        at = numbers.index(self._generation.number)
        self._generation = self._keyring.generation(numbers[at - 1])
        self._certify()

    def _certify(self) -> None:
        now = self._clock.now()
        document = CertificateDocument(
            v=1,
            acct=self._keyring.account,
            keyring=self._keyring.name,
            gen=self._generation.number,
            key=self._identity.key,
            name=self._name,
            tags=self.tags,
            scopes=self._scopes,
            group=self.group,
            iat=now,
            exp=now + LIFETIME_SECONDS,
        )
        self.certificate = self._generation.certifying.sign_document(document)
        self._issued, self._half_life = now, now + LIFETIME_SECONDS // 2
        self.expires = document.exp
