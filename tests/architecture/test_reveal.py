"""A `Plaintext` has one exit, `reveal()`, and these files alone may use it."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import PACKAGES, lies_in, sources

EXITS = {
    "shared/crypto/aead.py": "encrypts it",
    "shared/crypto/output.py": "packs answers, themselves a Plaintext, before they are sealed to the reader",
    "shared/crypto/seal.py": "seals it",
    "shared/crypto/stream.py": "the key of an output that a reader opened",
    "delegate/commands.py": "gives it to the command that a granted person signed, in its environment",
    "delegate/executor.py": "the command in an opened input",
    "delegate/scripts.py": "gives it to the script of a template that a granted person signed, by its input",
    "delegate/scripts_remote.py": "what a script printed on its host, to be masked",
    "delegate/masking.py": "its guises are what is masked in a command's output",
    "delegate/secret_managers/age_file.py": "an identity of age, held as a secret, decrypts files",
    "delegate/secret_managers/onepassword_connect.py": "an access token shows 1Password Connect who asks",
    "delegate/secret_managers/custom_secret_manager.py": "looks whether it is an SSHKey, which no script is given",
    "delegate/secret_managers/fingerprint.py": "its digest is part of what is kept of it, under the keyring",
    "delegate/secret_managers/enveloped.py": "a data key opens its record",
    "delegate/secret_managers/kubernetes_object.py": "gives a value the form of a Secret: base64",
    "delegate/secret_managers/selection.py": "selects one member of a JSON value",
    "delegate/secret_managers/texts.py": "gives it the form that a provider keeps",
    "delegate/credentials/aws_identities.py": "an access key signs requests",
    "delegate/secret_managers/aws_kms.py": "the ARN of a key, where that is held as a secret",
    "delegate/credentials/azure.py": "a client secret or certificate shows Entra ID who asks",
    "delegate/secret_managers/azure_key_vault_key.py": "a data key is given to Key Vault to be wrapped",
    "delegate/credentials/cyberark_conjur.py": "an API key logs in at Conjur",
    "delegate/secret_managers/cyberark_ccp.py": "a client certificate's key, held as a secret, is shown to the service",
    "delegate/credentials/gcp_identities.py": "a service account's key signs requests for access tokens",
    "delegate/credentials/kubernetes.py": "a token, held as a secret, shows an API server who asks",
    "delegate/credentials/vault_http.py": "a client certificate's key, held as a secret, is shown to Vault",
    "delegate/credentials/vault_logins.py": "tokens, SecretIDs and passwords log in at Vault",
    "delegate/credentials/pkcs11.py": "a PIN logs in at a token",
    "delegate/secret_managers/pkcs11.py": "a data key is given to a token to be wrapped",
    "delegate/secret_managers/vault_transit.py": "a data key is given to Vault to be wrapped",
    "delegate/ssh.py": "packs an SSHKey with the values that it names, and opens that again where it logs in",
    "delegate/ssh_login.py": "a private key or a password logs in at a host",
    "deploy/examples/plugin/privyseal_encrypted_file/kind.py": "an example: values and the passphrase of its own encryption",
    "client/commands.py": "reads how a command ended: its exit status, no value",
    "client/run_outcomes.py": "the same of a command of an order",
    "client/cli/reveal.py": "shows a value to the person who may see it",
}
# `x.reveal` that is another thing's verb: named, never called without arguments.
OTHER_VERBS = {
    "delegate/operations.py": "the operation of that name, chosen from a table",
}


def exits(path: str, text: str) -> dict[str, list[int]]:
    """Lines that call `.reveal()` without arguments ("calls") or reach for it in another way ("mentions").

    The client's verb `reveal(reference)` takes arguments and isn't meant.
    """
    tree = ast.parse(text, path)
    found: dict[str, list[int]] = {"calls": [], "mentions": []}
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    looked_up = {
        id(one)
        for call in called.values()
        if isinstance(call.func, ast.Name) and call.func.id in {"getattr", "attrgetter", "methodcaller"}
        for one in call.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"reveal", "_Plaintext__value"}:
            call = called.get(id(node))
            if call is None:
                found["mentions"].append(node.lineno)
            elif not (call.args or call.keywords) or ast.unparse(node.value).endswith("Plaintext"):
                found["calls"].append(node.lineno)
        elif isinstance(node, ast.Constant) and node.value == "reveal" and id(node) in looked_up:
            found["mentions"].append(node.lineno)
    return found


def judged() -> dict[str, dict[str, list[int]]]:
    return {path: found for path, text in sources(*PACKAGES, "deploy") if any((found := exits(path, text)).values())}


def test_a_plaintext_leaves_only_through_the_files_that_may() -> None:
    wrong = [
        f"{path}:{line} takes a value out of its Plaintext"
        for path, found in judged().items()
        for line in [
            *(found["calls"] if path not in EXITS else []),
            *(found["mentions"] if path not in OTHER_VERBS else []),
        ]
    ]
    assert wrong == []


def test_every_file_that_may_take_a_value_out_does() -> None:
    found = judged()
    assert [path for path in EXITS if not found.get(path, {}).get("calls")] == []
    assert [path for path in OTHER_VERBS if not found.get(path, {}).get("mentions")] == []
    assert [path for path in EXITS if lies_in(path, ("manager",))] == []


@pytest.mark.parametrize(
    "text",
    [
        "print(plaintext.reveal())",
        "leak = plaintext.reveal",
        "getattr(plaintext, 'reveal')()",
        "map(methodcaller('reveal'), plaintexts)",
        "f'{(await fetch()).reveal()}'",
        "plaintext.Plaintext.reveal(value)",
        "value._Plaintext__value",
    ],
)
def test_an_exit_is_seen(text: str) -> None:
    found = exits("manager/bad.py", text)
    assert found["calls"] or found["mentions"]


def test_the_clients_verb_is_no_exit() -> None:
    assert exits("client/sdk.py", "await client.reveal('account.token')\nawait self.reveal_all(x)") == {
        "calls": [],
        "mentions": [],
    }
