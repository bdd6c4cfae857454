"""The named choices of the Ising sampler."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Dynamics(StrEnum):
    """How spins are updated.

    Members:
        METROPOLIS: Checkerboard single-spin flips with probability min(1, exp(-ΔE/T))
            (Metropolis et al., J. Chem. Phys. 21, 1087 (1953)).
        GLAUBER: Checkerboard single-spin flips with probability 1 / (1 + exp(ΔE/T))
            (Glauber, J. Math. Phys. 4, 294 (1963); the dynamics of arXiv 2502.01739).
        WOLFF: One cluster, grown from a random site and always flipped
            (Wolff, Phys. Rev. Lett. 62, 361 (1989)).
        SWENDSEN_WANG: All clusters, each flipped with probability 1/2
            (Swendsen and Wang, Phys. Rev. Lett. 58, 86 (1987)).
    """

    METROPOLIS = "metropolis"
    GLAUBER = "glauber"
    WOLFF = "wolff"
    SWENDSEN_WANG = "swendsen-wang"

    @property
    def is_local(self) -> bool:
        """Whether one sweep is one flip attempt for each site."""
        return self in (Dynamics.METROPOLIS, Dynamics.GLAUBER)


class Boundary(StrEnum):
    """What the edges of the lattice see: the opposite edge (``periodic``) or nothing (``open``)."""

    PERIODIC = "periodic"
    OPEN = "open"


class Start(StrEnum):
    """The named initial configurations; ``random`` is T = ∞, ``checkerboard`` alternates."""

    RANDOM = "random"
    UP = "up"
    DOWN = "down"
    CHECKERBOARD = "checkerboard"


class Layout(StrEnum):
    """How spins are held in memory, which decides the kernel that runs.

    Members:
        REPLICA: One bit a lattice: a word holds the same site of 64 lattices.
        SITE: One bit a block of rows: a word holds 64 sites of one lattice, Ly / 64 rows apart.
        SCALAR: One int8 a spin; takes every lattice, boundary, field and sign of J.
    """

    REPLICA = "replica"
    SITE = "site"
    SCALAR = "scalar"


class Phase(IntEnum):
    """The class of a snapshot, by its temperature: ordered for T < Tc, else disordered."""

    ORDERED = 0
    DISORDERED = 1
