"""What this process may use and what is used of it, as its container sees it: Linux's control groups, or the whole machine.

Promises: knows cgroup v2 and v1, also nested ones: of several limits the one counts that is reached first, the process's own
before those around it; a limit beyond what the machine has is none. Parsing is apart from reading, and what can't be read or
understood counts as absent. Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, proc(5).
Must not judge: `delegate.load` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

Read = Callable[[str], str | None]
"""The text of a file by its path, None where there is none to be had."""

TICKS = 100
"""Of /proc/stat, a second: the kernel's USER_HZ."""

_KIB = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One hierarchy as it is mounted: `root` is the group that stands at the folder `point`. No controllers: version 2."""

    controllers: frozenset[str]
    root: str
    point: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use, without what is only kept of files, and how many there may be."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Processor:
    """CPU-seconds used so far by everybody in `source`, and how many there may be in a second."""

    source: str
    used: float
    cores: float


def mounts(mountinfo: str) -> list[Mount]:
    """The hierarchies in /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        where, what = before.split(" "), after.split(" ")
        if not dash or len(where) < 6 or len(what) < 3 or what[0] not in {"cgroup", "cgroup2"}:
            continue
        controllers = frozenset(what[2].split(",")) if what[0] == "cgroup" else frozenset()
        found.append(Mount(controllers, _unescaped(where[3]), _unescaped(where[4])))
    return found


def memberships(cgroup: str) -> Mapping[str, str]:
    """This process's group in each hierarchy of /proc/self/cgroup, by controller; "" is version 2."""
    found = {}
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdecimal() and colon and path.startswith("/"):
            for controller in controllers.split(","):
                found[controller] = path
    return found


def folders(mount: Mount, path: str) -> tuple[str, ...]:
    """The folders of the group `path` and of those around it, the innermost first, as far as they are mounted."""
    root = mount.root.rstrip("/")
    # A group outside of what is mounted (a container that sees the host's names) can only be the one mounted.
    inside = path.removeprefix(root) if path == root or path.startswith(f"{root}/") else ""
    steps = [step for step in inside.split("/") if step]
    if ".." in steps:
        steps = []
    return tuple("/".join([mount.point.rstrip("/"), *steps[:count]]) for count in range(len(steps), -1, -1))


def whole(text: str | None) -> int | None:
    """The one number of a file; None for `max`, a negative one, or anything else."""
    word = (text or "").strip()
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= 30 else None


def member(text: str | None, name: str) -> int | None:
    """The number after `name` in a file of names and numbers (memory.stat, cpu.stat)."""
    for line in (text or "").splitlines():
        key, _, number = line.partition(" ")
        if key == name:
            return whole(number)
    return None


def quota(limit: str | None, period: str | None) -> float | None:
    """How many cores a quota comes to, both in microseconds; None for no quota."""
    allowed, every = whole(limit), whole(period)
    return allowed / every if allowed and every else None


def meminfo(text: str | None) -> Memory | None:
    """The machine's memory of /proc/meminfo."""
    found = {name: int(number) * 1024 for name, number in _KIB.findall(text or "")}
    total, available = found.get("MemTotal", 0), found.get("MemAvailable", found.get("MemFree"))
    return Memory(max(0, total - available), total) if total and available is not None else None


def busy_seconds(stat: str | None, cores: Iterable[int]) -> float | None:
    """CPU-seconds that these cores have been busy for, of /proc/stat: all but idle and waiting for disks."""
    wanted, found = {f"cpu{core}" for core in cores}, 0.0
    for line in (stat or "").splitlines():
        name, *numbers = line.split() or [""]
        if name in wanted:
            if len(numbers) < 8 or not all(one.isascii() and one.isdecimal() and len(one) <= 30 for one in numbers[:8]):
                return None
            user, nice, system, _idle, _waiting, *stolen = (int(one) for one in numbers[:8])
            found += (user + nice + system + sum(stolen)) / TICKS
            wanted.discard(name)
    return None if wanted else found


class Container:
    """Reads, each time anew, what this process has of memory and CPU; `cores` are those that it may run on."""

    def __init__(self, read: Read, cores: frozenset[int]) -> None:
        self._read = read
        self._cores = cores
        found = mounts(read("/proc/self/mountinfo") or "")
        groups = memberships(read("/proc/self/cgroup") or "")
        self._folders: dict[str, tuple[str, ...]] = {}
        for controller in ("memory", "cpu", "cpuacct"):
            mount = next((one for one in found if controller in one.controllers), None)
            if mount is not None:
                self._folders[controller] = folders(mount, groups.get(controller, "/"))
        unified = next((one for one in found if not one.controllers), None)
        self._unified = folders(unified, groups.get("", "/")) if unified else ()

    def memory(self) -> Memory | None:
        """Of the group whose limit is reached first, else of the machine; None where neither can be read."""
        machine = meminfo(self._read("/proc/meminfo"))
        found = machine
        # From outside in: of equal limits the inner one counts.
        for folder in reversed(self._folders.get("memory", self._unified)):
            group = self._memory(folder)
            if group is not None and (found is None or group.limit <= found.limit):
                found = group
        return found

    def _memory(self, folder: str) -> Memory | None:
        if "memory" in self._folders:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            names = ("memory.max", "memory.current", "inactive_file")
        limit, used = whole(self._read(f"{folder}/{names[0]}")), whole(self._read(f"{folder}/{names[1]}"))
        if not limit or used is None:
            return None
        # What the kernel would drop at once if it needed the place: else reading one large file looked like use.
        kept = member(self._read(f"{folder}/memory.stat"), names[2]) or 0
        return Memory(max(0, used - kept), limit)

    def processor(self) -> Processor | None:
        """Of the group whose quota is reached first, else of the cores; None where neither can be read."""
        cores = float(len(self._cores))
        tightest: tuple[float, int] | None = None
        every = self._folders.get("cpu", self._unified)
        for at in range(len(every) - 1, -1, -1):
            allowed = self._quota(every[at])
            if allowed is not None and allowed < cores and (tightest is None or allowed <= tightest[0]):
                tightest = (allowed, at)
        if tightest is not None:
            used = self._used(every[tightest[1]])
            if used is not None:
                return Processor(every[tightest[1]], used, tightest[0])
        busy = busy_seconds(self._read("/proc/stat"), self._cores)
        return None if busy is None or not cores else Processor("machine", busy, cores)

    def _quota(self, folder: str) -> float | None:
        if "cpu" in self._folders:
            return quota(self._read(f"{folder}/cpu.cfs_quota_us"), self._read(f"{folder}/cpu.cfs_period_us"))
        limit, _, period = (self._read(f"{folder}/cpu.max") or "").strip().partition(" ")
        return quota(limit, period)

    def _used(self, folder: str) -> float | None:
        if "cpu" not in self._folders:
            micros = member(self._read(f"{folder}/cpu.stat"), "usage_usec")
            return None if micros is None else micros / 1e6
        accounts, groups = self._folders.get("cpuacct", ()), self._folders["cpu"]
        # The two may be mounted apart: the same group is the one as far from the root.
        above = len(groups) - 1 - groups.index(folder)
        if above >= len(accounts):
            return None
        nanos = whole(self._read(f"{accounts[len(accounts) - 1 - above]}/cpuacct.usage"))
        return None if nanos is None else nanos / 1e9


def read_text(path: str) -> str | None:
    """The file's text, None where it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), path)
