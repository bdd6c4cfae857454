"""What a sampler was asked for: its arguments, checked, and their form in a saved state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, parse_choice
from grokfast.errors import InputError
from grokfast.ising.engine import FloatArray, Problem
from grokfast.ising.inputs import Shape, check_energy, mixed_seed, parse_shape, parse_temperatures, stream_key
from grokfast.ising.kinds import Boundary, Dynamics, Order, Seeding

ENGINE_STREAM, START_STREAM, INFINITE_STREAM, EXCHANGE_STREAM = 1, 2, 3, 4
"""The independent uses of a seed."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """The arguments of :class:`IsingSampler` that decide what is sampled.

    Attributes:
        rows: Ly.
        columns: Lx.
        temperatures: float64 ``[T]``.
        replicas: R.
        dynamics: The update.
        J: Coupling.
        field: h.
        boundary: The edges.
        order: In which order sites are visited.
        seeding: What the random numbers depend on.
        seed: As given.
    """

    rows: int
    columns: int
    temperatures: FloatArray
    replicas: int
    dynamics: Dynamics
    J: float
    field: float
    boundary: Boundary
    order: Order
    seeding: Seeding
    seed: int

    @classmethod
    def parse(cls, L: Shape, temperatures: npt.ArrayLike, replicas: int, **rest: Any) -> Parameters:
        """Check arguments as the user gives them.

        Args:
            L: Side or sides.
            temperatures: A number or numbers.
            replicas: R.
            **rest: The other attributes by name, enums also by value.

        Raises:
            InputError: If one is out of range, or they do not go together.
        """
        rows, columns = parse_shape("L", L)
        T = parse_temperatures(temperatures)
        check_at_least("replicas", replicas, 1)
        check_at_least("seed", rest["seed"], 0)
        dynamics = parse_choice("dynamics", rest["dynamics"], Dynamics)
        boundary = parse_choice("boundary", rest["boundary"], Boundary)
        J, field = rest["J"], rest["field"]
        check_energy("J", J)
        check_energy("field", field)
        order = parse_choice("order", rest["order"], Order)
        seeding = parse_choice("seeding", rest["seeding"], Seeding)
        if not dynamics.is_local and (J < 0 or order is Order.RANDOM):
            raise InputError(f"dynamics '{dynamics}' needs J >= 0 and no order of sites, got J = {J}, order '{order}'")
        return cls(
            rows, columns, T, int(replicas), dynamics, float(J), float(field), boundary, order, seeding,
            int(rest["seed"]),
        )  # fmt: skip

    @classmethod
    def from_config(cls, config: dict[str, Any], temperatures: npt.ArrayLike) -> Parameters:
        """What :meth:`config` was made of; older states lack some of it.

        Raises:
            InputError: If something is out of range.
            KeyError: If something is missing.
            TypeError: If something is of another type.
            ValueError: If the seed is no number.
        """
        return cls.parse(
            tuple(config["L"]),
            temperatures,
            config["replicas"],
            dynamics=config["dynamics"],
            J=config["J"],
            field=config["field"],
            boundary=config["boundary"],
            order=config.get("order", Order.CHECKERBOARD),
            seeding=config.get("seeding", Seeding.SEED),
            seed=int(config["seed"]),
        )

    def config(self) -> dict[str, object]:
        """Everything but the temperatures as JSON has it."""
        return {
            "L": [self.rows, self.columns],
            "replicas": self.replicas,
            "dynamics": self.dynamics.value,
            "J": self.J,
            "field": self.field,
            "boundary": self.boundary.value,
            "order": self.order.value,
            "seeding": self.seeding.value,
            "seed": str(self.seed),
        }

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, R, Ly, Lx)``."""
        return self.temperatures.size, self.replicas, self.rows, self.columns

    @property
    def what(self) -> str:
        """The work in words, for messages."""
        return f"sampling {self.temperatures.size} x {self.replicas} lattices of {self.rows} x {self.columns}"

    @property
    def spins(self) -> int:
        """Spins of all lattices."""
        return math.prod(self.shape)

    @property
    def identity(self) -> str:
        """What is mixed into the seed: it keeps the form that it had first, since bits depend on it."""
        return repr(
            [
                self.rows,
                self.columns,
                self.temperatures.tolist(),
                self.replicas,
                str(self.dynamics),
                str(self.order),
                str(self.boundary),
                self.J + 0.0,
                self.field + 0.0,
            ]
        )

    def key(self, stream: int, identity: str) -> int:
        """The key of one use of the seed; ``identity`` is that at the start, whatever has been set since."""
        if self.seeding is Seeding.SEED:
            return stream_key(self.seed, stream)
        return stream_key(mixed_seed(self.seed, identity), stream)

    def problem(self) -> Problem:
        """What the engine is to sample."""
        return Problem(
            rows=self.rows,
            columns=self.columns,
            temperatures=np.repeat(self.temperatures, self.replicas),
            dynamics=self.dynamics,
            boundary=self.boundary,
            J=self.J,
            field=self.field,
            key=self.key(ENGINE_STREAM, self.identity),
            order=self.order,
        )
