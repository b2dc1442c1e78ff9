"""Figures of tasks: a label takes known operations and a bounded number of codes, whatever is said."""

from __future__ import annotations

from shared.documents.task import OPERATIONS
from shared.metrics import MOST_CODES, OTHER, Figures, known


def test_an_operation_that_is_none_is_counted_as_other() -> None:
    assert [known(op) for op in (*OPERATIONS, "format", "")] == [*OPERATIONS, OTHER, OTHER]


def test_a_refusal_is_counted_by_its_code_and_no_more_codes_than_have_room() -> None:
    figures = Figures("privyseal_x_", "1.0")
    figures.rejected("exec", "grant_missing")
    figures.rejected("exec", "grant_missing")
    figures.rejected("exec", "Not a code")
    for at in range(MOST_CODES):
        figures.rejected("exec", f"code_{at}")
    text = figures.exposition().decode()
    assert 'privyseal_x_tasks_rejected_total{code="grant_missing",op="exec"} 2.0' in text
    assert 'privyseal_x_tasks_rejected_total{code="other",op="exec"} 2.0' in text
    assert text.count("privyseal_x_tasks_rejected_total{") == MOST_CODES + 1


def test_a_task_ends_in_one_of_three_ways() -> None:
    figures = Figures("privyseal_x_", "1.0")
    figures.ended("exec", "completed")
    figures.ended("reveal", "failed", "denied")
    figures.ended("store", "timed_out")
    figures.histogram("seconds", "how long", "op").labels("exec").observe(1)
    text = figures.exposition().decode()
    assert 'privyseal_x_tasks_completed_total{op="exec"} 1.0' in text
    assert 'privyseal_x_tasks_failed_total{code="denied",op="reveal"} 1.0' in text
    assert 'privyseal_x_tasks_timed_out_total{op="store"} 1.0' in text
    assert 'privyseal_x_seconds_count{op="exec"} 1.0' in text
