"""Which tests run which lines, and whether some of them fail when a mistake is planted.

The tests are collected once, in a process that then forks: each mistake is put into the functions of a child in place,
so that nothing is imported again. What only shows while a module is imported takes a fork without the package.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest
from plant import Mutant

OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:logging", "--no-header"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is loaded before the forks
_MEMORY = 8 << 30  # bytes that a mistake may take
_WAITED = 30.0  # the clock's seconds for one of the processor
_ENDS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_grace = 2.0  # seconds for a child to end its own children, who have half of them for theirs


@dataclass
class Covered:
    """What a clean run of some tests showed.

    Attributes:
        seconds: Of the processor, for each test.
        fixtures: That each test uses.
        lines: For each file of the package the tests, and the shared fixtures as ``fixture NAME``, that ran each line.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    fixtures: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run its lines, or any of the file where it is met by importing it; the quickest first."""
        of_file = self.lines.get(mutant.file, {})
        lines: Iterable[int] = mutant.lines if mutant.in_function else of_file
        names = {name for line in lines for name in of_file.get(line, ())}
        shared = {name.removeprefix("fixture ") for name in names if name.startswith("fixture ")}
        chosen = [t for t in self.seconds if t in names or shared.intersection(self.fixtures.get(t, ()))]
        return sorted(chosen, key=self.seconds.__getitem__)

    def limit(self, tests: list[str]) -> float:
        """Seconds of the processor after which they count as going on for ever."""
        return 30.0 + 5.0 * sum(self.seconds[t] for t in tests)


class Clean:
    """Runs what was collected once, under coverage; a test that takes longer than ``most`` seconds fails."""

    def __init__(self, cov: coverage.Coverage, most: float) -> None:
        self.cov, self.found, self.now, self.failed = cov, Covered(), "", list[str]()
        self.most = most
        signal.signal(signal.SIGPROF, lambda *_: pytest.fail("too slow to be planted in"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_PROF, self.most)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    def switch(self, name: str) -> None:
        self.now = name
        self.cov.switch_context(name)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.found.fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        self.switch(item.nodeid)
        started = time.process_time()
        result = yield
        self.found.seconds[item.nodeid] = time.process_time() - started
        self.switch("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        before = self.now
        if fixturedef.scope != "function":
            self.switch(f"fixture {fixturedef.argname}")
        result = yield
        self.switch(before)
        return result

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


class _FailedError(BaseException):
    """A test has failed; no exception that pytest would take for one of a test."""


class _Bail:
    """The first failure ends the run."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            raise _FailedError(report.nodeid)


class Collected:
    """The tests of a pytest that was stopped before it ran them; ``work`` is called there."""

    def __init__(self, package: Path, work: Callable[[Collected], None]) -> None:
        self.package, self.work = package / "grokfast", work
        self.session: Any = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        self.session = session
        self.items = {item.nodeid: item for item in session.items}
        self.functions: dict[tuple[str, str, int], list[FunctionType]] = {}
        for one in gc.get_objects():
            if type(one) is FunctionType and one.__code__.co_filename.startswith(str(self.package)):
                self.functions.setdefault(_key(one.__code__), []).append(one)
        self.work(self)
        return True

    def run(self, names: list[str]) -> None:
        items = [self.items[name] for name in names]
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)

    def clean(self, most: float) -> Covered:
        """Run all of them in a child; those that fail without a mistake, or are slow, are left out."""

        def job() -> Any:
            cov = coverage.Coverage(data_file=None, include=[f"{self.package}/*"], messages=False, config_file=False)
            plugin = Clean(cov, most)
            self.session.config.pluginmanager.register(plugin)
            cov.start()
            self.run(list(self.items))
            cov.stop()
            data = cov.get_data()
            for file in data.measured_files():
                name = str(Path(file).relative_to(self.package))
                plugin.found.lines[name] = {line: set(of) for line, of in data.contexts_by_lineno(file).items()}
            return plugin.failed, plugin.found

        found = in_fork(job, limit=7200.0)
        if not isinstance(found, tuple) or len(found[0]) > len(self.items) / 5:
            raise RuntimeError(f"tests fail without a mistake: {found and found[0]}")
        failed, clean = found
        assert isinstance(clean, Covered)
        for name in failed:
            print(f"left out, slow or failing without a mistake: {name}", flush=True)
            clean.seconds.pop(name, None)
        return clean

    def outcome(self, mutant: Mutant, source: str, tests: list[str], limit: float) -> tuple[str, str]:
        """What some tests say of a mistake put into the functions that there are.

        Returns:
            ``survived``, ``killed`` or ``timeout``, and the test that failed.

        Raises:
            ValueError: If it cannot be put into them.
        """
        changed: dict[tuple[str, str, int], list[CodeType]] = {}
        for code in _codes(compile(source, str(self.package / mutant.file), "exec", dont_inherit=True)):
            changed.setdefault(_key(code), []).append(code)
        pairs = [
            (f, changed.get(key, []))
            for key, each in self.functions.items()
            for f in each
            if key[0] == str(self.package / mutant.file)
        ]
        if any(len(codes) != 1 or len(codes[0].co_freevars) != len(f.__code__.co_freevars) for f, codes in pairs):
            raise ValueError("not one code for each function")

        def job() -> tuple[str, str]:
            for function, (code,) in pairs:
                function.__code__ = code
            self.session.config.pluginmanager.register(_Bail())
            try:
                self.run(tests)
            except _FailedError as error:
                return "killed", str(error)
            return "survived", ""

        found = in_fork(job, limit, quiet=True)
        return found or ("timeout" if found is None else "killed", "")  # by a crash


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def collect(package: Path, root: Path, tests: list[str], work: Callable[[Collected], None]) -> None:
    """Call ``work`` with the collected tests, in a child that has the copy of the package."""

    def job() -> int:
        _use(package, root)
        return int(pytest.main([*OPTIONS, *tests], plugins=[Collected(package, work)]))

    if in_fork(job, limit=1e9) != 0:
        raise RuntimeError("the tests could not be collected and run")


def outcome_anew(package: Path, root: Path, tests: list[str], limit: float) -> str:
    """The outcome with the copy of the package as it now is, imported anew."""

    def job() -> int:
        _use(package, root)
        return int(pytest.main([*OPTIONS, "-x", *tests]))

    code = in_fork(job, limit, quiet=True)
    return "timeout" if code is None else "survived" if code == 0 else "killed"


def _use(package: Path, root: Path) -> None:
    sys.path.insert(0, str(package))
    os.environ["PYTHONPATH"] = str(package)
    os.chdir(root)


def in_fork(job: Callable[[], Any], limit: float, quiet: bool = False) -> Any:
    """What a job returns; None if it takes more seconds of the processor, an empty text if it dies.

    The child ends with this process, however that ends; what the child started, unless this is killed.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _end_with(parent)
        os.close(read)
        if quiet:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            used = resource.getrusage(resource.RUSAGE_SELF)
            taken = math.ceil(limit + used.ru_utime + used.ru_stime)
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (taken, taken))
        try:
            with os.fdopen(write, "wb") as to:
                to.write(pickle.dumps(job()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with _ended_together(child), os.fdopen(read, "rb") as source:
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, min(_WAITED * limit, 1e9))  # what sleeps; a busy machine is no mistake
        text = source.read()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        status = os.waitpid(child, 0)[1]
    if text:
        return pickle.loads(text)
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
    return None if late else ""


@contextmanager
def _ended_together(child: int) -> Iterator[None]:
    """Signals that end this process end the group of a child first, which may have children of its own."""

    def end(number: int, _: object) -> None:
        for stronger in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):  # none is left
                os.killpg(child, stronger)
            until = time.monotonic() + _grace
            with suppress(ChildProcessError):
                while time.monotonic() < until and os.waitpid(child, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with(parent: int) -> None:
    """Let this process, a child, end when its parent does, or is killed."""
    global _grace
    _grace /= 2
    for number in _ENDS:
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
