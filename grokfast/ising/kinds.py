"""The named choices of the Ising sampler."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Dynamics(StrEnum):
    """How spins are updated.

    Members:
        METROPOLIS: Single-spin flips with probability min(1, exp(-ΔE/T))
            (Metropolis et al., J. Chem. Phys. 21, 1087 (1953)). For equilibrium; for quenches only in random order,
            see :class:`Order`.
        GLAUBER: Single-spin flips with probability 1 / (1 + exp(ΔE/T))
            (Glauber, J. Math. Phys. 4, 294 (1963); the dynamics of arXiv 2502.01739). Right for quenches.
        WOLFF: One cluster, grown from a random site and flipped; in a field it joins a ghost spin with probability
            1 - exp(-2|h|/T) a site that lies along the field, and is not flipped then (Wolff, Phys. Rev. Lett. 62, 361
            (1989); ghost spin: Coniglio, de Liberto, Monroy and Peruggi, J. Phys. A 22, L837 (1989)).
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


class Order(StrEnum):
    """In which order single-spin dynamics visits the sites; equilibrium is the same, the way there is not.

    Members:
        CHECKERBOARD: All sites with y + x even and then the others; row by row where an odd periodic side rules that out.
            Fast. Metropolis accepts all moves with ΔE = 0 of a colour at once in it, which spoils coarsening: domains do
            not grow as t^(1/2). Use Glauber for quenches.
        RANDOM: As many sites as the lattice has, each drawn at random, on the plain path. What the master equation says,
            and right for quenches with either dynamics (random-site Glauber is that of arXiv 2502.01739's authors).
    """

    CHECKERBOARD = "checkerboard"
    RANDOM = "random"


class Seeding(StrEnum):
    """What the random numbers depend on.

    Members:
        PARAMETERS: The seed and every parameter of the sampler: two samplers that differ in L, temperatures, dynamics
            or anything else (but threads) share no random numbers, also with the same seed.
        SEED: The seed alone, as in states of version 1; :func:`grokfast.ising_dataset` keeps it, and its data.
    """

    PARAMETERS = "parameters"
    SEED = "seed"


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
        SITE: One bit a block of rows: a word holds up to 64 sites of one lattice.
        SCALAR: One int8 a spin; takes every lattice and dynamics.
    """

    REPLICA = "replica"
    SITE = "site"
    SCALAR = "scalar"


class Phase(IntEnum):
    """The class of a snapshot, by its temperature: ordered for T < Tc, else disordered."""

    ORDERED = 0
    DISORDERED = 1
