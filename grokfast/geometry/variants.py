"""Which Fisher metric geometry is measured in: of softmax or logits, diagonal or whole, on how many samples."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from grokfast._checks import check_at_least, parse_choice
from grokfast.errors import ConfigError
from grokfast.fisher import Likelihood

_FORM = (
    "'FISHER-SAMPLES' with '-train' or '-full' behind it where they are meant, such as 'logit-16', 'softmax-all-train' "
    "or 'softmax-all-full'"
)


class MetricFisher(StrEnum):
    """Which Fisher information is the metric."""

    SOFTMAX = "softmax"
    """Of the model's class probabilities, exact (arXiv 2502.01739, eq. 14)."""
    LOGIT = "logit"
    """Of the logits under unit variance: what the paper's published code computes."""

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood that gives it, with exact labels."""
        return Likelihood.CATEGORICAL if self is MetricFisher.SOFTMAX else Likelihood.GAUSSIAN


@dataclass(frozen=True, order=True)
class Variant:
    """One metric.

    Args:
        fisher: ``"softmax"`` or ``"logit"``.
        samples: The first so many of the inputs; 0 is all of them.
        full: The whole Fisher matrix in place of its diagonal.
        train: The expectation is over training inputs, as the paper's text has it, and not over test inputs, as its
            published code.

    Raises:
        ConfigError: If a value is out of range.
    """

    fisher: MetricFisher = MetricFisher.SOFTMAX
    samples: int = 0
    full: bool = False
    train: bool = False

    def __post_init__(self) -> None:
        fisher = parse_choice("the metric's Fisher information", self.fisher, MetricFisher, error=ConfigError)
        object.__setattr__(self, "fisher", fisher)
        check_at_least("samples of the metric", self.samples, 0, error=ConfigError)

    def __str__(self) -> str:
        return f"{self.fisher}-{self.samples or 'all'}" + "-train" * self.train + "-full" * self.full

    @property
    def diagonal(self) -> Variant:
        """The same with the diagonal only."""
        return Variant(self.fisher, self.samples, train=self.train)


def parse_variants(text: str) -> tuple[Variant, ...]:
    """The metrics that a text such as ``"logit-16+softmax-all+softmax-all-full"`` names, in sorted order.

    Args:
        text: Names joined by ``+``; an empty text names none.

    Raises:
        ConfigError: If a name has another form, or stands twice.
    """
    if not isinstance(text, str):
        raise ConfigError(f"geometry must be a text of metrics {_FORM}, joined by '+', got {text!r}")
    found = [_parse(name) for name in text.split("+")] if text else []
    if len(set(found)) < len(found):
        raise ConfigError(f"geometry names a metric twice: {text!r}")
    return tuple(sorted(found))


def _parse(name: str) -> Variant:
    parts = name.split("-")
    train, full = "train" in parts[2:], parts[2:][-1:] == ["full"]
    if (
        parts[2:] != ["train"] * train + ["full"] * full
        or len(parts) < 2
        or not (parts[1] == "all" or (parts[1].isdecimal() and int(parts[1]) > 0))
    ):
        raise ConfigError(f"a metric must be {_FORM}, got {name!r}")
    fisher = parse_choice("the metric's Fisher information", parts[0], MetricFisher, error=ConfigError)
    return Variant(fisher, 0 if parts[1] == "all" else int(parts[1]), full, train)
