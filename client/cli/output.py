"""What is printed: tables and lines for people, JSON or YAML for programs, and errors on standard error.

Promises: data goes to standard output, everything else to standard error; a claim of the manager can't move the cursor.
Must not print a secret's value: only `reveal` writes one, and by itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from client.cli.rules import REFUSALS, rows_of
from shared.errors import PrivySealError

Format = Literal["table", "json", "yaml"]

DEEPEST = 20


class Output:
    """Prints in one format."""

    def __init__(self, format: Format, quiet: bool) -> None:
        self.format = format
        self.quiet = quiet

    def table(self, columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]], empty: str = "none") -> None:
        """`columns` are (title, key); programs get every key of each row."""
        if self.format != "table":
            self.data(list(rows))
            return
        if not rows:
            self.note(empty)
            return
        for line in lined(columns, rows):
            print(line)

    def record(self, fields: Mapping[str, Any]) -> None:
        """One thing: a line for each field."""
        if self.format != "table":
            self.data(dict(fields))
            return
        width = max((len(key) for key in fields), default=0)
        for key, value in fields.items():
            shown = value if isinstance(value, list | tuple) and value else [value]
            for at, part in enumerate(shown):
                print(f"{key.replace('_', ' ') if not at else '':<{width}}  {plain(part)}".rstrip())

    def done(self, text: str, **facts: Any) -> None:
        """Something was done: a sentence for people, the facts for programs."""
        if self.format != "table":
            self.data(facts)
        elif not self.quiet:
            print(_visible(text))

    def data(self, value: Any) -> None:
        """A value as JSON or YAML."""
        if self.format == "yaml":
            from client.yaml_texts import yaml_text

            print(yaml_text(value), end="")
        else:
            print(_escaped(json.dumps(value, ensure_ascii=False, indent=2)))

    def note(self, text: str) -> None:
        """A remark on standard error, unless quiet was asked for."""
        if not self.quiet:
            print(_visible(text), file=sys.stderr)

    def warning(self, text: str) -> None:
        """A warning on standard error, always."""
        print(f"warning: {_visible(text)}", file=sys.stderr)

    def error(self, why: PrivySealError) -> None:
        """An error on standard error: what is wrong, what to do, and who could not take a task and why."""
        if self.format == "json":
            print(_escaped(_problem(why)), file=sys.stderr)
            return
        print(f"error: {plain(why.detail)}", file=sys.stderr)
        for line in [*problems(why), *refusals(why)]:
            print(f"  {line}", file=sys.stderr)
        diff = why.facts.get("diff")
        if isinstance(diff, str):
            print(_visible(diff), end="", file=sys.stderr)
        if why.hint:
            print(f"hint: {plain(why.hint)}", file=sys.stderr)


def lined(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of a table, its head first."""
    cells = [[title for title, _ in columns], *([plain(row.get(key)) for _, key in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def problems(why: PrivySealError) -> list[str]:
    """A line for each further thing that is wrong, or that stands in the way."""
    told = [one for fact in ("problems", "secrets", "connectors") for one in _listed(why.facts.get(fact))]
    return [plain(one) for one in told]


def _listed(fact: object) -> list[object]:
    return fact if isinstance(fact, list) and all(isinstance(one, str) for one in fact) else []


def refusals(why: PrivySealError) -> list[str]:
    """Who could not take a task, by the manager's word: a table of the rules that said no, or a line for each delegate."""
    told = why.facts.get("delegates")
    failed = rows_of(told, failing=True)
    if failed:
        others = why.facts.get("others")
        more = others.items() if isinstance(others, dict) else ()
        return lined(REFUSALS, failed) + [f"and {plain(count)} more: {plain(code)}" for code, count in more]
    lines = []
    for one in told if isinstance(told, list) else []:
        if isinstance(one, dict):
            given = one.get("reasons")
            reasons = [
                plain(reason.get("detail") or reason.get("code"))
                for reason in (given if isinstance(given, list) else [])
                if isinstance(reason, dict)
            ]
            lines.append(f"{plain(one.get('name') or one.get('delegate'))}: {'; '.join(reasons) or 'no reason given'}")
    if isinstance(told, list) and not told:
        lines.append("no delegate is connected")
    return lines


def _problem(why: PrivySealError) -> str:
    try:
        return json.dumps(why.problem(), ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        # Facts are the manager's: an error must be printable whatever stands in them.
        return json.dumps(type(why)(why.code, why.detail, why.hint).problem(), ensure_ascii=False)


def _visible(text: str) -> str:
    """Lines without characters that move a terminal's cursor, or turn its text around."""
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)


def _escaped(text: str) -> str:
    """JSON with the characters that would move a terminal's cursor, or turn its text around, in their escaped form."""
    return "".join(
        one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1]  # what json.dumps left is inside of strings
        for one in text
    )


def plain(value: object, levels: int = DEEPEST) -> str:
    """Fit for one cell: one line, no control characters; what is nested deeper than anything of ours is left out."""
    if not levels:
        return "..."
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple() | set() | frozenset():
            return ", ".join(plain(one, levels - 1) for one in value) or "-"
        case dict():
            return ", ".join(f"{plain(key)}={plain(one, levels - 1)}" for key, one in value.items()) or "-"
    return "".join(one if one.isprintable() else "?" for one in str(value))


def age(seconds: int, now: int) -> str:
    """How long ago that was, in the largest unit that fits."""
    passed = max(0, now - seconds)
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if passed >= length:
            return f"{passed // length}{unit} ago"
    return f"{passed}s ago"


def left(until: int | None, now: int) -> str | None:
    """How long it is until then, in the largest unit that fits; None where that is over, or was never."""
    return age(now, until).removesuffix(" ago") if until is not None and until > now else None


def moment(seconds: object) -> str:
    """Seconds since 1970 as a date and time in UTC."""
    if not isinstance(seconds, int) or not 0 < seconds < 253_402_300_800:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
