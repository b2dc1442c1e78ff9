"""The cache: bounded by bytes, and never left with what was read before it was rewritten."""

from __future__ import annotations

from manager.store_cache import Cache


def test_what_was_written_during_a_read_is_not_overwritten_by_it() -> None:
    cache = Cache(10**6)
    mark = cache.expect(["key", "other"])
    cache.apply([("key", "new", 3)])
    cache.fill(mark, "key", "old", 3)
    cache.fill(mark, "other", "read", 3)
    cache.forget(mark, ["key", "other"])
    assert cache.find("key") == "new"
    assert cache.find("other") == "read"


def test_what_was_removed_during_a_read_does_not_come_back() -> None:
    cache = Cache(10**6)
    mark = cache.expect(["key"])
    cache.apply([("key", None, 0)])
    cache.fill(mark, "key", "old", 3)
    cache.forget(mark, ["key"])
    assert cache.find("key") is None


def test_of_two_reads_of_one_key_the_later_counts() -> None:
    cache = Cache(10**6)
    first, second = cache.expect(["key"]), cache.expect(["key"])
    cache.fill(first, "key", "first", 3)
    cache.forget(first, ["key"])
    assert cache.find("key") is None
    cache.fill(second, "key", "second", 3)
    cache.forget(second, ["key"])
    assert cache.find("key") == "second"


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(100_000)
    cache.apply([(n, f"value{n}", 9_300) for n in range(10)])
    assert cache.find(0) == "value0"
    cache.apply([("more", "x", 9_300)])
    assert cache.find(1) is None
    assert cache.find(0) == "value0"
    assert cache.used_bytes <= 100_000
    assert len(cache) == 10


def test_a_value_too_large_is_not_kept_and_drives_the_old_one_out() -> None:
    cache = Cache(80_000)
    cache.apply([("key", "small", 10)])
    cache.apply([("key", "large", 20_000)])
    assert cache.find("key") is None
    assert (cache.used_bytes, len(cache)) == (0, 0)


def test_replacing_a_value_keeps_the_sum_right() -> None:
    cache = Cache(80_000)
    cache.apply([("key", "one", 100), ("key", "two", 50)])
    used = cache.used_bytes
    cache.apply([("key", None, 0)])
    assert used > 50
    assert cache.used_bytes == 0
    assert (cache.hits, cache.misses) == (0, 0)
