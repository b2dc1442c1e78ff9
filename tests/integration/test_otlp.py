"""Spans at a real receiver of OTLP over HTTP, which parses them: what arrives, and what is dropped and counted instead."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from shared.errors import Unavailable
from shared.otlp import Connect, Otlp
from shared.tracing import parse_traceparent
from tests.fakes.collector import Collector, collector

REMOTE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def connect(found: Collector) -> Connect:
    place = urlsplit(found.url)
    return lambda: http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=30.0)


def test_a_span_and_its_part_arrive_as_one_trace() -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1.2", connect(found))
        with tracer.begin("manager.task", op="reveal", targets=2) as span, span.child("manager.queue"):
            pass
        span.end("ignored, since it has ended")
        tracer.close()
        (inner,), (outer,) = found.named("manager.queue"), found.named("manager.task")
        assert inner.trace == outer.trace
        assert (inner.parent, outer.parent) == (outer.span, "")
        assert outer.attributes == {"privyseal.op": "reveal", "privyseal.targets": 2}
        assert outer.begun <= inner.begun <= inner.ended <= outer.ended
        assert found.resources == [{"service.name": "privyseal-test", "service.version": "1.2"}]
        assert (tracer.exported, tracer.dropped) == (2, 0)


def test_a_trace_goes_on_in_the_next_program() -> None:
    with collector() as found:
        first, second = Otlp("privyseal-a", "1", connect(found)), Otlp("privyseal-b", "1", connect(found))
        span = first.begin("client.task", REMOTE)
        after = second.begin("manager.task", span.traceparent)
        after.end("ok")
        span.end("partial")
        first.close()
        second.close()
        (client,), (manager,) = found.named("client.task"), found.named("manager.task")
        assert (client.trace, client.parent) == (REMOTE[3:35], REMOTE[36:52])
        assert (manager.trace, manager.parent) == (client.trace, client.span)
        assert not client.failed
        assert not manager.failed


@pytest.mark.parametrize("traceparent", ["", "zq-canary", "00-0-0-0"])
def test_what_is_no_traceparent_begins_a_trace_of_its_own(traceparent: str) -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1", connect(found))
        tracer.begin("manager.task", traceparent).end()
        tracer.close()
        assert found.spans[0].parent == ""


def test_what_its_beginner_does_not_record_nobody_records() -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1", connect(found))
        span = tracer.begin("manager.task", REMOTE[:-1] + "0")
        parent = parse_traceparent(span.traceparent)
        assert parent is not None
        assert not parent.sampled
        span.child("manager.queue").end()
        span.end()
        tracer.close()
        assert (found.asked, tracer.exported, tracer.dropped) == (0, 0, 0)


def test_an_error_is_told_by_its_code_and_nothing_else() -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1", connect(found))
        with pytest.raises(Unavailable), tracer.begin("manager.task"):
            raise Unavailable("store_unavailable", "zq-canary detail", "zq-canary hint")
        with pytest.raises(RuntimeError), tracer.begin("manager.task"):
            raise RuntimeError("zq-canary")
        tracer.close()
        assert [one.attributes for one in found.spans] == [
            {"privyseal.code": "store_unavailable"},
            {"privyseal.code": "internal"},
        ]
        assert all(one.failed for one in found.spans)
        assert b"zq-canary" not in b"".join(found.bodies)


def test_a_span_of_no_known_name_is_none() -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1", connect(found))
        span = tracer.begin("account.token")
        assert span.traceparent == ""
        span.end()
        tracer.close()
        assert found.asked == 0


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    with collector() as found:
        found.held.clear()
        tracer = Otlp("privyseal-test", "1", connect(found), most=10)
        for _ in range(500):
            tracer.begin("manager.task").end()
        assert tracer.dropped == 490
        found.held.set()
        tracer.close()
        assert (len(found.spans), tracer.exported, tracer.dropped) == (10, 10, 490)


@pytest.mark.parametrize("status", [302, 400, 503])
def test_what_the_collector_does_not_take_is_counted_and_not_sent_again(status: int) -> None:
    with collector() as found:
        found.status = status
        tracer = Otlp("privyseal-test", "1", connect(found))
        for _ in range(3):
            tracer.begin("manager.task").end()
        tracer.close()
        assert (found.asked, tracer.exported, tracer.dropped) == (1, 0, 3)


def test_nobody_waits_long_for_a_collector_that_is_not_there() -> None:
    def refuse() -> http.client.HTTPConnection:
        asked.append(1)
        raise ConnectionRefusedError

    asked: list[int] = []
    tracer = Otlp("privyseal-test", "1", refuse, most=100)
    for _ in range(1000):
        tracer.begin("manager.task").end()
    tracer.close()
    assert tracer.dropped == 1000
    assert len(asked) < 20


def test_what_is_begun_after_the_end_is_lost() -> None:
    with collector() as found:
        tracer = Otlp("privyseal-test", "1", connect(found))
        tracer.close()
        tracer.begin("manager.task").end()
        assert found.asked == 0
