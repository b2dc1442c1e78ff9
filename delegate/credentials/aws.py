"""A connector's calls of AWS, made as its credential says: the one entrance for every kind of secret manager at AWS."""

from __future__ import annotations

from collections.abc import Mapping

from delegate.credentials.aws_calls import AwsCalls, Identity
from delegate.credentials.aws_identities import AccessKey, OwnIdentity, Signing, secret_key_of
from delegate.credentials.aws_roles import assumed, trusting
from delegate.credentials.aws_session import AwsSession
from delegate.credentials.refusals import Refusals
from delegate.secret_managers.interface import Surroundings
from delegate.tries import Tries
from shared.connectors.aws import AssumeIAMRole, AssumeSTSRole, Credential, ManualConfig, OidcAuthentication
from shared.connectors.aws_secret_manager import AccessKeyConfig, AssumeExternalRole, credential_of
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument


def identity(
    credential: Credential | AccessKeyConfig | AssumeExternalRole,
    region: str,
    connector: ConnectorDocument,
    surroundings: Surroundings,
    secrets: Mapping[str, Plaintext],
) -> Identity:
    """Who a connector is, as its credential says; without any I/O yet. Raises Malformed for what can't be a key."""
    match credential:
        case ManualConfig(spec=key):
            return AccessKey.held(key.access_key, key.secret_key, secrets)
        case AccessKeyConfig(spec=either):
            if either.access_key is not None:
                return AccessKey.held(either.access_key, either.secret_key, secrets)
            plain = either.access_key_plain_text
            assert plain is not None
            return AccessKey(plain, secret_key_of(secrets, either.secret_key), f"the access key {plain}")
        case AssumeIAMRole():
            return OwnIdentity(region, surroundings)
        case AssumeSTSRole(spec=role):
            return assumed(role, region, connector, surroundings)
        case AssumeExternalRole():
            return identity(credential_of(credential), region, connector, surroundings, secrets)
        case OidcAuthentication(spec=trust):
            return trusting(trust, region, connector, surroundings)


def calls(service: str, identity: Identity, region: str, surroundings: Surroundings, refusals: Refusals) -> AwsCalls:
    """Calls of a service in a region as somebody; `refusals` say what the service's own error codes mean."""
    session = AwsSession(region, surroundings, credentials=Signing(identity))
    return AwsCalls(service, session, identity, Tries(surroundings.call_seconds, surroundings.randomness), refusals)
