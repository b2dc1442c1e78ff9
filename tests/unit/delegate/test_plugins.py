"""Kinds of other packages: real metadata and real modules, every way in which one can fail, and what is told then."""

from __future__ import annotations

import asyncio
import importlib
import io
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from delegate.main import thread_crashed
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_bytes
from delegate.secret_managers.local import Local
from delegate.secret_managers.plugins import GROUP, MOST_AT_ONCE, Guarded
from delegate.secret_managers.registry import BUILT_IN, Registry, installed_kinds
from delegate.zone import Zone
from shared import logs
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, NotFound, NotReady, PrivySealError, Unavailable
from tests.fakes.world import World

VALUE = b"hunter2"

GOOD = """
from delegate.secret_managers.local import KeyringKeys
from delegate.secret_managers.enveloped import Enveloped

class Shelf(Enveloped):
    def __init__(self, connector, surroundings, secrets):
        super().__init__(KeyringKeys(surroundings.zone, surroundings.randomness), surroundings.zone, surroundings.randomness)
"""


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World()

    def install(self, package: str, code: str, *kinds: str) -> None:
        """As an installer leaves a package: its module and its metadata. Each of `kinds` is `NAME = OBJECT`."""
        (self.folder / f"{package}.py").write_text(code)
        info = self.folder / f"{package}-3.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 3.1\n")
        told = "".join(f"{name} = {package}:{what}\n" for name, what in (one.split("=") for one in kinds))
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{told}")
        # A folder that was looked at in the same tick of the clock counts as unchanged.
        importlib.invalidate_caches()

    def registry(self, policy: str = 'kinds = ["Local", "Shelf"]', load_seconds: float = 15.0) -> Registry:
        return Registry(installed_kinds(), self.surroundings(policy), load_seconds)

    def surroundings(self, policy: str = "") -> Surroundings:
        zone = Zone(self.world.keyring, self.world.book())
        return Surroundings(zone, LocalPolicy.parse(policy, BUILT_IN), secrets.token_bytes)

    async def manager(self, kind: str = "Shelf", registry: Registry | None = None) -> SecretManager:
        connector = self.world.sign(self.world.connector_document(kind.lower(), type=kind), self.world.administrator)
        async with (registry or self.registry()).lend(connector) as manager:
            return manager

    def version(self) -> SecretVersion:
        secret = self.world.secret("password")
        return SecretVersion(
            secret.document, self.world.connector.document, 1, self.world.place(secret, 1, digest("a task"))
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a delegate would have logged."""
    written = io.StringIO()
    logs.configure("test", True, "debug", strict=True, stream=written)
    yield written
    logs.configure("test", True, "debug", strict=True, stream=io.StringIO())


async def told(site: Site, lines: io.StringIO, kind: str = "Shelf", registry: Registry | None = None) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await site.manager(kind, registry)
    why = caught.value
    assert VALUE.decode() not in why.detail + why.hint + repr(why.facts) + lines.getvalue()
    assert why.__cause__ is None and (why.__context__ is None or why.__suppress_context__)
    return why


async def test_a_package_that_the_policy_names_brings_a_kind(site: Site) -> None:
    site.install("plug_good", GOOD, "Shelf=Shelf")
    registry, secret = site.registry(), site.version()
    assert registry.kinds == ("Local", "Shelf")
    assert "plug_good" not in sys.modules
    manager = await site.manager(registry=registry)
    stored = await manager.store(secret, Plaintext(VALUE))
    assert (await manager.fetch(secret, stored)).reveal() == VALUE
    await manager.check()
    await manager.delete(secret, stored)
    await registry.close()


@pytest.mark.parametrize("policy", ["", 'kinds = ["*"]', 'kinds = ["Local"]', "kinds = []"])
async def test_a_package_that_the_policy_does_not_name_is_never_imported(
    site: Site, lines: io.StringIO, policy: str
) -> None:
    site.install("plug_good", GOOD, "Shelf=Shelf")
    registry = site.registry(policy)
    assert "Shelf" not in registry.kinds
    why = await told(site, lines, registry=registry)
    assert isinstance(why, Denied)
    assert (why.code, why.facts) == ("local_policy", {"rule": "kinds"})
    assert "by its name" in why.hint
    assert "plug_good" not in sys.modules


async def test_a_package_that_claims_the_name_of_a_built_in_kind_is_never_imported(site: Site) -> None:
    site.install("plug_thief", GOOD, *(f"{kind}=Shelf" for kind in BUILT_IN))
    assert isinstance(await site.manager("Local"), Local)
    assert "plug_thief" not in sys.modules


async def test_a_kind_that_two_packages_claim_is_nobodys(site: Site, lines: io.StringIO) -> None:
    for package in ("plug_one", "plug_two"):
        site.install(package, GOOD, "Shelf=Shelf")
    why = await told(site, lines)
    assert (type(why), why.code) == (NotReady, "kind_ambiguous")
    assert "plug_one 3.1 and plug_two 3.1" in why.detail
    assert not {"plug_one", "plug_two"} & set(sys.modules)


@pytest.mark.parametrize(
    "code",
    [
        "import nowhere_at_all",
        "raise RuntimeError('hunter2')",
        "raise SystemExit('hunter2')",
        "raise KeyboardInterrupt('hunter2')",
        "raise StopIteration('hunter2')",
        "def broken(:",
        "Other = 1",
    ],
)
async def test_a_package_whose_import_fails_is_told_and_may_be_mended_without_a_restart(
    site: Site, lines: io.StringIO, code: str
) -> None:
    site.install("plug_broken", code, "Shelf=Shelf")
    registry = site.registry()
    for _ in range(2):
        why = await told(site, lines, registry=registry)
        assert (type(why), why.code) == (NotReady, "kind_unloadable")
    assert "kind.unloadable" in lines.getvalue()
    assert await site.manager("Local", registry)
    sys.modules.pop("plug_broken", None)
    # Of another size, so that no compiled file of the same second passes for it.
    (site.folder / "plug_broken.py").write_text(GOOD + "\n# mended\n")
    assert await site.manager(registry=registry)


HANGING = """
import sys
sys.modules["plug_gate"].wait()
""" + GOOD  # fmt: skip


async def test_an_import_that_does_not_end_holds_up_nothing_but_its_kind(site: Site, lines: io.StringIO) -> None:
    gate = threading.Event()
    sys.modules["plug_gate"] = gate  # type: ignore[assignment]
    site.install("plug_slow", HANGING, "Shelf=Shelf")
    registry = site.registry(load_seconds=0.05)
    try:
        for _ in range(20):
            why = await told(site, lines, registry=registry)
            assert (why.code, "too long" in why.detail) == ("kind_unloadable", True)
        # One thread, however often it is asked for, and none of those that everything else runs in.
        assert len([one for one in threading.enumerate() if one.name == "kind-Shelf"]) == 1
        assert all(one.daemon for one in threading.enumerate() if one.name == "kind-Shelf")
        assert await site.manager("Local", registry)
    finally:
        gate.set()
    async with asyncio.timeout(15):
        while True:
            try:
                assert await site.manager(registry=registry)
                break
            except NotReady:
                await asyncio.sleep(0.01)


async def test_two_tasks_load_a_kind_once(site: Site) -> None:
    site.install("plug_counted", f"import sys\nsys.modules['plug_count'].append(1)\n{GOOD}", "Shelf=Shelf")
    loads: list[int] = []
    sys.modules["plug_count"] = loads  # type: ignore[assignment]
    registry = site.registry()
    first, second = await asyncio.gather(site.manager(registry=registry), site.manager(registry=registry))
    assert loads == [1]
    assert isinstance(first, Guarded) and isinstance(second, Guarded)


@pytest.mark.parametrize(
    ("code", "lacks"),
    [
        ("Shelf = 'hunter2'", "can't be called"),
        ("def Shelf(*given): return None", "check, store, fetch, look_up, delete, close, concurrency"),
        ("def Shelf(*given): return 'hunter2'", "it lacks check"),
        (f"{GOOD}    concurrency = 0", "it lacks concurrency"),
        (f"{GOOD}    concurrency = 'hunter2'", "it lacks concurrency"),
        (f"{GOOD}    fetch = None", "it lacks fetch"),
    ],
)
async def test_what_is_no_secret_manager_is_told_by_what_it_lacks(
    site: Site, lines: io.StringIO, code: str, lacks: str
) -> None:
    site.install("plug_odd", code, "Shelf=Shelf")
    why = await told(site, lines)
    assert (type(why), why.code) == (NotReady, "kind_unfit")
    assert lacks in why.detail and "plug_odd 3.1" in why.hint


@pytest.mark.parametrize("error", ["ValueError('hunter2')", "SystemExit('hunter2')", "KeyError('hunter2')"])
async def test_one_that_fails_when_it_is_made_is_told_without_the_text(
    site: Site, lines: io.StringIO, error: str
) -> None:
    site.install("plug_failing", f"def Shelf(*given): raise {error}", "Shelf=Shelf")
    why = await told(site, lines)
    assert (type(why), why.code) == (Unavailable, "kind_failed")
    assert "kind.crashed" in lines.getvalue() and "plug_failing 3.1" in why.hint


CALLS = """
import asyncio
from shared.crypto.plaintext import Plaintext
from shared.errors import NotFound
from shared.values import Reference, Wrapped

class Missing(NotFound):
    def __init__(self):
        super().__init__("shelf_empty", "there is nothing on the shelf", "fill it", shelf="upper")

class Text(str):
    pass

def Shelf(*given):
    return Made()

class Made:
    concurrency = 100_000
    async def close(self): raise RuntimeError("hunter2")
    async def check(self): ACT
    async def store(self, secret, plaintext): ACT
    async def fetch(self, secret, stored): ACT
    async def look_up(self, secret): ACT
    async def delete(self, secret, stored): ACT
"""


async def told_by(site: Site, lines: io.StringIO, act: str, *methods: str) -> list[PrivySealError]:
    site.install("plug_acting", CALLS.replace("ACT", act), "Shelf=Shelf")
    manager, secret = await site.manager(), site.version()
    assert manager.concurrency == MOST_AT_ONCE
    stored = await Local(site.world.connector.document, site.surroundings(), {}).store(secret, Plaintext(VALUE))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "check": manager.check,
        "store": lambda: manager.store(secret, Plaintext(VALUE)),
        "fetch": lambda: manager.fetch(secret, stored),
        "look_up": lambda: manager.look_up(secret),
        "delete": lambda: manager.delete(secret, stored),
    }
    found = []
    for method in methods or calls:
        with pytest.raises(PrivySealError) as caught:
            await calls[method]()
        found.append(caught.value)
        assert VALUE.decode() not in caught.value.detail + caught.value.hint + repr(caught.value.facts)
        assert caught.value.__cause__ is None
    assert VALUE.decode() not in lines.getvalue()
    return found


@pytest.mark.parametrize(
    "act",
    [
        "raise ValueError('hunter2')",
        "raise SystemExit('hunter2')",
        "raise KeyboardInterrupt('hunter2')",
        "raise asyncio.CancelledError('hunter2')",
        "raise BaseException('hunter2')",
        "raise BaseExceptionGroup('hunter2', [SystemExit('hunter2')])",
    ],
)
async def test_a_foreign_error_of_any_call_ends_as_kind_failed_and_its_text_nowhere(
    site: Site, lines: io.StringIO, act: str
) -> None:
    for why in await told_by(site, lines, act):
        assert (type(why), why.code) == (Unavailable, "kind_failed")
    assert lines.getvalue().count("kind.crashed") == 5


async def test_an_error_of_ours_comes_through_and_a_packages_own_as_what_it_is_derived_from(
    site: Site, lines: io.StringIO
) -> None:
    for why in await told_by(site, lines, "raise Missing"):
        assert (type(why), why.code, why.facts) == (NotFound, "shelf_empty", {"shelf": "upper"})


@pytest.mark.parametrize(
    ("act", "methods"),
    [
        ("return None", ("store", "fetch", "look_up")),
        ("return 'hunter2'", ("store", "fetch", "look_up")),
        ("return b'hunter2'", ("store", "fetch", "look_up")),
        ("return Wrapped(b'hunter2')", ("store", "fetch", "look_up")),
        ("return Wrapped('hunter2')", ("store",)),
        ("return Reference(1, 'a', 'b', Text('hunter2'))", ("fetch", "look_up")),
        ("return Reference(generation='hunter2', locator=1, mac=2)", ("store",)),
        ("return Plaintext(b'hunter2')", ("store",)),
    ],
)
async def test_an_answer_of_another_type_is_refused_and_what_could_not_be_read_again_is_not_kept(
    site: Site, lines: io.StringIO, act: str, methods: tuple[str, ...]
) -> None:
    for why in await told_by(site, lines, act, *methods):
        assert type(why) in {NotReady, Unavailable}
        assert why.code in {"kind_unfit", "kind_failed"}


async def test_a_method_that_is_no_coroutine_is_told(site: Site, lines: io.StringIO) -> None:
    site.install("plug_plain", CALLS.replace("async def", "def").replace("ACT", "return 7"), "Shelf=Shelf")
    manager = await site.manager()
    with pytest.raises(NotReady, match="its method check is no coroutine"):
        await manager.check()


async def test_who_stops_waiting_for_a_package_is_not_held_up(site: Site) -> None:
    site.install("plug_waiting", CALLS.replace("ACT", "await asyncio.Event().wait()"), "Shelf=Shelf")
    manager = await site.manager()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await manager.check()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_one_that_fails_to_close_fails_nothing_and_tells_no_text(site: Site, lines: io.StringIO) -> None:
    site.install("plug_closing", CALLS.replace("ACT", "pass"), "Shelf=Shelf")
    registry = site.registry()
    await site.manager(registry=registry)
    await registry.close()
    assert "kind.crashed" in lines.getvalue() and VALUE.decode() not in lines.getvalue()


async def test_a_thread_of_a_package_that_crashes_tells_no_text(
    site: Site, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", thread_crashed)
    act = """
        import threading
        def crash(): raise RuntimeError("hunter2")
        thread = threading.Thread(target=crash)
        thread.start()
        thread.join()"""
    site.install(
        "plug_threads", CALLS.replace("async def check(self): ACT", f"async def check(self):{act}"), "Shelf=Shelf"
    )
    (site.folder / "plug_threads.py").write_text((site.folder / "plug_threads.py").read_text().replace("ACT", "pass"))
    await (await site.manager()).check()
    assert "program.crashed" in lines.getvalue() and "plug_threads" in lines.getvalue()
    assert VALUE.decode() not in lines.getvalue() + "".join(capfd.readouterr())


async def test_what_a_guarded_manager_stores_is_what_the_packages_manager_stored(site: Site) -> None:
    site.install("plug_good", GOOD, "Shelf=Shelf")
    secret = site.version()
    stored = await (await site.manager()).store(secret, Plaintext(VALUE))
    assert stored_bytes(stored)[:1] == b"\x01"
