"""The manager's health names the part that fails."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509

from manager.clock import Clock
from manager.condition import Condition, expiry_of
from manager.store import Store
from shared.errors import Malformed, Unavailable
from tests.fakes.authority import Authority


class FullDisk:
    """A store that can't write."""

    async def check(self) -> None:
        raise Unavailable("store_unavailable", "the store can't be written", "free space")


async def told(condition: Condition) -> dict[str, str]:
    faults = await condition.faults()
    assert all(fault.detail for fault in faults)
    return {fault.part: fault.code for fault in faults}


async def test_a_manager_that_can_serve_has_no_faults(tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        assert await told(Condition(store, Clock())) == {}
        assert await told(Condition(store, Clock(), int(time.time()) + 60)) == {}


async def test_each_part_that_fails_is_named_the_gravest_first(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/manager.db")
    async with store:
        condition = Condition(store, Clock(), int(time.time()) - 1)
        assert await told(condition) == {"certificate": "certificate_expired"}
        condition.draining = True
        assert list((await told(condition)).items()) == [
            ("certificate", "certificate_expired"),
            ("draining", "manager_draining"),
        ]
    condition = Condition(cast(Store, FullDisk()), Clock(), int(time.time()) - 1)
    assert list((await told(condition)).items()) == [
        ("store", "store_unavailable"),
        ("certificate", "certificate_expired"),
    ]


def test_the_expiry_of_the_ports_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    _, certificate = Authority().issue("localhost")
    (tmp_path / "tls.crt").write_bytes(certificate)
    until = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    assert datetime.fromtimestamp(expiry_of(tmp_path / "tls.crt"), UTC) == until
    (tmp_path / "no.crt").write_bytes(b"none")
    for path in ("no.crt", "missing.crt"):
        with pytest.raises(Malformed, match="tls_certificate"):
            expiry_of(tmp_path / path)
