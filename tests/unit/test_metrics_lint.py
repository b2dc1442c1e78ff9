"""What Prometheus' own linter would say of both programs' metrics, and that nothing said to them makes them grow without end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

import delegate.metrics
import manager.metrics
from delegate.metrics import MOST_KINDS, Call, DelegateMetrics
from manager.metrics import ManagerMetrics
from shared.documents.task import OPERATIONS
from shared.metrics import MOST_CODES, SECONDS, Described, Figures

TABLES = {"manager": manager.metrics.table(), "delegate": delegate.metrics.table()}
NAMES = re.compile(r"privyseal_(manager|delegate)(_[a-z0-9]+)+")
OTHER_UNITS = re.compile(r"_(ms|milliseconds|minutes|hours|days|kilobytes|megabytes|kb|mb)(_|$)")
FORBIDDEN_LABELS = {
    "le",
    "quantile",
    "job",
    "instance",
    "account",
    "secret",
    "host",
    "delegate",
    "principal",
    "scope",
    "keyring",
}


def used() -> Iterator[Figures]:
    """Both programs' figures, each of them said something."""
    managers, delegates = ManagerMetrics("1.0"), DelegateMetrics("1.0")
    for figures in (managers, delegates):
        figures.rejected("reveal", "denied")
        for outcome in ("completed", "failed", "timed_out"):
            figures.ended("reveal", outcome, "denied")
        figures.answer("soonest_expiry_seconds", lambda: {"status": 5.0})
        figures.answer("spans_dropped_total", lambda: 3)
    managers.strangers.labels("clock_skew").inc()
    managers.redispatched.labels("lost").inc()
    managers.dispatch.labels("reveal").observe(0.1)
    managers.tasks.labels("reveal").observe(0.1)
    managers.requests.labels("/v1", "200").observe(0.1)
    managers.over_limit.labels("cpu").set(1)
    managers.probes.labels("scarce").inc()
    managers.runs_ended.labels("done").inc()
    managers.runs_refused.labels("pin_stale").inc()
    delegates.started()
    delegates.finished("reveal", "completed", 0.1)
    delegates.called("Local", "fetch", 0.1, "tampered")
    delegates.load.labels("cpu").set(1)
    delegates.over_limit.labels("cpu").set(1)
    return iter((managers, delegates))


def families(figures: Figures) -> list[Metric]:
    return list(text_string_to_metric_families(figures.exposition().decode()))


@pytest.mark.parametrize("one", [*TABLES["manager"], *TABLES["delegate"]], ids=lambda one: one.name)
def test_a_metric_is_named_as_prometheus_wants_it(one: Described) -> None:
    assert NAMES.fullmatch(one.name)
    assert one.name.endswith("_total") == (one.type == "counter")
    assert not any(word in one.name.split("_") for word in ("gauge", "counter", "histogram", "metric"))
    assert not OTHER_UNITS.search(one.name), "seconds and bytes alone"
    assert one.type != "histogram" or one.name.endswith("_seconds")
    assert not any(one.name.endswith(suffix) for suffix in ("_count", "_sum", "_bucket"))
    assert one.meaning and one.meaning == one.meaning.strip(" .") and "|" not in one.meaning + one.alarm
    assert not FORBIDDEN_LABELS & set(one.labels)
    assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in one.labels)
    assert not any(f"_{label}_" in one.name for label in one.labels), "the label says it"


def test_no_name_is_used_twice() -> None:
    names = [one.name for table in TABLES.values() for one in table]
    assert len(names) == len(set(names))


def test_prometheus_own_parser_reads_everything_with_exactly_the_labels_that_are_described() -> None:
    for figures in used():
        described = {one.name: one for one in figures.described}
        seen = set()
        for family in families(figures):
            one = described[family.name + ("_total" if family.type == "counter" else "")]
            assert (family.type, family.documentation) == (one.type, one.meaning)
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(one.labels), sample
                seen.add(one.name)
        silent = {name for name in described if name not in seen}
        # Only those that ask somebody who isn't there.
        assert {name.removeprefix(figures.prefix) for name in silent} <= set(figures._asked)


def test_a_flood_of_distinct_words_makes_no_more_series_than_there_is_room_for() -> None:
    managers, delegates = ManagerMetrics("1"), DelegateMetrics("1")
    for at in range(2_000):
        for figures in (managers, delegates):
            figures.rejected(f"op {at}", f"code_{at}")
            figures.ended(f"op {at}", "failed", f"other_{at}")
            figures.ended(f"op {at}", "completed")
        managers.strangers.labels(managers.bounded(f"why_{at}")).inc()
        delegates.started()
        delegates.finished(f"op {at}", "failed", 0.1, f"more_{at}")
        delegates.called(f"Kind{at}", "fetch", 0.1, "unavailable")
    ops, codes = len(OPERATIONS) + 1, MOST_CODES + 1
    for figures in (managers, delegates):
        for family in families(figures):
            most = {"histogram": (len(SECONDS) + 3) * ops}.get(family.type, ops * codes)
            if family.name.endswith(("provider_seconds", "provider_errors")):
                most = (len(SECONDS) + 3) * (MOST_KINDS + 1) * len(get_args(Call))
            assert len(family.samples) <= most, family.name


def test_a_figure_that_somebody_else_keeps_is_asked_for_at_each_reading() -> None:
    figures, held = Figures("privyseal_x_", "1"), [1.0]
    figures.asked("things_kept", "gauge", "things")
    assert "\nprivyseal_x_things_kept " not in figures.exposition().decode()
    figures.answer("things_kept", lambda: held[0])
    assert "privyseal_x_things_kept 1.0" in figures.exposition().decode()
    held[0] = 2
    assert "privyseal_x_things_kept 2.0" in figures.exposition().decode()
    figures.answer("soonest_expiry_seconds", lambda: {"status": -1.0, "grant": 7.0})
    text = figures.exposition().decode()
    assert 'privyseal_x_soonest_expiry_seconds{kind="status"} -1.0' in text
    assert 'privyseal_x_soonest_expiry_seconds{kind="grant"} 7.0' in text
