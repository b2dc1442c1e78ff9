"""The doctor: what could go wrong, looked at before it does; each finding with its remedy.

Promises: changes nothing but what is remembered of the audit; one failing check doesn't hide the others. Must not print a
key or a value.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from client.home import Home
from client.sdk import Client
from shared.documents.grant import DAY
from shared.documents.status import WARNING_SECONDS
from shared.errors import Denied, NotReady, PrivySealError
from shared.trust.authority import SKEW_SECONDS
from shared.trust.group import check_group

Level = Literal["ok", "warn", "fail"]
GRANT_WARNING_SECONDS = 14 * DAY


class Finding(NamedTuple):
    """One line: what was looked at, how it is, and what to do about it."""

    level: Level
    subject: str
    detail: str
    remedy: str = ""


def failure(subject: str, why: PrivySealError) -> Finding:
    """A check that ended in an error."""
    return Finding("fail", subject, why.detail, why.hint)


def check_files(home: Home) -> list[Finding]:
    """Whether anybody else may read the client's folder."""
    exposed: list[str] = []
    for folder, _, files in os.walk(home.root):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 (as os.walk gives them)
            mode = os.lstat(path).st_mode
            public_half = path.endswith((".pub", ".lock"))
            if not stat.S_ISLNK(mode) and mode & 0o077 and not public_half:
                exposed.append(path)
    if exposed:
        named = ", ".join(exposed[:3]) + (f" and {len(exposed) - 3} more" if len(exposed) > 3 else "")
        return [Finding("fail", "files", f"others may read {named}", f"chmod -R go= {home.root}")]
    return [Finding("ok", "files", f"{home.root} is yours alone")]


async def examine(client: Client) -> list[Finding]:
    """Everything that needs the manager. The first failure to reach it ends the examination."""
    findings: list[Finding] = []
    try:
        await client.account.sync(force=True)
    except PrivySealError as why:
        return [failure("trust", why)]
    document = client.account.document.document
    findings.append(Finding("ok", "trust", f"account {document.name}, revision {document.rev}, verified from its id"))
    if client.account.refused:
        count = len(client.account.refused)
        findings.append(
            Finding(
                "warn",
                "trust",
                f"{count} grants or groups stand on nobody and were left out",
                "privyseal grant list --all",
            )
        )
    checks: list[tuple[str, Callable[[Client], Awaitable[list[Finding]]]]] = [
        ("clock", _clock),
        ("status", _status),
        ("grants", _grants),
        ("keyrings", _keyrings),
        ("groups", _groups),
        ("delegates", _delegates),
        ("audit", _audit),
    ]
    for subject, check in checks:
        try:
            findings += await check(client)
        except PrivySealError as why:
            findings.append(failure(subject, why))
    return findings


async def _clock(client: Client) -> list[Finding]:
    skew = client.account.skew_seconds
    detail = f"the manager's clock is {skew:+d} seconds from this one"
    if abs(skew) > SKEW_SECONDS:
        return [
            Finding("fail", "clock", detail, "set both clocks right (NTP): signatures are refused beyond two minutes")
        ]
    level: Level = "warn" if abs(skew) > SKEW_SECONDS // 4 else "ok"
    return [Finding(level, "clock", detail, "" if level == "ok" else "set both clocks right (NTP)")]


async def _status(client: Client) -> list[Finding]:
    left = client.publisher.status().document.exp - client.account.clock()
    if left <= 0:
        return [
            Finding("fail", "status", "the status has expired: delegates refuse everything", "privyseal status renew")
        ]
    level: Level = "warn" if left < WARNING_SECONDS else "ok"
    remedy = "privyseal status renew" if level == "warn" else ""
    return [Finding(level, "status", f"the status expires in {left // DAY} days", remedy)]


async def _grants(client: Client) -> list[Finding]:
    account, now = client.account, client.account.clock()
    found: list[Finding] = []
    mine = [one for one in await client.grants.all() if one.grant.document.principal.key == account.identity.key]
    live = [one for one in mine if one.state == "live"]
    if account.is_administrator:
        found.append(Finding("ok", "grants", "you administer the account"))
    elif not live:
        states = ", ".join(sorted({one.state for one in mine})) or "none was given"
        found.append(
            Finding("fail", "grants", f"you hold no live grant ({states})", "ask for one: privyseal identity show")
        )
    else:
        last = max(one.grant.document.exp for one in live)
        soon = last - now < GRANT_WARNING_SECONDS
        detail = f"you hold {len(live)} live grants, the last until {(last - now) // DAY} days from now"
        found.append(
            Finding(
                "warn" if soon else "ok", "grants", detail, "have it renewed: privyseal grant renew" if soon else ""
            )
        )
    if account.is_administrator:
        soon_names = sorted(
            one.grant.document.principal.name
            for one in await client.grants.all()
            if one.state == "live" and one.grant.document.exp - now < GRANT_WARNING_SECONDS
        )
        if soon_names:
            named = ", ".join(soon_names[:5])
            found.append(Finding("warn", "grants", f"grants end within two weeks: {named}", "privyseal grant renew ID"))
    return found


async def _keyrings(client: Client) -> list[Finding]:
    floors = client.publisher.status().document.keyrings
    found = []
    for one in await client.keyrings.all():
        document, floor = one.document, floors.get(one.document.id, 1)
        name = f"keyring {document.id}"
        if document.gen < floor:
            detail = f"its generation {document.gen} is below the floor {floor}: nothing can be sealed to it"
            found.append(Finding("fail", name, detail, f"privyseal keyring rotate {document.id} with the newest file"))
        else:
            found.append(Finding("ok", name, f"generation {document.gen}, floor {floor}"))
    return found


async def _groups(client: Client) -> list[Finding]:
    status, known = client.publisher.status().document, client.account.book.groups
    found = []
    for name in sorted({*status.groups, *known}):
        try:
            check_group(name, known, status)
        except NotReady:
            detail = "its newest document isn't shown, or stands on no administrator: delegates of it take no tasks"
            found.append(Finding("fail", f"group {name}", detail, f"privyseal group set {name} --tag TAG"))
        else:
            tags = ", ".join(known[name].document.tags) if name in known else ""
            found.append(Finding("ok", f"group {name}", f"gives its delegates: {tags or 'its name alone'}"))
    return found


async def _delegates(client: Client) -> list[Finding]:
    delegates = [one for one in await client.views.delegates() if one.get("state") == "connected"]
    found = []
    for keyring in await client.keyrings.all():
        document = keyring.document
        mine = [one for one in delegates if one.get("keyring") == document.id]
        certified = [one for one in mine if one["certified"] == "yes"]
        behind = [str(one.get("name")) for one in certified if not _holds(one.get("generations"), document.gen)]
        subject = f"delegates of {document.id}"
        if not certified:
            found.append(
                Finding("fail", subject, "none is connected", "start privyseal-delegate with this keyring's file")
            )
        elif behind:
            names = ", ".join(sorted(behind))
            level: Level = "fail" if len(behind) == len(certified) else "warn"
            detail = f"without generation {document.gen}: {names}"
            found.append(Finding(level, subject, detail, "give them the newest keyring file and restart them"))
        else:
            found.append(Finding("ok", subject, f"{len(certified)} connected"))
        for one in mine:
            seconds = one.get("clock")
            if isinstance(seconds, int) and abs(seconds) > SKEW_SECONDS:
                detail = f"the clock of {one.get('name')} is {seconds:+d} seconds from the manager's"
                remedy = (
                    "set its machine's clock (NTP), or the manager's where all differ: it is the last choice until then"
                )
                found.append(Finding("warn", subject, detail, remedy))
            if one["certified"] != "yes":
                detail = f"{one.get('name')} isn't certified by the keyring ({one['certified']})"
                found.append(Finding("warn", subject, detail, "don't trust it; answers of it are refused"))
    return found


def _holds(generations: object, number: int) -> bool:
    return isinstance(generations, list) and number in generations


async def _audit(client: Client) -> list[Finding]:
    try:
        verdict = await client.audit.verify()
    except Denied:
        return [Finding("ok", "audit", "not looked at: it is for who administers the account")]
    return [Finding("ok", "audit", f"{verdict.entries} entries hold together; {verdict.before.seq} were seen before")]
