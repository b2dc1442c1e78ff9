"""What holds for every test.

- A unit test opens no connection: what needs one belongs in tests/integration.
- A test begins with the logs as they are by default, whatever ran before it.
- A test that can't run here is skipped for a person, and fails in CI: a skipped proof proves nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A test that is slow because the machine is busy has found nothing.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

UNIT = Path(__file__).parent / "unit"
CALLS = ("bind", "connect", "connect_ex", "sendto", "sendmsg")


class SocketInUnitTest(AssertionError):
    """A unit test reached for the network."""


@pytest.fixture(autouse=True)
def _logs_go_where_they_go_by_default() -> None:
    # A program that ran within a test before has silenced all of them, or sent them elsewhere.
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _no_socket_in_a_unit_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.path.is_relative_to(UNIT):
        return

    def refuse(*_: object, **__: object) -> Any:
        raise SocketInUnitTest("a unit test opens no connection: move it to tests/integration")

    # An event loop's own socket pair never calls these.
    for call in CALLS:
        monkeypatch.setattr(socket.socket, call, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


NOT_TO_BE_HAD = ("pwsh can't be had here",)
"""What no registry that CI may use has; whoever has it runs those tests too."""


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.removeprefix("Skipped: ") in NOT_TO_BE_HAD:
            return
        report.outcome = "failed"
        report.longrepr = f"CI runs every test, but this one was skipped: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report
