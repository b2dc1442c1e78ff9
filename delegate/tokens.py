"""ID tokens: what a cloud is shown instead of a stored credential, signed with the keyring's own key.

Promises: a token is for one connector and one audience, is made when it is needed and lasts ten minutes; the issuer is the
one in the keyring document that an administrator signed, whatever the manager says. Must not keep a token: what it buys is
kept by who asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from delegate.clock import Clock
from delegate.zone import Zone
from shared import oidc
from shared.canonical import b64u
from shared.crypto.issuer import IssuerKey
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed

JTI_BYTES = 16
MOST_CHARACTERS = 2048


class Tokens:
    """Of the one keyring that this delegate holds."""

    def __init__(self, zone: Zone, clock: Clock, randomness: Callable[[int], bytes]) -> None:
        self._zone = zone
        self._clock = clock
        self._randomness = randomness

    async def mint(self, connector: ConnectorDocument, audience: str) -> str:
        """A JWT (RS256) of a verified connector for `audience`.

        Raises NotReady where the keyring has no issuer or this delegate not its key, Denied for another zone's connector,
        Malformed for an audience that is empty or too long.
        """
        if (connector.acct, connector.keyring) != (self._zone.account, self._zone.name):
            raise Denied(
                "keyring_foreign",
                f"the connector {connector.identifier} is of the keyring {connector.keyring}, and this delegate holds "
                f"{self._zone.name}",
                "a delegate of that keyring has to serve it",
            )
        if not 0 < len(audience) <= MOST_CHARACTERS:
            raise Malformed(
                "audience_malformed",
                f"the audience of the connector {connector.identifier} has 1 to {MOST_CHARACTERS:,} characters",
                "see docs/oidc.md",
            )
        issuer, key = self._zone.issuer()
        jti = b64u(self._randomness(JTI_BYTES))
        told = oidc.claims(connector, issuer, audience, self._clock.now(), jti)
        # The first use of a key also checks its factors, a tenth of a second that heartbeats needn't wait for.
        return await asyncio.to_thread(_sign, key, told)


def _sign(key: IssuerKey, told: dict[str, object]) -> str:
    # Here, since a delegate without such connectors does without it: see tests/architecture.
    import jwt

    return jwt.encode(told, key.private, algorithm="RS256", headers={"kid": oidc.key_id(key.n), "typ": "JWT"})
