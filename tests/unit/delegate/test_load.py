"""When a delegate is over its limits, and what it says of it."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.cgroups import Memory, Processor
from delegate.clock import Clock
from delegate.load import (
    LEAST_SECONDS,
    MOST_SECONDS,
    RELIEF,
    SAMPLE_SECONDS,
    SAMPLES,
    Load,
    Watch,
    meter,
    percent_of_memory,
    percent_of_processor,
)
from delegate.metrics import DelegateMetrics
from shared.messages import Heartbeat, Use
from tests.fakes.load import Dial


class Hand(Clock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def monotonic(self) -> float:
        return self.moment


class Bench:
    """A load with its dial and its clock."""

    def __init__(self, cpu: int = 80, memory: int = 80) -> None:
        self.clock, self.dial = Hand(), Dial()
        self.metrics = DelegateMetrics("0")
        self.load = Load(cpu, memory, self.dial, self.clock, self.metrics)
        self.told: list[bool] = []
        self.load.changed = lambda: self.told.append(self.load.is_over)

    def looks(self, count: int, *, cpu: float = 0.0, memory: float = 0.0) -> None:
        """So many looks at that use, in percent."""
        for _ in range(count):
            self.clock.moment += SAMPLE_SECONDS
            self.dial.passes(SAMPLE_SECONDS, cpu)
            self.dial.memory_percent = memory
            self.load.look()

    def shown(self, name: str, resource: str) -> float:
        found = self.metrics.registry.get_sample_value(f"privyseal_delegate_{name}", {"resource": resource})
        assert found is not None
        return found


def test_one_spike_does_not_count() -> None:
    bench = Bench()
    bench.looks(5, cpu=20, memory=20)
    bench.looks(1, cpu=100, memory=100)
    bench.looks(3, cpu=20, memory=20)
    assert bench.told == []


def test_who_is_over_for_six_seconds_says_so_once_and_again_when_it_is_below() -> None:
    bench = Bench()
    bench.looks(4, cpu=95)
    assert bench.told == [True]
    bench.looks(20, cpu=95)
    assert bench.told == [True]
    bench.looks(SAMPLES, cpu=10)
    assert bench.told == [True, False]
    assert bench.load.refusal() is None


def test_between_nine_tenths_and_the_limit_it_stays_as_it_is() -> None:
    bench = Bench()
    bench.looks(10, memory=76)
    assert not bench.load.is_over
    bench.looks(SAMPLES, memory=80)
    assert bench.load.is_over
    bench.looks(10, memory=76)
    assert bench.load.is_over
    bench.looks(SAMPLES, memory=71)
    assert not bench.load.is_over


def test_the_heartbeat_the_health_and_the_figures_tell_the_same() -> None:
    bench = Bench(cpu=80, memory=0)
    assert bench.load.heartbeat(3) == Heartbeat(3)
    assert bench.load.facts() == {"cpu_percent": "not measured", "memory_percent": "not measured"}
    bench.looks(5, cpu=90, memory=95)
    assert bench.load.heartbeat(3) == Heartbeat(3, Use(90, 80, True), Use(95, 0, False))
    assert bench.load.facts() == {"cpu_percent": 90, "memory_percent": 95, "over_limit": "cpu"}
    assert (bench.shown("load_percent", "cpu"), bench.shown("over_limit", "cpu")) == (90, 1)
    assert (bench.shown("load_percent", "memory"), bench.shown("over_limit", "memory")) == (95, 0)


def test_a_limit_of_zero_is_none() -> None:
    bench = Bench(cpu=0, memory=0)
    bench.looks(10, cpu=100, memory=100)
    assert not bench.load.is_over


def test_the_refusal_names_the_resource_and_advises_as_long_as_it_has_lasted() -> None:
    bench = Bench()
    bench.looks(SAMPLES, memory=90)
    why = bench.load.refusal()
    assert why is not None
    assert (why.code, why.http_status, why.facts) == ("delegate_overloaded", 429, {"retry_after": LEAST_SECONDS})
    assert "more memory than" in why.detail
    for passed, advised in ((20, 20), (100, MOST_SECONDS)):
        bench.clock.moment = 1000.0 + SAMPLES * SAMPLE_SECONDS + passed
        again = bench.load.refusal()
        assert again is not None
        assert again.facts["retry_after"] == advised
    bench.looks(SAMPLES + 1, cpu=100, memory=90)
    both = bench.load.refusal()
    assert both is not None
    assert "CPU and memory" in both.detail


def test_what_can_not_be_read_any_more_stands_against_nothing() -> None:
    bench = Bench()
    bench.looks(SAMPLES + 1, cpu=100, memory=100)
    assert bench.load.is_over
    bench.dial.blind = True
    bench.looks(1)
    assert not bench.load.is_over
    assert not bench.load.is_measured
    assert bench.load.heartbeat(0) == Heartbeat()
    assert math.isnan(bench.shown("load_percent", "cpu"))


def test_a_count_that_began_elsewhere_is_not_compared() -> None:
    bench = Bench()
    bench.looks(SAMPLES + 1, cpu=100)
    bench.dial.source = "another group"
    bench.looks(1, cpu=100)
    assert bench.load.heartbeat(0).cpu is None
    bench.looks(1, cpu=100)
    assert bench.load.heartbeat(0).cpu == Use(100, 80, False)


async def test_where_nothing_is_measured_it_says_so_and_takes_tasks() -> None:
    load = Load(80, 80, None, Hand(), DelegateMetrics("0"))
    await load.run()
    load.look()
    assert not load.is_over
    assert load.facts() == {"cpu_percent": "not measured", "memory_percent": "not measured"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what its processes use")
def test_on_linux_this_process_is_measured() -> None:
    found = meter()
    assert found is not None
    memory, processor = found.memory(), found.processor()
    assert memory is not None
    assert 0 < memory.used <= memory.limit
    assert processor is not None
    assert processor.cores > 0
    assert processor.used >= 0


def test_percentages_are_of_what_there_may_be() -> None:
    assert percent_of_memory(Memory(50, 200)) == 25
    assert percent_of_memory(None) is None
    assert percent_of_memory(Memory(50, 0)) is None
    before, after = Processor("group", 10.0, 0.5), Processor("group", 10.5, 0.5)
    assert percent_of_processor(before, after, 2.0) == 50
    assert percent_of_processor(after, before, 2.0) == 0
    assert percent_of_processor(before, after, 0.0) is None
    assert percent_of_processor(None, after, 2.0) is None
    assert percent_of_processor(before, Processor("machine", 11.0, 1), 2.0) is None


LOOKS = st.lists(st.one_of(st.none(), st.floats(0, 200)), max_size=60)


@given(LOOKS, st.integers(0, 100))
def test_it_is_over_only_where_the_last_looks_are(looks: list[float | None], limit: int) -> None:
    watch = Watch(limit)
    for number, look in enumerate(looks):
        before = watch.over
        watch.take(look)
        seen: list[float] = []
        for one in reversed(looks[: number + 1]):
            if one is None or len(seen) == SAMPLES:
                break
            seen.append(one)
        if not seen:
            assert not watch.over
            assert watch.use is None
            continue
        mean = sum(reversed(seen)) / len(seen)
        assert watch.use is not None
        assert watch.use.over == watch.over
        if limit == 0 or mean < limit * RELIEF - 1e-6:
            assert not watch.over
        elif len(seen) == SAMPLES and mean >= limit + 1e-6:
            assert watch.over
        elif limit * RELIEF + 1e-6 < mean < limit - 1e-6:
            assert watch.over == before
