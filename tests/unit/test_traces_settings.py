"""Where traces go: nowhere unless it is said, in plain text to this machine only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import client.traces
import delegate.traces
import manager.traces
from shared.errors import Malformed, NotReady
from shared.tracing import Tracer, Untraced
from tests.architecture.source import ROOT

TRACERS: dict[str, Callable[[str], Tracer]] = {
    "client": client.traces.tracer,
    "delegate": lambda endpoint: delegate.traces.tracer(endpoint, "1"),
    "manager": lambda endpoint: manager.traces.tracer(endpoint, "1"),
}

programs = pytest.mark.parametrize("tracer", TRACERS.values(), ids=TRACERS)


@programs
def test_without_an_endpoint_nothing_is_traced(tracer: Any) -> None:
    assert isinstance(tracer(""), Untraced)


@programs
@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("http://collector.example:4318", "url_insecure"),
        ("https://collector.example/v1/traces", "url_malformed"),
        ("collector.example", "url_malformed"),
        ("https://user:secret@collector.example", "url_malformed"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(tracer: Any, endpoint: str, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        tracer(endpoint)
    assert caught.value.code == code
    assert "secret" not in caught.value.detail


@programs
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4318", "http://localhost:4318", "https://collector.example"])
def test_an_endpoint_is_taken_and_nobody_is_asked_before_there_is_a_span(tracer: Any, endpoint: str) -> None:
    made = tracer(endpoint)
    assert not isinstance(made, Untraced)
    made.close()


@programs
def test_without_opentelemetry_the_remedy_is_told(tracer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shared.otlp", None)
    with pytest.raises(NotReady, match="isn't installed") as caught:
        tracer("https://collector.example")
    assert "privy-seal[otel]" in caught.value.hint


@pytest.mark.parametrize("modules", ["manager.daemon", "delegate.build", "client.sdk"])
def test_who_sends_no_traces_loads_nothing_of_what_sends_them(modules: str) -> None:
    program = f"import sys, {modules}; print(sorted(one for one in sys.modules if one.startswith('opentelemetry')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
