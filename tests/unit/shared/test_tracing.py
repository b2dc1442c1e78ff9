"""What a span may carry, and what a traceparent is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Denied
from shared.tracing import (
    ATTRIBUTES,
    LONGEST_TRACEPARENT,
    UNRECORDED,
    Parent,
    Untraced,
    account_hash,
    code_of_error,
    parse_traceparent,
    size_class,
    told,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_traceparent_is_read_as_w3c_writes_it() -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == Parent(TRACE, SPAN, True)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-00") == Parent(TRACE, SPAN, False)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-03") == Parent(TRACE, SPAN, True)


def test_a_newer_traceparent_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-comes-later") == Parent(TRACE, SPAN, True)
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01") == Parent(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zq-canary",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0\N{ARABIC-INDIC DIGIT ONE}",
        f"01-{TRACE}-{SPAN}-01-" + "x" * LONGEST_TRACEPARENT,
    ],
)
def test_what_is_no_traceparent_is_ignored(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text())
def test_no_text_at_all_fails_to_be_judged(text: str) -> None:
    parse_traceparent(text)


def test_an_attribute_that_is_not_listed_is_dropped() -> None:
    assert told({"op": "reveal", "secret": "account.token", "targets": 3}) == {
        "privyseal.op": "reveal",
        "privyseal.targets": 3,
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("account", account_hash("a"), "ACCOUNTID"),
        ("attempt", 1, -1),
        ("busy_ms", 0, True),
        ("code", "grant_missing", "Not A Code"),
        ("failures", 2, 2**53),
        ("kind", "AwsKms", "aws/kms.eu"),
        ("op", "exec", "format"),
        ("size_in", "64KiB", "12345"),
        ("size_out", "more", ""),
        ("targets", 7, "7"),
        ("task", "A" * 43, "account.token"),
    ],
)
def test_an_attribute_of_another_form_is_dropped(name: str, good: str | int, bad: str | int) -> None:
    assert told({name: good}) == {f"privyseal.{name}": good}
    assert told({name: bad}) == {}


def test_every_attribute_has_its_form() -> None:
    assert all(told({name: "zq-canary value"}) == {} for name in ATTRIBUTES)


def test_a_size_is_told_by_its_class_alone() -> None:
    assert [size_class(one) for one in (0, 1, 1024, 1025, 65_536, 2**20, 2**24, 2**24 + 1)] == [
        "0", "1KiB", "1KiB", "64KiB", "64KiB", "1MiB", "16MiB", "more",
    ]  # fmt: skip


def test_a_span_ends_with_the_code_of_what_went_wrong() -> None:
    assert code_of_error(None) == ""
    assert code_of_error(Denied("grant_missing", "no")) == "grant_missing"
    assert code_of_error(ValueError("zq-canary")) == "internal"
    assert code_of_error(KeyboardInterrupt()) == "ended"


def test_without_a_collector_a_span_is_nothing() -> None:
    tracer = Untraced()
    span = tracer.begin("client.task", f"00-{TRACE}-{SPAN}-01", op="reveal")
    assert span is UNRECORDED
    with span.child("manager.queue") as inner:
        inner.tell(targets=1)
    inner.end("ok")
    assert (span.traceparent, tracer.dropped, tracer.exported) == ("", 0, 0)
    tracer.close()
