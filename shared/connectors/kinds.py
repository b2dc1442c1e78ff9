"""The kinds whose settings are known here, by the `type` of their YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.connectors.age_file import AgeFileSettings
from shared.connectors.aws_kms import AwsKmsSettings
from shared.connectors.aws_parameter_store import AwsParameterStoreSettings
from shared.connectors.aws_secret_manager import AwsSecretManagerSettings
from shared.connectors.azure_key_vault import AzureKeyVaultSettings
from shared.connectors.azure_key_vault_key import AzureKeyVaultKeySettings
from shared.connectors.custom_secret_manager import CustomSecretManagerSettings
from shared.connectors.cyberark_ccp import CyberArkCcpSettings
from shared.connectors.cyberark_conjur import CyberArkConjurSettings
from shared.connectors.gcp_kms import GcpKmsSettings
from shared.connectors.gcp_secret_manager import GcpSecretManagerSettings
from shared.connectors.kubernetes_secrets import KubernetesSecretsSettings
from shared.connectors.local import LocalSettings
from shared.connectors.model import Model, convert
from shared.connectors.onepassword_connect import OnePasswordConnectSettings
from shared.connectors.pkcs11 import Pkcs11Settings
from shared.connectors.vault import VaultSettings, VaultTransitSettings
from shared.errors import Malformed

KINDS: Mapping[str, type[Model]] = {
    "AgeFile": AgeFileSettings,
    "AwsKms": AwsKmsSettings,
    "AwsParameterStore": AwsParameterStoreSettings,
    "AwsSecretManager": AwsSecretManagerSettings,
    "AzureKeyVault": AzureKeyVaultSettings,
    "AzureKeyVaultKey": AzureKeyVaultKeySettings,
    "CustomSecretManager": CustomSecretManagerSettings,
    "CyberArkCcp": CyberArkCcpSettings,
    "CyberArkConjur": CyberArkConjurSettings,
    "GcpKms": GcpKmsSettings,
    "GcpSecretManager": GcpSecretManagerSettings,
    "KubernetesSecrets": KubernetesSecretsSettings,
    "Local": LocalSettings,
    "OnePasswordConnect": OnePasswordConnectSettings,
    "Pkcs11": Pkcs11Settings,
    "Vault": VaultSettings,
    "VaultTransit": VaultTransitSettings,
}


def settings(kind: str, spec: Mapping[str, Any]) -> Model:
    """The settings of a connector of that kind. Raises Malformed: kind_unknown, or connector_malformed with its path."""
    model = KINDS.get(kind)
    if model is None:
        known = sorted(KINDS)
        raise Malformed(
            "kind_unknown",
            "type: the connector's type is not a known kind",
            "known are: " + ", ".join(known),
            path="type",
            allowed=known,
        )
    return convert(model, spec, kind)
