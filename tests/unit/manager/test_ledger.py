"""The ledger of orders on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.ledger_contract import LedgerContract


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/manager.db"


class TestLedgerOnSqlite(LedgerContract):
    """The contract that PostgreSQL keeps as well."""
