"""The delegate's figures: their names, what counts where, and that labels can't grow without end."""

from __future__ import annotations

from delegate.metrics import DelegateMetrics, table
from shared.metrics import MOST_CODES


def shown(metrics: DelegateMetrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_task_is_counted_by_how_it_ended() -> None:
    metrics = DelegateMetrics("1.2.3")
    for outcome in ("completed", "failed", "timed_out"):
        metrics.started()
        assert shown(metrics)["privyseal_delegate_tasks_executing"] == 1
        metrics.finished("reveal", outcome, 0.2, code="stale_pin")
    metrics.rejected("store", "local_policy")
    figures = shown(metrics)
    assert figures["privyseal_delegate_tasks_executing"] == 0
    assert figures['privyseal_delegate_tasks_completed_total{op="reveal"}'] == 1
    assert figures['privyseal_delegate_tasks_failed_total{code="stale_pin",op="reveal"}'] == 1
    assert figures['privyseal_delegate_tasks_timed_out_total{op="reveal"}'] == 1
    assert figures['privyseal_delegate_tasks_rejected_total{code="local_policy",op="store"}'] == 1
    assert figures['privyseal_delegate_task_execution_seconds_count{op="reveal"}'] == 3


def test_an_unknown_operation_or_code_counts_as_other() -> None:
    metrics = DelegateMetrics("1.2.3")
    metrics.rejected("anything", "Not A Code")
    assert shown(metrics)['privyseal_delegate_tasks_rejected_total{code="other",op="other"}'] == 1


def test_labels_do_not_grow_without_end() -> None:
    metrics = DelegateMetrics("1.2.3")
    for number in range(10 * MOST_CODES):
        metrics.rejected("reveal", f"code_{number}")
        metrics.rejected("reveal", "code_0")
    series = [name for name in shown(metrics) if name.startswith("privyseal_delegate_tasks_rejected_total")]
    assert len(series) == MOST_CODES + 1


def test_gauges_show_what_they_are_set_to() -> None:
    metrics = DelegateMetrics("1.2.3")
    metrics.connected.set(1)
    metrics.keyring_generation.set(4)
    figures = shown(metrics)
    assert figures["privyseal_delegate_connected"] == 1
    assert figures["privyseal_delegate_keyring_generation"] == 4
    assert figures['privyseal_delegate_build_info{version="1.2.3"}'] == 1


def test_two_delegates_in_one_process_share_no_figure() -> None:
    one, other = DelegateMetrics("1"), DelegateMetrics("1")
    one.reconnected.inc()
    assert shown(other)["privyseal_delegate_reconnected_total"] == 0


def test_the_table_tells_every_metric_as_it_is_exposed() -> None:
    text = DelegateMetrics("1").exposition().decode()
    told = {(f"# TYPE {each.name} {each.type}", f"# HELP {each.name} {each.meaning}") for each in table()}
    assert all(line in text.splitlines() for lines in told for line in lines)
    assert text.count("# TYPE ") == len(table())
    assert all(each.name.startswith("privyseal_delegate_") for each in table())
