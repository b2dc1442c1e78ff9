"""docs/operations.md, section Faults: each row is held by tests that exist, and the figures in it are the program's."""

from __future__ import annotations

import re
from pathlib import Path

from manager.condition import CHECK_SECONDS
from manager.database import LOCK_MILLISECONDS
from manager.dispatch import EXECUTION_SECONDS
from manager.options import PROGRAM
from manager.postgresql import CONNECT_SECONDS, SILENT_SECONDS
from shared.codec import CHUNK_BYTES
from shared.liveness import Liveness

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/operations.md").read_text().partition("\n## Faults\n")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split(" | ") for line in SECTION.splitlines() if line.startswith("| ")][1:]


def test_each_fault_says_what_happens_what_to_do_and_which_test_holds_it() -> None:
    assert len(ROWS) >= 16
    for row in ROWS:
        assert len(row) == 4 and all(cell.strip() for cell in row), row
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
        assert named, row
        for path, test in named:
            assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.M), f"{path}::{test}"


def test_each_test_of_the_fault_suite_that_breaks_something_stands_in_the_table() -> None:
    files = ("network", "silence", "clocks", "clocks_fleet", "store", "store_silent", "delegates")
    for name in files:
        assert f"tests/integration/test_faults_{name}.py::" in SECTION, name


def test_its_figures_are_those_of_the_program() -> None:
    defaults = {one.name: one.default for one in PROGRAM.options}
    assert (defaults["heartbeat"], defaults["silence"]) == ("2s", "5s")
    usual = Liveness(2.0, 5.0)
    assert (usual.look_seconds, usual.limit_seconds) == (0.25, 0.9 * 5.0)
    assert LOCK_MILLISECONDS == 5_000 and "five seconds" in SECTION
    assert CHECK_SECONDS == 2 and "`store_silent` after two seconds" in SECTION
    assert (SILENT_SECONDS, CONNECT_SECONDS) == (10, 5) and "waited for ten seconds, a new connection five" in SECTION
    assert EXECUTION_SECONDS == 600 and "ten minutes" in SECTION
    assert CHUNK_BYTES == 256 * 1024
    # In Mbit/s, rounded up.
    assert 0.4 < CHUNK_BYTES * 8 / usual.limit_seconds / 1e6 < 0.5 and "0.5 Mbit/s" in SECTION
