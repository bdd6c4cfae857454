"""Which tests run which lines, and whether some of them fail, each in a fork that has torch but not yet the package."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

_MEMORY = 8 << 30  # bytes that a mistake may take


@dataclass
class Covered:
    """What a clean run of some tests showed.

    Attributes:
        seconds: Of each test.
        fixtures: That each test uses.
        lines: For each file of the package the tests, and the shared fixtures as ``fixture NAME``, that ran each line;
            the empty name is what ran when the file was imported.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    fixtures: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def tests_of(self, file: str, lines: Iterable[int]) -> list[str]:
        """The tests that run one of these lines, the quickest first."""
        of_file = self.lines.get(file, {})
        names = {name for line in lines for name in of_file.get(line, ())}
        if "" in names:
            names = {name for every in of_file.values() for name in every}
        shared = {name.removeprefix("fixture ") for name in names if name.startswith("fixture ")}
        chosen = [t for t in self.seconds if t in names or shared.intersection(self.fixtures.get(t, ()))]
        return sorted(chosen, key=self.seconds.__getitem__)


class _Contexts:
    """Tells coverage which test, or which fixture that several tests share, is running."""

    def __init__(self, cov: coverage.Coverage, found: Covered) -> None:
        self.cov, self.found, self.now = cov, found, ""

    def switch(self, name: str) -> None:
        self.now = name
        self.cov.switch_context(name)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.found.fixtures[item.nodeid] = list(getattr(item, "fixturenames", ()))
        self.switch(item.nodeid)
        started = time.perf_counter()
        result = yield
        self.found.seconds[item.nodeid] = time.perf_counter() - started
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


OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:logging", "--no-header"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is loaded before the forks


def covered(package: Path, root: Path, tests: list[str]) -> Covered:
    """Run the tests with the copy of the package in ``package`` and note what they ran; raises if one fails."""

    def job() -> Any:
        cov = coverage.Coverage(data_file=None, include=[f"{package}/grokfast/*"], messages=False, config_file=False)
        found = Covered()
        cov.start()
        code = pytest.main([*OPTIONS, *tests], plugins=[_Contexts(cov, found)])
        cov.stop()
        data = cov.get_data()
        for file in data.measured_files():
            name = str(Path(file).relative_to(package / "grokfast"))
            found.lines[name] = {line: set(names) for line, names in data.contexts_by_lineno(file).items()}
        return code, found

    answer = _in_fork(job, package, root, limit=3600.0, loud=True)
    if not isinstance(answer, tuple) or answer[0] != 0:
        raise RuntimeError(f"the tests fail without a mistake: {' '.join(tests)}")
    result = answer[1]
    assert isinstance(result, Covered)
    return result


def outcome(package: Path, root: Path, tests: list[str], limit: float) -> str:
    """``survived``, ``killed`` or ``timeout`` of some tests with the copy of the package as it now is."""
    code = _in_fork(lambda: int(pytest.main([*OPTIONS, "-x", *tests])), package, root, limit)
    if code is None:
        return "timeout"
    if code in (4, 5):  # no such test; or the mistake is met while conftest is imported
        imported = _in_fork(lambda: __import__("grokfast.cli.figure") is None, package, root, limit)
        if imported is False:
            raise RuntimeError(f"pytest finds no test: {tests}")
    return "survived" if code == 0 else "killed"


def _in_fork(job: Callable[[], Any], package: Path, root: Path, limit: float, loud: bool = False) -> Any:
    """What a job returns; None if it takes longer, an empty text if it dies."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(read)
        sys.path.insert(0, str(package))
        os.environ["PYTHONPATH"] = str(package)
        os.chdir(root)
        if not loud:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        try:
            with os.fdopen(write, "wb") as to:
                to.write(pickle.dumps(job()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, limit)
    started = time.perf_counter()
    with os.fdopen(read, "rb") as source:
        text = source.read()
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    os.waitpid(child, 0)
    if text:
        return pickle.loads(text)
    return None if time.perf_counter() - started >= limit else ""
