"""`make demo`: the main job with real processes, told line by line; ends with 0 when all of it held.

Promises: everything shown is what the programs really did: values are made anew in each run, the commands are those that
people type. Must not leave anything behind.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client.dev import DevEnvironment
from client.program import clean_environment, command
from shared.errors import PrivySealError, Tampered

# Run as a script, its own folder is on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from deploy.aws import IDENTITY, Aws
from deploy.canary import Canary, Search

BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


class DemoFailed(Exception):
    """Something didn't hold; the demonstration ends with 1."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A secret to store: its reference and value."""

    reference: str
    value: bytes
    is_file: bool = False


def say(text: str) -> None:
    """A line of the story."""
    print(text, flush=True)


def step(number: int, text: str) -> None:
    """A new part of it."""
    say(f"\n{BOLD}{number}. {text}{PLAIN}")


def require(holds: bool, what: str) -> None:
    """Raises DemoFailed unless it holds."""
    if not holds:
        raise DemoFailed(what)


def samples(marker: str) -> list[Sample]:
    """Values of several sizes; each contains the marker, so that one search looks for all of them."""

    def around(size: int) -> bytes:
        # Random printable text with the marker at its beginning, middle and end.
        filling = secrets.token_hex(size // 2).encode()
        raw = marker.encode()
        middle = size // 2
        return (raw + filling[len(raw) : middle] + raw + filling[middle + len(raw) : size - len(raw)] + raw)[:size]

    return [
        Sample("account.tiny", marker.encode()),
        Sample("account.config", around(4 * 1024)),
        Sample("account.bundle", around(1_000_000)),
        Sample("account.archive", around(10_000_000), is_file=True),
    ]


async def privyseal(environment: DevEnvironment, *arguments: str, given: bytes | None = None) -> tuple[int, bytes, str]:
    """Runs the command line as a process of its own; (exit status, output, errors)."""
    process = await asyncio.create_subprocess_exec(
        *command("privyseal", "client.cli"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**clean_environment(os.environ), "PRIVYSEAL_HOME": str(environment.home.root)},
    )
    out, errors = await process.communicate(given)
    return process.returncode or 0, out, errors.decode("utf-8", "replace").strip()


def shown(size: int) -> str:
    """A size for people."""
    for unit, least in (("MB", 1_000_000), ("KB", 1_000)):
        if size >= least:
            return f"{size / least:.4g} {unit}"
    return f"{size} bytes"


async def store_and_reveal(environment: DevEnvironment, wanted: list[Sample]) -> None:
    """Each sample through each zone, with the command line."""
    for one in wanted:
        path = environment.folder / "archive.bin"
        source = ["--file", str(path)] if one.is_file else ["--from-stdin"]
        if one.is_file:
            path.write_bytes(one.value)
        status, _, errors = await privyseal(
            environment, "secret", "set", one.reference, *source, given=None if one.is_file else one.value
        )
        require(status == 0, f"secret set failed: {errors}")
        path.unlink(missing_ok=True)
        took: list[str] = []
        for zone in environment.delegates:
            began = time.perf_counter()
            status, out, errors = await privyseal(environment, "reveal", one.reference, "--delegate", f"zone:{zone}")
            require(status == 0, f"reveal failed: {errors}")
            require(out == one.value, f"{one.reference} came back as another value through zone:{zone}")
            took.append(f"zone:{zone} {(time.perf_counter() - began) * 1000:.0f} ms")
        sha = hashlib.sha256(one.value).hexdigest()[:12]
        say(
            f"   {one.reference:<16} {shown(len(one.value)):>8}   stored, revealed through {', '.join(took)}   sha256 {sha}"
        )


def show_row(environment: DevEnvironment) -> None:
    """The newest stored row, as the manager's database holds it."""
    with closing(sqlite3.connect(environment.database)) as database:
        row = database.execute(
            "SELECT secret, n, keyring, digest, size, hex(substr(record, 1, 80)), length(record), record"
            " FROM versions ORDER BY size LIMIT 1"
        ).fetchone()
    secret, n, keyring, digest, size, record_hex, length, record = row
    say(f"   secret {secret}  n {n}  keyring {keyring}  size {size}")
    say(f"   store task {digest}")
    say(f"   record {record_hex.lower()}... ({length} bytes)")
    say(
        f"   {DIM}= version, key name {record[5 : 5 + record[4]].decode()!r}, wrapped key, salt, commitment, ciphertext, MAC{PLAIN}"
    )


def search(environment: DevEnvironment, canary: Canary) -> tuple[Search, Search]:
    """Everything that the manager has: files (database, journal, log) and, on Linux, memory."""
    manager = environment.manager
    files = canary.in_files([manager.log, *sorted(environment.folder.glob("manager.db*"))])
    memory = canary.in_memory(manager.pid) if sys.platform == "linux" else Search((), 0)
    return files, memory


def prove_absence(environment: DevEnvironment, marker: str, control: str) -> None:
    """The marker is nowhere in the manager, and the control, which it has to know, is found by the same search."""
    files, memory = search(environment, Canary(marker.encode()))
    for sighting in (*files.sightings, *memory.sightings):
        say(f"   FOUND as {sighting.form} at {sighting.offset} in {sighting.place}")
    require(not files.sightings and not memory.sightings, "a value was found at the manager")
    say(
        f"   values: nowhere in {shown(files.searched_bytes)} of files, nor in {shown(memory.searched_bytes)} of memory"
    )
    files, memory = search(environment, Canary(control.encode()))
    seen = sorted({one.form for one in (*files.sightings, *memory.sightings)})
    require(bool(files.sightings), "the search found nothing in the files that it had to find")
    require(bool(memory.sightings) or sys.platform != "linux", "the search found nothing in memory that it had to find")
    say(
        f"   control (a secret's public name): found {len(files.sightings)} times in files and {len(memory.sightings)} times"
        f" in memory, as {', '.join(seen)}"
    )
    if sys.platform != "linux":
        say("   (memory is searched on Linux only)")


def swap_records(environment: DevEnvironment, first: str, second: str) -> None:
    """What a thief of the database could do: exchange two stored records."""
    with closing(sqlite3.connect(environment.database)) as database:
        records = dict(database.execute("SELECT secret, record FROM versions WHERE secret IN (?, ?)", (first, second)))
        require(len(records) == 2, "the rows to swap are not there")
        for secret, other in ((first, second), (second, first)):
            database.execute("UPDATE versions SET record = ? WHERE secret = ?", (records[other], secret))
        database.commit()


async def refuse_a_swap(environment: DevEnvironment, one: Sample, other: Sample) -> None:
    """Two records swapped while the manager is down: the reveal is refused; swapped back, it works again."""
    async with environment.client() as client:
        ids = [(await client.secrets.find(sample.reference)).secret.document.id for sample in (one, other)]
    await environment.manager.stop()
    swap_records(environment, *ids)
    await environment.manager.start()
    await environment.ready()
    status, out, errors = await privyseal(environment, "reveal", one.reference)
    require(status == Tampered.exit_status and not out, f"the swapped record was not refused ({status}): {errors}")
    for line in errors.splitlines():
        say(f"   {DIM}{line}{PLAIN}")
    say(f"   refused, exit status {status} (Tampered); nothing was printed")
    await environment.manager.stop()
    swap_records(environment, *ids)
    await environment.manager.start()
    await environment.ready()
    status, out, errors = await privyseal(environment, "reveal", one.reference)
    require(status == 0 and out == one.value, f"after swapping back the reveal failed: {errors}")
    say("   swapped back: revealed again")


async def refuse_a_stranger(environment: DevEnvironment, one: Sample) -> None:
    """A selector that nobody carries: every delegate is named with its reason."""
    status, _, errors = await privyseal(environment, "reveal", one.reference, "--delegate", "zone:nowhere")
    require(status == 7, f"a selector that nobody carries was not refused ({status}): {errors}")
    for line in errors.splitlines():
        say(f"   {DIM}{line}{PLAIN}")


async def use_aws(environment: DevEnvironment, aws: Aws) -> None:
    """A connector of each credential type, a secret at each, revealed; then one is used without leaving its delegate."""

    async def run(*arguments: str, given: bytes | None = None) -> bytes:
        status, out, errors = await privyseal(environment, *arguments, given=given)
        require(status == 0, f"privyseal {' '.join(arguments[:2])} failed: {errors}")
        return out

    await run("secret", "set", "account.aws_access_key", "--from-stdin", given=aws.access_key.encode())
    await run("secret", "set", "account.aws_secret_key", "--from-stdin", given=aws.secret_key.encode())
    await run("oidc", "enable", "--issuer", "https://oidc.example.test")
    connectors = aws.connectors()
    await run("apply", "-f", "-", given="\n---\n".join(connectors.values()).encode())
    values = {name: secrets.token_urlsafe(24).encode() for name in connectors}
    for name, value in values.items():
        began = time.perf_counter()
        await run("connector", "test", name)
        await run("secret", "set", f"account.in_{name}", "--from-stdin", "--connector", name, given=value)
        out = await run("reveal", f"account.in_{name}")
        require(out == value, f"the secret at {name} came back as another value")
        milliseconds = (time.perf_counter() - began) * 1000
        say(f"   {name:<12} tested, a secret stored and revealed, three commands in {milliseconds:.0f} ms")
    script = 'printf "as it is: %s, in base64: " "$TOKEN"; printf %s "$TOKEN" | base64; exit 3'
    status, out, errors = await privyseal(
        environment, "exec", "--secret", "TOKEN=account.in_kms_sts", "--", "sh", "-c", script
    )
    value = values["kms_sts"]
    require(status == 3, f"exec ended with {status}: {errors}")
    leaked = value in out or base64.b64encode(value) in out
    require(b"as it is" in out and not leaked, "the command's output wasn't masked")
    say(f"   exec on zone:b: {out.decode().strip()}   exit status {status}, passed on")


async def demonstrate(environment: DevEnvironment, aws: Aws) -> None:
    """The story, step by step."""
    marker = f"{secrets.token_urlsafe(18)}/+=?&{secrets.token_urlsafe(12)}"
    control = f"control_{secrets.token_hex(12)}"
    wanted = samples(marker)
    step(1, "A manager and two delegates are running; an account is made")
    say(f"   manager   {environment.url}   pid {environment.manager.pid}   holds no key")
    for name, delegate in environment.delegates.items():
        say(f"   delegate  {name}   pid {delegate.pid}   selector zone:{name}   holds the keyring")
    say(f"   account   {environment.account}")
    step(2, "Secrets are sealed here, stored there, and revealed through each zone")
    await store_and_reveal(environment, wanted)
    status, _, errors = await privyseal(
        environment,
        "secret",
        "set",
        f"account.{control}",
        "--from-stdin",
        "--description",
        control,
        given=marker.encode(),
    )
    require(status == 0, f"secret set failed: {errors}")
    step(3, "What the manager stores of the smallest one")
    show_row(environment)
    step(4, "The values are nowhere in the manager: raw, base64, hex, URL-encoded")
    prove_absence(environment, marker, control)
    step(5, "Somebody swaps two records in the database")
    await refuse_a_swap(environment, wanted[0], wanted[1])
    step(6, "Nobody carries the selector that is asked for")
    await refuse_a_stranger(environment, wanted[0])
    step(7, "AWS KMS (moto on this machine), reached with each of the four credential types; a command uses a secret")
    await use_aws(environment, aws)
    step(8, "The audit is recomputed")
    status, out, errors = await privyseal(environment, "audit", "verify")
    require(status == 0, f"the audit doesn't hold: {errors}")
    say(f"   {out.decode().strip()}")


async def main() -> int:
    """The exit status."""
    began = time.perf_counter()
    say("Privy Seal: the manager moves what it cannot read and cannot order.")
    try:
        with tempfile.TemporaryDirectory(prefix="privyseal-demo-") as folder:
            policy = Path(folder) / "policy.toml"
            policy.write_text("exec = true\n")
            async with Aws(Path(folder)) as aws:
                options = ["--aws-endpoints", aws.url, "--policy-file", str(policy)]
                async with DevEnvironment(delegate_options={"*": options}, delegate_environ=IDENTITY) as environment:
                    await demonstrate(environment, aws)
    except (DemoFailed, PrivySealError) as why:
        detail = why.detail if isinstance(why, PrivySealError) else str(why)
        print(f"\nThe demonstration failed: {detail}", file=sys.stderr)
        return 1
    say(f"\n{BOLD}All of it held{PLAIN} ({time.perf_counter() - began:.1f} s). Next: make run, or docs/ and README.md.")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
