from __future__ import annotations

import pytest
from hypothesis import given, strategies

from grokfast.errors import ConfigError
from grokfast.observe import canonical_schedule, check_schedule, covers, schedule_epochs, union


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (("every:1", "every:01", " every:1", "every:1,every:001"), "every:1"),
        (("at:1+2", "at:2+1", "at:2+1+1", "at:02+01"), "at:1+2"),
        (("last", "last,last", "last,never"), "last"),
        (("never", "never,never"), "never"),
        (("every:7,log:5", "log:5,every:7", "log:5,last,every:7"), "every:7,log:5"),
    ],
)
def test_one_spelling(spellings, canonical):
    for spelling in spellings:
        assert canonical_schedule(spelling, 20) == canonical
        assert schedule_epochs(spelling, 20) == schedule_epochs(canonical, 20)


def test_epochs():
    assert schedule_epochs("every:4", 10) == {4, 8, 10}
    assert schedule_epochs("every:99", 10) == {10}
    assert schedule_epochs("at:3+1,last", 10) == {1, 3, 10}
    assert schedule_epochs("log:3", 100) == {1, 10, 100}
    assert schedule_epochs("log:1", 100) == {1, 100}
    assert schedule_epochs("never", 10) == frozenset()


@pytest.mark.parametrize("count", [10**4, 10**7, 999_999_999_999, 10**17])
def test_more_points_than_epochs_name_them_all(count):
    assert schedule_epochs(f"log:{count}", 50) == set(range(1, 51))


def test_long_runs_answer_at_once():
    longest = 2**63 - 1
    assert schedule_epochs("last", longest) == {longest}
    assert len(schedule_epochs("log:50", longest)) == 50
    check_schedule("log:999999", longest)
    for spec in ("every:1", "every:1000"):
        with pytest.raises(ConfigError, match="epochs, 10000000 at most"):
            check_schedule(spec, longest)
        with pytest.raises(ConfigError, match="epochs, 10000000 at most"):
            schedule_epochs(spec, longest)
    with pytest.raises(ConfigError, match="at most"):
        schedule_epochs("log:999999999999", longest)


@pytest.mark.parametrize(
    "spec",
    ["", "every", "every:", "every:0", "every:-1", "every:1.5", "every:1_0", "every: 1", "every:+1", "every:1+2", "at:",
     "at:0", "at:11", "at:1++2", "log:0", "often", "last:3", "never:1", "every:²", "log:9999999999999999999",
     "every:2,", 3, None],
)  # fmt: skip
def test_other_forms_are_refused(spec):
    with pytest.raises(ConfigError, match="schedule"):
        schedule_epochs(spec, 10)
    with pytest.raises(ConfigError, match="schedule"):
        canonical_schedule(spec, 10)


_PARTS = strategies.one_of(
    strategies.just("last"),
    strategies.just("never"),
    strategies.integers(1, 60).map(lambda n: f"every:{n}"),
    strategies.integers(1, 60).map(lambda n: f"log:{n}"),
    strategies.lists(strategies.integers(1, 40), min_size=1, max_size=4).map(lambda n: "at:" + "+".join(map(str, n))),
)


@given(strategies.lists(_PARTS, min_size=1, max_size=4), strategies.lists(_PARTS, min_size=1, max_size=4))
def test_unions_and_covers(one, other):
    first, second = ",".join(one), ",".join(other)
    both = union([first, second])
    assert schedule_epochs(both, 40) == schedule_epochs(first, 40) | schedule_epochs(second, 40)
    assert covers(both, first, 40)
    assert covers(first, second, 40) == (schedule_epochs(second, 40) <= schedule_epochs(first, 40))
    canonical = canonical_schedule(first, 40)
    assert canonical_schedule(canonical, 40) == canonical
    assert schedule_epochs(canonical, 40) == schedule_epochs(first, 40)
