"""Who a connector can be at AWS without asking for a role: an access key held as secrets, or what the delegate itself is.

Promises: an access key is used as given, and nothing else stands in for it; the delegate's own identity is found as AWS's
library finds it. Must not write credentials anywhere, nor put them into an error or a log line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError

from delegate.credentials.aws_calls import Identity, refused, unanswered
from delegate.credentials.aws_session import AwsSession
from delegate.credentials.flight import Flight
from delegate.secret_managers.interface import Surroundings
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotReady, PrivySealError, Unavailable


class Signing(AioCredentials):  # type: ignore[misc]
    """An identity in the form that the library signs with: it is asked for each request."""

    def __init__(self, identity: Identity) -> None:
        super().__init__("", "")
        self._identity = identity

    async def get_frozen_credentials(self) -> ReadOnlyCredentials | None:
        """As they are now."""
        return await self._identity.ready()


class AccessKey:
    """`ManualConfig`: an access key. `who` names it in errors."""

    def __init__(self, access_key: str, secret_key: str, who: str) -> None:
        self.who = who
        self._credentials = ReadOnlyCredentials(access_key, secret_key, None, None)

    @staticmethod
    def held(access_key: str, secret_key: str, secrets: Mapping[str, Plaintext]) -> AccessKey:
        """The one whose halves two secrets hold, named by their references. Raises Malformed for what can't be one."""
        return AccessKey(
            text_of(secrets, access_key, _ACCESS_KEY, "an access key's id"),
            secret_key_of(secrets, secret_key),
            f"the access key that the secret {access_key} holds",
        )

    async def ready(self) -> ReadOnlyCredentials:
        """Those given."""
        return self._credentials

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """There are no others: a new version of the secrets makes another identity."""
        return False

    async def close(self) -> None:
        """Nothing is open."""


class OwnIdentity:
    """`AssumeIAMRole`: what the delegate is at AWS, found as AWS's library finds it: in its environment, by web identity,
    profile, container, or instance metadata (version 2)."""

    who = "the delegate's own AWS identity"

    def __init__(self, region: str, surroundings: Surroundings) -> None:
        self._region = region
        self._surroundings = surroundings
        self._found: AioCredentials | None = None
        self._told: ReadOnlyCredentials | None = None
        # What is looked for may be a program of the profile that takes its time: it is started once, not once a call.
        self._looking = Flight(self._look)

    async def ready(self) -> ReadOnlyCredentials:
        """As found, and kept fresh by the library. Raises NotReady, Denied, Unavailable."""
        try:
            async with asyncio.timeout(self._surroundings.call_seconds):
                return await self._looking.result()
        except PrivySealError:
            raise
        except ClientError as error:
            raise refused(error, "sts", "the role that is its own identity", "the delegate") from None
        except TimeoutError:
            raise Unavailable("aws_slow", f"{self.who} couldn't be obtained in time", _IDENTITY_HINT) from None
        except Exception as error:  # noqa: BLE001 (so many ways to look, so many to fail)
            raise unanswered(error, f"obtaining {self.who}", self.who) from None

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """It is looked for anew: files and environment may have changed."""
        if self._told == refused:
            self._found = None
        return True

    async def close(self) -> None:
        """Forget it."""
        self._looking.cancel()
        self._found = self._told = None

    async def _look(self) -> ReadOnlyCredentials:
        if self._found is None:
            self._found = await AwsSession(self._region, self._surroundings, own=True).get_credentials()
        if self._found is None:
            raise NotReady(
                "aws_credentials_missing", f"{self.who} isn't there: no credentials were found", _IDENTITY_HINT
            )
        self._told = await self._found.get_frozen_credentials()
        return self._told


class Nobody:
    """Who proves himself by a token in the request and signs nothing."""

    def __init__(self, who: str) -> None:
        self.who = who

    async def ready(self) -> None:
        """Nothing to sign with."""

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """There is nothing to renew."""
        return False

    async def close(self) -> None:
        """Nothing is open."""


def secret_key_of(secrets: Mapping[str, Plaintext], reference: str) -> str:
    """The secret half of an access key. Raises Malformed."""
    return text_of(secrets, reference, _SECRET_KEY, "a secret access key")


def text_of(secrets: Mapping[str, Plaintext], reference: str, form: re.Pattern[bytes], what: str) -> str:
    """A credential's text, without what a file's last line ends with. Raises Malformed for another form."""
    value = secrets[reference].reveal().strip()
    if not form.match(value):
        raise Malformed(
            "credential_malformed", f"the secret {reference} isn't {what}", "store it again: privyseal secret set"
        )
    return value.decode("ascii")


_ACCESS_KEY = re.compile(rb"[A-Za-z0-9_]{16,128}\Z")
_SECRET_KEY = re.compile(rb"[!-~]{16,256}\Z")
_IDENTITY_HINT = "give the delegate credentials or a role: docs/secret-managers/aws-kms.md lists the ways"
