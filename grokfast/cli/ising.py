"""`grokfast ising`: the phase transition of the Ising model, or domains after a quench, in one command."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from grokfast._tables import Fitted, Heading
from grokfast.cli.printing import call, make_console, tell
from grokfast.errors import ConfigError

_Flat = tyro.conf.arg(name="")


def main(arguments: Sequence[str]) -> None:
    """The command."""
    call(ising, arguments, "grokfast ising")


@dataclass(frozen=True)
class Sampled:
    """How many lattices are swept, how often, and where from.

    Attributes:
        measurements: Of each replica at each temperature of a scan.
        replicas: Of each temperature of a scan; a quench averages over 4 times as many.
        sweeps: Of a quench.
        seed: The same seed gives the same numbers.
        threads: At most this many; 0 is one per core.
    """

    measurements: int = 500
    replicas: int = 4
    sweeps: int = 1000
    seed: int = 0
    threads: int = 0

    @property
    def at_most(self) -> int | None:
        """Threads as the sampler takes them."""
        if self.threads < 0:
            raise ConfigError(f"threads must be at least 1, or 0 for one per core, got {self.threads}")
        return self.threads or None


@dataclass(frozen=True)
class Move:
    """How spins move after a quench.

    Attributes:
        dynamics: Of a quench: glauber, or metropolis, which in checkerboard order does not coarsen as t^(1/2).
        order: Of a quench: checkerboard, or random sites as the master equation has them, much slower.
    """

    dynamics: Literal["glauber", "metropolis"] = "glauber"
    order: Literal["checkerboard", "random"] = "checkerboard"


_MOVE, _SAMPLED = Move(), Sampled()


def ising(
    L: tuple[int, ...] = (16, 32, 64),
    T: str = "1.5:3.5:40",
    quench: bool = False,
    move: Annotated[Move, _Flat] = _MOVE,
    sampled: Annotated[Sampled, _Flat] = _SAMPLED,
    out: Path = Path("grokfast-ising"),
) -> None:
    """The phase transition: a table and a figure with the exact curves, Tc, two exponents; or domains after a quench.

    A scan samples with clusters and compares with Onsager's and Kaufman's exact curves; the Binder cumulants' crossing
    gives Tc, and the sizes there give γ/ν and β/ν with 95 % intervals. Writes a CSV table and a PNG figure.

    Args:
        L: Sides of the lattices; a quench takes the first, at least 256 is good.
        T: Temperatures: first:last:how many, or numbers with commas between; a quench takes one, by default 0.
        quench: Show domains that grow after a quench from random spins instead.
        move: How spins move after a quench.
        sampled: How much is sampled.
        out: Folder for the table and the figure.
    """
    if not L:
        raise ConfigError("L must name at least one size")
    started = time.perf_counter()
    console = make_console()
    if quench:
        temperature = 0.0 if T == "1.5:3.5:40" else _single(T)
        files = _quench(console, L[0], temperature, move, sampled, out)
    else:
        files = _scan(console, L, temperatures_of(T), sampled, out)
    tell(console, f"took {time.perf_counter() - started:.0f} s")
    for file in files:
        tell(console, f"wrote {file.resolve()}")


def temperatures_of(text: str) -> list[float]:
    """``first:last:count`` or numbers with commas between.

    Args:
        text: What the user wrote.

    Returns:
        The temperatures.

    Raises:
        ConfigError: If it is neither.
    """
    try:
        if ":" in text:
            first, last, count = text.split(":")
            n = int(count)
            if n < 1:
                raise ValueError
            step = (float(last) - float(first)) / max(1, n - 1)
            return [float(first) + step * i for i in range(n)]
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"T must be first:last:how-many, such as 1.5:3.5:40, or numbers as in 2.0,2.27, got {text!r}"
        ) from None


def _single(text: str) -> float:
    values = temperatures_of(text)
    if len(values) != 1:
        raise ConfigError(f"a quench takes one temperature, got {text!r}")
    return values[0]


def _scan(console: Console, L: tuple[int, ...], temperatures: list[float], sampled: Sampled, out: Path) -> list[Path]:
    from grokfast.ising.estimates import UnreliableErrorWarning
    from grokfast.ising.exact import critical_temperature
    from grokfast.ising.scan import temperature_scan
    from grokfast.ising.scan_pictures import plot_scan

    with console.status("sampling") as status, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableErrorWarning)  # the table's last column says it
        scan = temperature_scan(
            L,
            temperatures,
            seed=sampled.seed,
            replicas=sampled.replicas,
            measurements=sampled.measurements,
            threads=sampled.at_most,
            step=lambda what: status.update(f"sampling {what}"),
        )
    rows = scan.rows()
    console.print(_table(rows))
    found = scan.finite_size
    if found is None:
        tell(console, f"no finite-size estimates: {scan.why_not}")
    else:
        exact = {"Tc": f"{critical_temperature():.5f}", "gamma/nu": "7/4", "beta/nu": "1/8"}
        for (name, value), number in zip(exact.items(), found[:3], strict=True):
            tell(
                console,
                f"{name:8} = {number.value:.4f} ± {number.error:.4f}   95 %: [{number.low:.4f}, {number.high:.4f}]"
                f"   exact {value}",
            )
    out.mkdir(parents=True, exist_ok=True)
    table, figure = out / "ising.csv", out / "ising.png"
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot_scan(scan).savefig(figure, dpi=200)
    return [table, figure]


def _table(rows: list[dict[str, float | int | str]]) -> Fitted:
    names = ["energy", "specific_heat", "abs_magnetization", "susceptibility", "binder"]
    headings = [*map(Heading, ("L", "T", "e", "c", "|m|", "chi", "Binder")), Heading("errors", "left")]
    cells = [
        [
            str(row["L"]),
            f"{row['T']:.4g}",
            *(_with_error(float(row[name]), float(row[f"{name}_error"])) for name in names),
            str(row["status"]),
        ]
        for row in rows
    ]
    return Fitted(headings, cells, ruled=False)


def _with_error(value: float, error: float) -> str:
    """Value(error), the error in units of the last digit shown: 1.234(5)."""
    if not error > 0.0:
        return f"{value:.4g}"
    from math import floor, log10

    digits = max(0, 1 - floor(log10(error)))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def _quench(console: Console, L: int, temperature: float, move: Move, sampled: Sampled, out: Path) -> list[Path]:
    from grokfast.ising.quench import quench
    from grokfast.ising.scan_pictures import plot_quench

    replicas = 4 * sampled.replicas
    with console.status("sweeping"):
        result = quench(
            L,
            temperature,
            sweeps=sampled.sweeps,
            replicas=replicas,
            dynamics=move.dynamics,
            order=move.order,
            seed=sampled.seed,
            threads=sampled.at_most,
        )
    seen = zip(result.times[::3], result.lengths[::3], result.errors[::3], strict=True)
    cells = [(str(t), _with_error(float(length), float(error))) for t, length, error in seen]
    console.print(Fitted([Heading("sweeps"), Heading("domain size")], cells, ruled=False))
    slope, error = result.exponent
    if slope == slope:
        first, last = result.fitted
        fit = f"L(t) ~ t^{slope:.3f} ± {error:.3f} from t = {first} to {last}"
    else:
        fit = f"no exponent: too few times from 8 sweeps on with domains below L / 5 = {L / 5:g}"
    tell(console, f"{result.dynamics}: {fit}; Allen-Cahn has 1/2")
    tell(console, f"{100 * result.striped:.0f} % of {replicas} quenches end with |m| < 0.5")
    out.mkdir(parents=True, exist_ok=True)
    data, figure = out / "quench.csv", out / "quench.png"
    lines = ["t,length,error"]
    lines += [f"{t},{length},{e}" for t, length, e in zip(result.times, result.lengths, result.errors, strict=True)]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot_quench(result).savefig(figure, dpi=200)
    return [data, figure]
