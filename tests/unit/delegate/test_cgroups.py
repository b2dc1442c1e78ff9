"""What control groups and /proc say, on files as they are on machines of each sort."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.cgroups import (
    Container,
    Memory,
    Mount,
    Processor,
    busy_seconds,
    folders,
    member,
    memberships,
    meminfo,
    mounts,
    quota,
    read_text,
    whole,
)

MEMINFO = """MemTotal:       24684084 kB
MemFree:        22740372 kB
MemAvailable:   23558736 kB
Buffers:           58588 kB
Active(file):     210704 kB
HugePages_Total:       0
"""
MACHINE = Memory((24684084 - 23558736) * 1024, 24684084 * 1024)
STAT = """cpu  2279445 57457 367650 2489415 20802 0 12093 3367 0 0
cpu0 1080012 27146 174685 1321074 5652 0 3605 1657 0 0
cpu1 1199433 30311 192964 1168341 15150 0 8487 1709 0 0
intr 34517091 0 0 0
ctxt 102354
"""
BUSY0 = (1080012 + 27146 + 174685 + 0 + 3605 + 1657) / 100
BUSY1 = (1199433 + 30311 + 192964 + 0 + 8487 + 1709) / 100
PROC = {"/proc/meminfo": MEMINFO, "/proc/stat": STAT}

# A pod on a node with version 2; the container sees its own group as the root.
V2_MOUNTS = """1480 1479 0:331 / / rw,relatime master:410 - overlay overlay rw,lowerdir=/var/lib/containerd/l/1:/l/2
1492 1480 0:335 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
1493 1492 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot
"""
V2_STAT = """anon 98304000
file 41943040
kernel 3145728
inactive_anon 0
active_anon 98222080
inactive_file 31457280
active_file 10485760
"""
V2 = {
    **PROC,
    "/proc/self/mountinfo": V2_MOUNTS,
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.max": "268435456\n",
    "/sys/fs/cgroup/memory.current": "143392768\n",
    "/sys/fs/cgroup/memory.stat": V2_STAT,
    "/sys/fs/cgroup/cpu.max": "50000 100000\n",
    "/sys/fs/cgroup/cpu.stat": "usage_usec 7250000\nuser_usec 5000000\nsystem_usec 2250000\nnr_periods 12\n",
}

# Docker with version 1 and the host's names: /proc/self/cgroup says more than is mounted.
ID = "3c1a7f0b9d2e4455aa"
V1_MOUNTS = f"""900 899 0:60 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
901 900 0:29 /docker/{ID} /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,name=systemd
905 900 0:33 /docker/{ID} /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:17 - cgroup cgroup rw,memory
907 900 0:35 /docker/{ID} /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:19 - cgroup cgroup rw,cpu,cpuacct
"""
V1 = {
    **PROC,
    "/proc/self/mountinfo": V1_MOUNTS,
    "/proc/self/cgroup": f"11:memory:/docker/{ID}\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "209715200\n",
    "/sys/fs/cgroup/memory/memory.stat": "cache 52428800\ninactive_file 1\ntotal_cache 52428800\ntotal_inactive_file 41943040\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "27378947444822\n",
}

# A service of systemd with version 2: its group is nested in slices.
SLICE = "/system.slice/privyseal.slice/privyseal-delegate.service"
NESTED = {
    **PROC,
    "/proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
    "/proc/self/cgroup": f"0::{SLICE}\n",
    f"/sys/fs/cgroup{SLICE}/memory.max": "max\n",
    f"/sys/fs/cgroup{SLICE}/memory.current": "1000\n",
    f"/sys/fs/cgroup{SLICE}/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/system.slice/privyseal.slice/memory.max": "1073741824\n",
    "/sys/fs/cgroup/system.slice/privyseal.slice/memory.current": "5000\n",
    "/sys/fs/cgroup/system.slice/privyseal.slice/memory.stat": "inactive_file 2000\n",
    "/sys/fs/cgroup/system.slice/privyseal.slice/cpu.max": "25000 100000\n",
    "/sys/fs/cgroup/system.slice/privyseal.slice/cpu.stat": "usage_usec 3000000\n",
    "/sys/fs/cgroup/system.slice/memory.max": "8589934592\n",
    "/sys/fs/cgroup/system.slice/memory.current": "7000\n",
}


def container(files: Mapping[str, str], cores: int = 2) -> Container:
    return Container(files.get, frozenset(range(cores)))


def test_version_2_counts_without_what_is_only_kept_of_files() -> None:
    one = container(V2)
    assert one.memory() == Memory(143392768 - 31457280, 268435456)
    assert one.processor() == Processor("/sys/fs/cgroup", 7.25, 0.5)


def test_version_1_counts_where_the_host_s_names_are_seen_from_within() -> None:
    one = container(V1)
    assert one.memory() == Memory(209715200 - 41943040, 536870912)
    assert one.processor() == Processor("/sys/fs/cgroup/cpu,cpuacct", 27378.947444822, 1.5)


def test_of_nested_groups_the_nearest_with_a_limit_counts() -> None:
    one = container(NESTED)
    assert one.memory() == Memory(3000, 1073741824)
    assert one.processor() == Processor("/sys/fs/cgroup/system.slice/privyseal.slice", 3.0, 0.25)


def test_a_limit_that_a_group_around_it_reaches_before_counts_for_nothing() -> None:
    files = {
        **NESTED,
        f"/sys/fs/cgroup{SLICE}/memory.max": "2147483648\n",
        f"/sys/fs/cgroup{SLICE}/cpu.max": "100000 100000\n",
        f"/sys/fs/cgroup{SLICE}/cpu.stat": "usage_usec 1\n",
    }
    assert container(files).memory() == Memory(3000, 1073741824)
    found = container(files).processor()
    assert found is not None
    assert found.cores == 0.25


def test_an_equal_limit_is_the_inner_groups() -> None:
    files = {
        **NESTED,
        f"/sys/fs/cgroup{SLICE}/memory.max": "1073741824\n",
        f"/sys/fs/cgroup{SLICE}/cpu.max": "25000 100000\n",
        f"/sys/fs/cgroup{SLICE}/cpu.stat": "usage_usec 1000000\n",
    }
    assert container(files).memory() == Memory(1000, 1073741824)
    assert container(files).processor() == Processor(f"/sys/fs/cgroup{SLICE}", 1.0, 0.25)


@pytest.mark.parametrize(
    "files",
    [
        PROC,
        {**V2, "/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"},
        {**V2, "/sys/fs/cgroup/memory.max": "99999999999999\n", "/sys/fs/cgroup/cpu.max": "800000 100000\n"},
        {
            **V1,
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
    ],
    ids=["no groups", "version 2 without limits", "limits beyond the machine", "version 1 without limits"],
)
def test_without_a_limit_that_counts_the_machine_is_measured(files: Mapping[str, str]) -> None:
    one = container(files)
    assert one.memory() == MACHINE
    assert one.processor() == Processor("machine", pytest.approx(BUSY0 + BUSY1), 2.0)  # type: ignore[arg-type]


def test_only_the_cores_that_it_may_run_on_count() -> None:
    one = Container(PROC.get, frozenset({1}))
    assert one.processor() == Processor("machine", pytest.approx(BUSY1), 1.0)  # type: ignore[arg-type]
    assert Container(PROC.get, frozenset({7})).processor() is None
    assert Container(PROC.get, frozenset()).processor() is None


def test_version_1_with_its_accounts_mounted_apart_reads_those_of_the_same_group() -> None:
    files = {
        **PROC,
        "/proc/self/mountinfo": "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n33 31 0:30 / /cg/cpuacct rw - cgroup cgroup rw,cpuacct\n",
        "/proc/self/cgroup": "2:cpuacct:/a/b\n1:cpu:/a/b\n",
        "/cg/cpu/a/cpu.cfs_quota_us": "50000",
        "/cg/cpu/a/cpu.cfs_period_us": "100000",
        "/cg/cpuacct/a/cpuacct.usage": "2000000000",
        "/cg/cpuacct/a/b/cpuacct.usage": "1",
    }
    assert container(files).processor() == Processor("/cg/cpu/a", 2.0, 0.5)
    elsewhere = {**files, "/proc/self/cgroup": "2:cpuacct:/\n1:cpu:/a/b\n"}
    found = container(elsewhere).processor()
    assert found is not None
    assert found.source == "machine"


def test_with_no_files_at_all_nothing_is_measured() -> None:
    assert container({}).memory() is None
    assert container({}).processor() is None


def test_mounts_are_told_from_all_else_and_unescaped() -> None:
    assert mounts(V2_MOUNTS) == [Mount(frozenset(), "/", "/sys/fs/cgroup")]
    assert [sorted(one.controllers) for one in mounts(V1_MOUNTS)] == [
        ["name=systemd", "rw"],
        ["memory", "rw"],
        ["cpu", "cpuacct", "rw"],
    ]
    assert mounts("1 2 0:3 /a\\040b /c\\134d rw - cgroup2 none rw") == [Mount(frozenset(), "/a b", "/c\\d")]
    assert mounts("1 2 0:3 / /x rw - cgroup2\nrubbish\n\n- \n") == []


def test_memberships_are_by_controller() -> None:
    text = "9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/c\nrubbish\nx:y:/z\n3:blkio:relative\n"
    assert memberships(text) == {"name=systemd": "/", "cpu": "/a:b", "cpuacct": "/a:b", "": "/c"}


@pytest.mark.parametrize(
    ("root", "path", "found"),
    [
        ("/", "/", ("/cg",)),
        ("/", "/a/b", ("/cg/a/b", "/cg/a", "/cg")),
        ("/docker/1", "/docker/1", ("/cg",)),
        ("/docker/1", "/docker/1/inner", ("/cg/inner", "/cg")),
        ("/docker/1", "/docker/12", ("/cg",)),
        ("/docker/1", "/elsewhere", ("/cg",)),
        ("/", "/../../outside", ("/cg",)),
    ],
)
def test_groups_are_folders_from_the_innermost_to_what_is_mounted(root: str, path: str, found: tuple[str, ...]) -> None:
    assert folders(Mount(frozenset(), root, "/cg"), path) == found


def test_numbers_are_numbers_or_nothing() -> None:
    assert [whole(text) for text in ("7\n", "max", "-1", "", None, "1.5", "\u00b2", "9" * 31)] == [7] + [None] * 7
    assert [quota("1", "2"), quota("max", "2"), quota("1", None), quota("1", "0"), quota("0", "1")] == [0.5] + [
        None
    ] * 4
    assert (member("a 1\nab 2", "ab"), member("a 1", "b"), member("a", "a"), member(None, "a")) == (2, None, None, None)


def test_an_old_kernels_meminfo_is_understood() -> None:
    assert meminfo("MemTotal: 100 kB\nMemFree: 40 kB\n") == Memory(60 * 1024, 100 * 1024)
    assert meminfo("MemTotal: 100 kB\nMemAvailable: 140 kB\n") == Memory(0, 100 * 1024)
    assert [meminfo(text) for text in ("", None, "MemTotal: 100 kB", "MemTotal: 0 kB\nMemFree: 0 kB")] == [None] * 4


def test_a_core_that_is_missing_or_garbled_leaves_the_cpu_unmeasured() -> None:
    assert busy_seconds("cpu0 1 1 1 1 1 1 1 x", {0}) is None
    assert busy_seconds("cpu0 1 1 1", {0}) is None
    assert busy_seconds(STAT, {0, 2}) is None
    assert busy_seconds(None, set()) == 0


def test_a_file_that_is_none_reads_as_nothing() -> None:
    assert read_text("/proc/self/no-such-file") is None
    assert read_text("/proc") is None


@given(st.text(), st.text(), st.text())
def test_garbage_is_absent_and_never_an_error(one: str, two: str, three: str) -> None:
    files = dict.fromkeys((*V2, *V1, *NESTED), one)
    for mountinfo, cgroup in ((V2_MOUNTS, "0::/\n"), (V1_MOUNTS, V1["/proc/self/cgroup"]), (two, three)):
        found = container({**files, "/proc/self/mountinfo": mountinfo, "/proc/self/cgroup": cgroup})
        memory, processor = found.memory(), found.processor()
        assert memory is None or (memory.used >= 0 and memory.limit > 0)
        assert processor is None or (processor.used >= 0 and processor.cores > 0)


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(1, 2**62))
def test_what_the_kernel_writes_is_read_back(current: int, kept: int, limit: int) -> None:
    files = {
        **V2,
        "/proc/meminfo": "",
        "/sys/fs/cgroup/memory.max": f"{limit}\n",
        "/sys/fs/cgroup/memory.current": f"{current}\n",
        "/sys/fs/cgroup/memory.stat": f"inactive_file {kept}\n",
    }
    assert container(files).memory() == Memory(max(0, current - kept), limit)
