"""What each kind costs a delegate in memory: resident bytes of one that has used that kind alone, minus those of an idle one.

Real programs: a manager and a delegate for each kind, with a connector at that kind's server and its credentials in the
built-in secret manager; the delegate has stored its credentials and one value, and revealed the value once. Idle: a delegate
that did nothing. `Local` shows what any use costs, the code of tasks and ciphers; the others have that in them too.
All are read together, when they have settled.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from client import Client
from client.manifest import parse
from tests.bench.child import Unmeasured
from tests.bench.providers import PROVIDERS, VALUE
from tests.bench.report import Row, beside, info
from tests.bench.rig import Rig
from tests.contract.subjects import EVERY, Servers, Subject
from tests.fakes.world import World

MEGABYTE = 1_000_000


async def memory(servers: Servers) -> list[Row]:
    """A row for each kind, beside the idle delegate."""
    made = {PROVIDERS[name].kind: EVERY[name](World(), servers) for name in PROVIDERS}
    # Scripts are processes of their own: they add nothing to the delegate's memory.
    subjects = {kind: subject for kind, subject in made.items() if subject.template is None}
    async with Rig() as rig:
        starting = [rig.start_delegate()]
        starting += [rig.start_delegate(_environ(rig.folder, kind, subject)) for kind, subject in subjects.items()]
        idle, *delegates = [child for child, _ in await asyncio.gather(*starting)]
        administrator, reader = rig.administrator(), rig.reader()
        for kind, subject in subjects.items():
            await _use(administrator, reader, kind, subject)
        least, *used = await asyncio.gather(*(child.settled_bytes() for child in (idle, *delegates)))
    return [
        info("delegate: resident memory, idle, before it used any kind", least / MEGABYTE, "MB"),
        *(
            beside(
                f"{kind}: added to it by the first use, beside the idle delegate",
                (size - least) / MEGABYTE,
                "MB",
                least / MEGABYTE,
            )
            for kind, size in zip(subjects, used, strict=True)
        ),
    ]


def _environ(folder: Path, kind: str, subject: Subject) -> dict[str, str]:
    told = {"PRIVYSEAL_DELEGATE_TAGS": kind.lower(), "AWS_EC2_METADATA_DISABLED": "true"}
    if subject.files or subject.rules:
        policy = folder / f"policy-{kind.lower()}.toml"
        policy.write_text(subject.policy)
        told["PRIVYSEAL_DELEGATE_POLICY_FILE"] = str(policy)
    given = {"AWS": subject.endpoints, "GCP": subject.gcp_endpoints, "AZURE": subject.azure_endpoints}
    for provider, endpoints in given.items():
        if endpoints.urls:
            text = ",".join(url if name == "*" else f"{name}={url}" for name, url in endpoints.urls.items())
            told[f"PRIVYSEAL_DELEGATE_{provider}_ENDPOINTS"] = text
    return told


async def _use(administrator: Client, reader: Client, kind: str, subject: Subject) -> None:
    tag = kind.lower()
    spec = msgspec.json.encode(subject.connector.spec)
    for name, value in subject.credentials.items():
        # Several kinds have one of the same name.
        mine = f"{name}_{tag}"
        spec = spec.replace(msgspec.json.encode(name), msgspec.json.encode(mine))
        await administrator.store(mine, value, selectors=[tag])
    reference, connector = f"account.value_{tag}", "account.local"
    if kind != "Local":
        told = msgspec.json.decode(spec)
        if "delegateSelectors" in told:
            told["delegateSelectors"] = [tag]
        body = {"connector": {"name": tag, "identifier": tag, "type": kind, "spec": told}}
        plan = await administrator.connectors.plan(parse(msgspec.json.encode(body), "bench"))
        await administrator.connectors.apply(plan)
        connector = f"account.{tag}"
    value = VALUE.encode()
    place = subject.lay(value) if subject.lay else ""
    await administrator.store(reference, b"" if place else value, connector=connector, selectors=[tag], refers_to=place)
    found = await reader.reveal(reference, selectors=[tag])
    if found.reveal() != VALUE.encode():
        raise Unmeasured("another value came back")
