"""From configurations to shards: what is stored is left out, what was begun goes on, the rest is grouped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError, StoreError
from grokfast.store import Store
from grokfast.training import Observer, RunConfig, plan_stacks
from grokfast.training.kept import KeptStates
from grokfast.training.looks import observer_looks
from grokfast.training.memory import free_memory, member_bytes
from grokfast.training.shards import Shard, resumable_shards
from grokfast.training.stored import outstanding, united, warn_unseen
from grokfast.training.train import STACK_SIZE

MOST_WORKERS = 4096
"""Local processes that a sweep may ask for."""

_MOST_PARTS = 1_000_000
_MEMORY_SHARE = 0.6  # of the free memory that a plan may use
_STACK_OVERHEAD = 64 * 2**20  # bytes a stack takes for activations and data, whatever its members


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do.

    Attributes:
        shards: Longest first; begun ones are taken up as they are.
        workers: How many train at the same time.
        stored: Keys that the store holds, sound.
        failed: Keys that failed earlier, with their reasons; they are left out unless retried.
        damaged: Keys whose stored run is damaged, with what is wrong; they are in the shards again.
        looking: Keys whose stored run has not looked at everything; they are in the shards again, with all looks.
        redo: Keys that are trained although the store holds a run.
    """

    shards: tuple[Shard, ...]
    workers: int
    stored: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    looking: tuple[str, ...] = ()
    redo: frozenset[str] = frozenset()

    @property
    def runs(self) -> int:
        """Runs to train; members of a begun shard that are published already do not count."""
        done = set(self.stored) | set(self.failed)
        return sum(key not in done for shard in self.shards for key in shard.keys)


def make_plan(
    configs: Sequence[RunConfig],
    store: Store,
    *,
    workers: int,
    stack_size: int | None = None,
    part: tuple[int, int] | None = None,
    retry_failed: bool = False,
    force: bool = False,
    observers: Sequence[Observer] = (),
) -> Plan:
    """Group the runs that a store lacks into shards.

    Configurations that can share a stack do; stacks are evenly filled, at most ``stack_size``, and at least
    as many as workers where there are enough runs. Shards that were begun and are part of the sweep stay as
    they were, so that their state can be taken up by any number of workers. A stored run that lacks a look is trained
    again with all that it has looked at and is asked to.

    Args:
        configs: All runs of the sweep.
        store: The store; each of its runs is compared with its checksums.
        workers: How many shards train at the same time.
        stack_size: Largest stack; by default 8, or what the memory allows.
        part: ``(i, n)``, the i-th of n fixed parts, i from 1, by ``configs``, n and ``stack_size`` alone.
        retry_failed: Train again what failed earlier.
        force: Train again what is stored.
        observers: Observers given as objects, which are looks too.

    Returns:
        The plan.

    Raises:
        ConfigError: If a number is out of range, or a stored run of the same key was another training.
        StoreError: If a later version of grokfast wrote a run, or an earlier one is training a shard of the sweep.
    """
    check_at_least("workers", workers, 1, error=ConfigError)
    if workers > MOST_WORKERS:
        raise ConfigError(f"workers must be at most {MOST_WORKERS}, got {workers}")
    if stack_size is not None:
        check_at_least("stack_size", stack_size, 1, error=ConfigError)
    configs = united(configs)
    if part is not None:
        mine = part_of(configs, *part, stack_size or STACK_SIZE)
        configs = [config for shard in mine for config in shard.configs]
    found = _compared(configs, store, observers, force=force, retry_failed=retry_failed)
    missing = dict(found.missing)
    begun = resumable_shards(store.root, {config.key for config in configs}, missing)
    for shard in begun:
        for key in shard.keys:
            missing.pop(key, None)
    if part is not None:
        members = [[missing[config.key] for config in shard.configs if config.key in missing] for shard in mine]
        groups = [stack for group in members for stack in plan_stacks(group, size=max(1, len(group)))]
    else:
        groups = _grouped(list(missing.values()), workers, stack_size, KeptStates(store).extended_at)
    shards = [*begun, *(Shard(tuple(group)) for group in groups if group)]
    return Plan(
        shards=tuple(sorted(shards, key=lambda shard: -shard.work)),
        workers=workers,
        stored=tuple(found.stored),
        failed=found.failed,
        damaged=found.damaged,
        looking=tuple(found.looking),
        redo=frozenset(found.redo),
    )


@dataclass
class _Found:
    """Configurations compared with a store."""

    missing: dict[str, RunConfig] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    looking: list[str] = field(default_factory=list)
    redo: list[str] = field(default_factory=list)


def _compared(
    configs: Sequence[RunConfig], store: Store, observers: Sequence[Observer], *, force: bool, retry_failed: bool
) -> _Found:
    found = _Found()
    nameless: list[str] = []
    for config in configs:
        key = config.key
        looks, nameless = observer_looks(observers, config.task)
        if store.has(key):
            try:
                store.check(key)
                record = store.record(key)
            except StoreError as error:
                found.damaged[key] = str(error)
                found.missing[key] = config
                continue
            if record["status"] == "failed" and not (force or retry_failed):
                found.failed[key] = str(record["reason"])
                continue
            if record["status"] == "failed" or force:
                found.redo.append(key)
        left = outstanding(config, store, looks, force=force)
        if left is None:
            found.stored.append(key)
        else:
            found.missing[key] = left
            if store.has(key) and key not in found.redo:
                found.looking.append(key)
    warn_unseen(len(found.stored), nameless)
    return found


def part_of(configs: Sequence[RunConfig], i: int, n: int, stack_size: int = STACK_SIZE) -> list[Shard]:
    """The i-th of n parts of a sweep, i from 1, of about equal work: nothing but the arguments decides.

    Raises:
        ConfigError: If i does not lie in 1 .. n.
    """
    check_at_least("number of parts", n, 1, error=ConfigError)
    if n > _MOST_PARTS:
        raise ConfigError(f"the number of parts must be at most {_MOST_PARTS}, got {n}")
    if isinstance(i, bool) or not isinstance(i, int) or not 1 <= i <= n:
        raise ConfigError(f"the part must be i/n with i in 1 .. n, got {i}/{n}")
    loads = [0] * n
    parts: list[list[Shard]] = [[] for _ in range(n)]
    for stack in plan_stacks(sorted(configs, key=lambda config: config.key), n, stack_size):
        shard = Shard(tuple(stack))
        least = loads.index(min(loads))
        loads[least] += shard.work
        parts[least].append(shard)
    return parts[i - 1]


def _grouped(
    configs: Sequence[RunConfig], workers: int, stack_size: int | None, apart: Callable[[RunConfig], int]
) -> list[list[RunConfig]]:
    groups: dict[str, list[RunConfig]] = {}
    for config in configs:
        groups.setdefault(config.stack_key, []).append(config)
    room = _MEMORY_SHARE * free_memory() / workers - _STACK_OVERHEAD
    stacks = []
    for group in groups.values():
        fits = max(1, math.floor(room / member_bytes(group[0])))
        stacks += plan_stacks(group, workers, stack_size or min(STACK_SIZE, fits), apart=apart)
    return stacks
