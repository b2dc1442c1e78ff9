"""The manager's figures: their names, what counts where, and that labels can't grow without end."""

from __future__ import annotations

from pathlib import Path

from manager.metrics import ManagerMetrics, table
from manager.store import Store
from shared.metrics import MOST_CODES

FIGURES = {
    "batches": 3,
    "writes": 7,
    "failed_batches": 0,
    "waiting_writes": 1,
    "waiting_bytes": 2,
    "cache_bytes": 4,
    "cache_entries": 5,
    "cache_hits": 6,
    "cache_misses": 8,
}


def shown(metrics: ManagerMetrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_task_is_counted_by_how_it_ended() -> None:
    metrics = ManagerMetrics("1.2.3")
    for outcome in ("completed", "failed", "timed_out"):
        metrics.ended("reveal", outcome, code="stale_pin")
    metrics.rejected("store", "no_delegate")
    figures = shown(metrics)
    assert figures['privyseal_manager_tasks_completed_total{op="reveal"}'] == 1
    assert figures['privyseal_manager_tasks_failed_total{code="stale_pin",op="reveal"}'] == 1
    assert figures['privyseal_manager_tasks_timed_out_total{op="reveal"}'] == 1
    assert figures['privyseal_manager_tasks_rejected_total{code="no_delegate",op="store"}'] == 1


def test_labels_do_not_grow_without_end() -> None:
    metrics = ManagerMetrics("1.2.3")
    for number in range(10 * MOST_CODES):
        metrics.rejected(f"op{number}", f"code_{number}")
    metrics.rejected("reveal", "Not A Code")
    metrics.rejected("reveal", "code_0")
    series = [name for name in shown(metrics) if name.startswith("privyseal_manager_tasks_rejected_total")]
    assert len(series) == MOST_CODES + 3


def test_requests_and_dispatches_are_timed() -> None:
    metrics = ManagerMetrics("1.2.3")
    metrics.requests.labels("/v1/tasks", "200").observe(0.01)
    metrics.dispatch.labels("reveal").observe(0.01)
    metrics.answer("soonest_expiry_seconds", lambda: {"status": 60, "tls": -5})
    metrics.delegates.set(2)
    figures = shown(metrics)
    assert figures['privyseal_manager_request_seconds_count{route="/v1/tasks",status="200"}'] == 1
    assert figures['privyseal_manager_task_dispatch_seconds_bucket{le="0.01",op="reveal"}'] == 1
    assert figures['privyseal_manager_soonest_expiry_seconds{kind="status"}'] == 60
    assert figures['privyseal_manager_soonest_expiry_seconds{kind="tls"}'] == -5
    assert figures["privyseal_manager_delegates_connected"] == 2
    assert figures['privyseal_manager_build_info{version="1.2.3"}'] == 1


def test_the_stores_figures_are_asked_for_at_each_exposition() -> None:
    metrics, figures = ManagerMetrics("1"), dict(FIGURES)
    metrics.follow_store(lambda: figures)
    assert shown(metrics)["privyseal_manager_store_writes_total"] == 7
    figures["writes"] = 8
    assert shown(metrics)["privyseal_manager_store_writes_total"] == 8
    assert shown(metrics)["privyseal_manager_store_waiting_bytes"] == 2


async def test_every_figure_of_the_store_is_exposed(tmp_path: Path) -> None:
    metrics = ManagerMetrics("1")
    async with Store(f"sqlite:///{tmp_path}/manager.db") as store:
        metrics.follow_store(store.figures)
        figures = shown(metrics)
        for name in store.figures():
            assert {f"privyseal_manager_store_{name}", f"privyseal_manager_store_{name}_total"} & figures.keys()


def test_the_table_tells_every_metric_as_it_is_exposed() -> None:
    metrics = ManagerMetrics("1")
    metrics.follow_store(lambda: FIGURES)
    text = metrics.exposition().decode()
    told = {(f"# TYPE {each.name} {each.type}", f"# HELP {each.name} {each.meaning}") for each in table()}
    assert all(line in text.splitlines() for lines in told for line in lines)
    assert text.count("# TYPE ") == len(table())
    assert all(each.name.startswith("privyseal_manager_") for each in table())
