"""Train many runs: group them into stacks, spread the stacks over threads, hand each finished run to a sink."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from threading import Event
from typing import Annotated, Any, TypedDict, Unpack

import torch

from grokfast._checks import check_at_least
from grokfast._options import takes_options
from grokfast.errors import ConfigError, StoreError
from grokfast.observe import Observer
from grokfast.store import Store
from grokfast.store.lock import lock
from grokfast.training.config import RunConfig
from grokfast.training.endlooks import look_at_end
from grokfast.training.keeper import StateKeeper
from grokfast.training.kept import KeptStates, check_extendable
from grokfast.training.looks import observer_looks, with_looks
from grokfast.training.loop import StackState
from grokfast.training.memory import check_memory
from grokfast.training.shards import Shard, resumable_shards, write_shard
from grokfast.training.stack import train_stack
from grokfast.training.stored import Sink, outstanding, publish, united, warn_unseen

STACK_SIZE = 8
"""Members trained together by default: enough to hide per-step overheads, few enough for the cache."""

_MOST_THREADS = 4096


class TrainOptions(TypedDict, total=False):
    """The keyword options of :func:`train_runs`."""

    force: Annotated[bool, False]
    threads: Annotated[int, 1]
    observers: Annotated[Sequence[Observer], ()]
    device: Annotated[str | torch.device, "cpu"]
    on_epoch: Annotated[Callable[[StackState], None] | None, None]
    keep_state: Annotated[bool, False]
    save_every: Annotated[float, 180.0]
    stop: Annotated[Event | None, None]


@takes_options
def train_runs(configs: Sequence[RunConfig], sink: Sink | str | Path, **options: Unpack[TrainOptions]) -> list[str]:
    """Train every configuration that the sink does not hold yet, in stacks, and publish each run.

    A stored run that has not looked at all that is asked for now is trained again with everything that it has looked at
    and is asked to; the columns join it where the bits are the same (:mod:`grokfast.training.stored`). Measures asked
    for at the end alone are taken from the stored model, without training.

    While they train, the states of stacks are saved in the store, as a sweep's are: interrupted or killed, the same
    call goes on from there, with the same bits. Observers given as objects are not saved: with them a stack starts
    anew.

    Args:
        configs: Any mixture; those that can share a stack do. Those that differ in their looks alone are one run.
        sink: Where runs go: ``Store(folder)``, or the folder.
        force: Train also what the sink holds already.
        threads: Stacks trained at the same time. What a run learns does not depend on it.
        observers: Measures of your own.
        device: ``"cpu"`` or a CUDA device.
        on_epoch: Called after every epoch of every stack, from its thread; it must change nothing. (On a GPU one with a
            true attribute ``reads_only`` is called after 64 epochs at most.)
        keep_state: Keep the end states of the runs, so that runs of more epochs can go on from them. A longer run whose
            parent's state was kept starts from it in any case (``extended_at`` in its record).
        save_every: Seconds between saves of a stack in training.
        stop: When set, every stack ends after the epoch in hand, with its state saved.

    Returns:
        The keys of the runs trained now.

    Raises:
        ConfigError: If two configurations are equal, a stored run of the same key was another training, or states
            are to be kept of runs that cannot be extended.
        Interrupted: If ``stop`` was set before all were trained.
        InputError: If ``on_epoch`` changes a stack.
        StoreError: If the sink cannot be written.
    """
    threads, observers, force = options["threads"], options["observers"], options["force"]
    check_at_least("threads", threads, 1, error=ConfigError)
    if threads > _MOST_THREADS:
        raise ConfigError(f"threads must be at most {_MOST_THREADS}, got {threads}")
    target = Store(sink) if isinstance(sink, str | Path) else sink
    configs = united(configs)
    if options["keep_state"]:
        check_extendable(configs)
    target.check_writable()
    wanted = to_train(configs, target, observers, force=force)
    check_memory(wanted)
    if not force:
        looked = [config for config in wanted if look_at_end(config, target)]
        wanted = [*(config for config in wanted if config not in looked), *to_train(looked, target, observers)]
    stop = options["stop"] or Event()
    stacks = _Stacks(target, {**options, "stop": stop})
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(stacks.train, stack) for stack in stacks.plan(configs, wanted, threads)]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [config.key for config in wanted]


class _Stacks:
    """Trains stacks and publishes their runs; in a store with a saved state each, in the folder of a shard."""

    def __init__(self, sink: Sink, options: TrainOptions) -> None:
        self._sink, self._save_every = sink, options["save_every"]
        self._store = sink if isinstance(sink, Store) and not options["observers"] else None
        device = options["device"]
        self._kept = KeptStates(sink, options["keep_state"], device) if isinstance(sink, Store) else None
        self._how: dict[str, Any] = {
            "observers": options["observers"],
            "device": device,
            "on_epoch": options["on_epoch"],
            "stop": options["stop"],
            "kept": self._kept,
        }

    def plan(self, configs: Sequence[RunConfig], wanted: Sequence[RunConfig], threads: int) -> list[list[RunConfig]]:
        """Stacks that were begun as they were, and the rest of what is wanted grouped."""
        left = {config.key: config for config in wanted}
        begun: list[list[RunConfig]] = []
        if self._store is not None:
            shards = resumable_shards(self._store.root, {config.key for config in configs}, left)
            begun = [list(shard.configs) for shard in shards]
        for config in chain.from_iterable(begun):
            left.pop(config.key, None)
        apart = None if self._kept is None else self._kept.extended_at
        return [*begun, *plan_stacks(list(left.values()), threads, apart=apart)]

    def train(self, stack: Sequence[RunConfig]) -> None:
        """Train and publish; with a saved state, unless another process has this stack or locks do not work here."""
        if self._store is None:
            return self._train(stack, None)
        shard = Shard(tuple(stack))
        folder = shard.folder(self._store.root)
        with ExitStack() as held:
            mine = False
            with suppress(StoreError):
                mine = held.enter_context(lock(folder / "lock"))
            if not mine:
                return self._train(stack, None)
            try:
                write_shard(folder, shard)
                self._train(stack, StateKeeper(folder, self._save_every))
            except BaseException:
                if any(folder.rglob("state-*.json")):
                    raise
                shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)
        return None

    def _train(self, stack: Sequence[RunConfig], keeper: StateKeeper | None) -> None:
        again = []
        for config, result in zip(stack, train_stack(stack, keeper=keeper, **self._how), strict=True):
            missed = publish(self._sink, result)
            if missed:
                again.append(with_looks(config, missed))
        for rest in plan_stacks(again):
            self.train(rest)


def to_train(
    configs: Sequence[RunConfig], sink: Sink, observers: Sequence[Observer], *, force: bool = False
) -> list[RunConfig]:
    """What is left to train of configurations, each with what its stored run has looked at besides.

    An observer that cannot be told from others, and that stored runs were not trained again for, is warned about.

    Args:
        configs: Of different keys.
        sink: Where they may be stored.
        observers: Observers given as objects.
        force: Train also what is there and complete.
    """
    found: list[RunConfig] = []
    nameless: list[str] = []
    skipped = 0
    for config in configs:
        looks, nameless = observer_looks(observers, config.task)
        left = outstanding(config, sink, looks, force=force)
        skipped += left is None
        if left is not None:
            found.append(left)
    warn_unseen(skipped, nameless)
    return found


def plan_stacks(
    configs: Sequence[RunConfig],
    threads: int = 1,
    size: int = STACK_SIZE,
    *,
    apart: Callable[[RunConfig], int] | None = None,
) -> list[list[RunConfig]]:
    """Group configurations into stacks of at most ``size``, evenly filled, at least ``threads`` of them if possible.

    Args:
        configs: Any mixture.
        threads: How many stacks will train at the same time.
        size: Largest stack.
        apart: Runs of which this differs share no stack: the epoch at which they begin.

    Returns:
        Stacks, longest runs first.
    """
    stacks = []
    keyed = [((config.stack_key, apart(config) if apart else 0), config) for config in configs]
    for _, group in groupby(sorted(keyed, key=itemgetter(0)), key=itemgetter(0)):
        members = [config for _, config in group]
        rounds = -(-len(members) // (size * threads))
        count = min(len(members), rounds * threads)
        cuts = [len(members) * k // count for k in range(count + 1)]
        stacks += [members[a:b] for a, b in pairwise(cuts)]
    return sorted(stacks, key=lambda stack: -stack[0].epochs * len(stack))
