"""Azure Key Vault: values in a vault (`AzureKeyVault`); who asks is also that of `AzureKeyVaultKey`.

The vault's and the authority's hosts follow from the vault's name and the cloud alone. Certificates, ID tokens (`useOidc`) and the
cloud of China are ours. Fields of an identity that isn't chosen are taken and mean nothing: their secrets aren't asked for.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, get_args

from msgspec import Meta

from shared.connectors.fields import Forms, Refused, Way
from shared.connectors.model import Model
from shared.documents.fields import SecretReference

Environment = Literal["AZURE", "AZURE_US_GOVERNMENT", "AZURE_CHINA"]
Managed = Literal["SystemAssignedManagedIdentity", "UserAssignedManagedIdentity"]
IdentityType = Literal["secret", "certificate", "oidc", "managed"]

VaultName = Annotated[str, Meta(max_length=24, pattern=r"^[A-Za-z](-?[A-Za-z0-9]){2,23}$(?!\n)")]
"""Microsoft.KeyVault/vaults: 3 to 24 letters, digits and hyphens, a letter first, no two hyphens together."""
Guid = Annotated[str, Meta(pattern=r"^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$(?!\n)")]
Tenant = Annotated[str, Meta(max_length=253, pattern=r"^([A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?)?$(?!\n)")]
Line = Annotated[str, Meta(max_length=2048, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class Cloud(NamedTuple):
    """A cloud of Azure: the domain of its vaults, the host of its Entra ID, and the audience of ID tokens there."""

    suffix: str
    authority: str
    audience: str


CLOUDS: dict[str, Cloud] = {
    "AZURE": Cloud("vault.azure.net", "login.microsoftonline.com", "api://AzureADTokenExchange"),
    "AZURE_US_GOVERNMENT": Cloud(
        "vault.usgovcloudapi.net", "login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"
    ),
    "AZURE_CHINA": Cloud("vault.azure.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"),
}
"""Nothing else is ever called, but what a delegate's own configuration names."""

_SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
_GUID = "a GUID: 8-4-4-4-12 hexadecimal digits"
_SELECTORS_EMPTY = "DelegateSelectors cannot be Empty: name the delegates whose managed identity is used"
_IDENTITY_MISSING = (
    "the identity is missing: give secretKey or certificate (each a secret), useOidc or useManagedIdentity"
)

_REGISTERED = Way(needs=("tenantId", "clientId"))

FORMS = Forms(
    choices={
        "azureEnvironmentType": get_args(Environment),
        "azureManagedIdentityType": get_args(Managed),
    },
    named={
        "azureEnvironmentType": "Invalid Azure environment type",
        "azureManagedIdentityType": "Invalid managed identity type",
    },
    forms={
        "certificate": f"{_SECRET}; PEM or PKCS#12, certificate and key, goes into that secret",
        "clientId": _GUID,
        "managedClientId": _GUID,
        "secretKey": f"{_SECRET}; the client secret itself goes into that secret",
        "tenantId": "the tenant's GUID, or one of its domains",
        "vaultName": "the name of a vault, not its URL: 3 to 24 letters, digits and single hyphens, a letter first",
    },
    missing={"vaultName": "Vault name cannot be empty"},
    ways={
        "Identity": {
            "secretKey": _REGISTERED,
            "certificate": _REGISTERED,
            "useOidc": _REGISTERED,
            "useManagedIdentity": Way(needs=("azureManagedIdentityType",)),
        },
        "azureManagedIdentityType": {
            "SystemAssignedManagedIdentity": Way(),
            "UserAssignedManagedIdentity": Way(needs=("managedClientId",)),
        },
    },
)


class AzureVault(Model, frozen=True, kw_only=True):
    """Which vault, and who asks it. `identity` is the way that counts."""

    FORMS: ClassVar[Forms] = FORMS

    vault_name: VaultName
    azure_environment_type: Environment = "AZURE"
    subscription: Line = ""
    vault_configured_manually: bool = False

    client_id: Guid = ""
    tenant_id: Tenant = ""
    secret_key: SecretReference | None = None
    certificate: SecretReference | None = None
    use_oidc: bool = False
    use_managed_identity: bool = False
    azure_managed_identity_type: Managed | None = None
    managed_client_id: Guid = ""

    def __post_init__(self) -> None:
        if self.use_managed_identity:
            _check_managed(self)
            return
        ways = {
            "secretKey": self.secret_key is not None,
            "certificate": self.certificate is not None,
            "useOidc": self.use_oidc,
        }
        chosen = [way for way, given in ways.items() if given]
        if not chosen:
            raise Refused("secretKey", _IDENTITY_MISSING)
        if len(chosen) > 1:
            raise Refused(chosen[1], f"{chosen[0]} and {chosen[1]} can not be used together: choose one identity")
        if not self.client_id:
            raise Refused("clientId", "Client Id cannot be empty: give that of the app registration")
        if not self.tenant_id:
            raise Refused("tenantId", "Tenant Id cannot be empty: give that of the app registration")

    @property
    def identity(self) -> IdentityType:
        """How the delegate shows who it is."""
        if self.use_managed_identity:
            return "managed"
        if self.use_oidc:
            return "oidc"
        return "secret" if self.secret_key is not None else "certificate"

    @property
    def cloud(self) -> Cloud:
        """Where the vault is."""
        return CLOUDS[self.azure_environment_type]

    @property
    def host(self) -> str:
        """The vault's, in lower case."""
        return f"{self.vault_name.lower()}.{self.cloud.suffix}"

    @property
    def oidc_audience(self) -> str | None:
        """Entra ID's own, where the identity is `useOidc`."""
        return self.cloud.audience if self.identity == "oidc" else None

    def named_references(self) -> dict[str, str]:
        """Only that of the identity that counts."""
        used = {"secret": "secretKey", "certificate": "certificate"}.get(self.identity)
        # By its full name: a struct with slots is another class than the one that super() without arguments knows.
        return {path: value for path, value in Model.named_references(self).items() if path == used}


def _check_managed(settings: AzureVault) -> None:
    if settings.azure_managed_identity_type is None:
        raise Refused(
            "azureManagedIdentityType",
            "Managed identity type cannot be empty: give one of " + ", ".join(get_args(Managed)),
            get_args(Managed),
        )
    if settings.azure_managed_identity_type == "UserAssignedManagedIdentity" and not settings.managed_client_id:
        raise Refused("managedClientId", "Managed client Id cannot be empty for a user-assigned managed identity")
    if not settings.delegate_selectors:
        raise Refused("delegateSelectors", _SELECTORS_EMPTY)


class AzureKeyVaultSettings(AzureVault, frozen=True, kw_only=True):
    """Secrets of a vault; with `enablePurge` what is deleted can't be recovered."""

    enable_purge: bool = False
