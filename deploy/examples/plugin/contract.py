"""The kind in the contract suite of Privy Seal:

PRIVYSEAL_CONTRACT=contract:SUBJECTS PYTHONPATH=. python -m pytest PATH/TO/privy-seal/tests/contract -k EncryptedFile
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.contract.subjects import Servers, Subject, connector, installed
from tests.fakes.world import World


def encrypted_file(world: World, servers: Servers) -> Subject:
    """A connector whose file is in a folder of its own, with what the kind promises of itself."""
    path = Path(tempfile.mkdtemp(dir=servers.folder)) / "values.json"
    spec = {"path": str(path), "passphrase": "account.passphrase", "delegateSelectors": ["here"]}
    return Subject(
        world,
        installed("EncryptedFile"),
        connector(world, "EncryptedFile", spec, "account.passphrase"),
        {"account.passphrase": b"correct staple battery horse"},
        longest=64 * 1024,
        remote=True,
        files=(str(path),),
    )


SUBJECTS = {"EncryptedFile": encrypted_file}
