"""Two versions of one run: whether they are the same training to the bit, and all that both of them saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_ENVIRONMENT = ("torch", "instruction_set", "engine")
_TIMES = ("t_", "groks", "plateau_end", "settled", "test_looks")  # what the epochs of the test passes decide


@dataclass(frozen=True)
class Content:
    """A version of a run.

    Attributes:
        record: JSON values.
        history: Columns by name.
        tensors: Arrays by name, by file.
    """

    record: Mapping[str, Any]
    history: Arrays
    tensors: Mapping[str, Arrays]


def same_bits(one: Content, other: Content) -> bool:
    """Whether two versions come from equal environments and end with the same bits.

    What an early record does not tell of its environment counts as equal: the end bits decide.
    """
    ours, theirs = one.record.get("versions", {}), other.record.get("versions", {})
    for name in _ENVIRONMENT:
        if None not in (ours.get(name), theirs.get(name)) and ours[name] != theirs[name]:
            return False
    ends = [_end(content) for content in (one, other)]
    return bool(ends[0]) and ends[0] == ends[1]


def merged(earlier: Content, later: Content) -> Content:
    """All that two versions of the same bits saw; where both saw something, the later one's.

    A quantity that depends on when it was looked at comes from the version that looked more often.
    """
    record = dict(later.record)
    summary = {**earlier.record.get("summary", {}), **later.record.get("summary", {})}
    if len(tested(earlier.record, earlier.history)) > len(tested(later.record, later.history)):
        summary |= {n: v for n, v in earlier.record.get("summary", {}).items() if n.startswith(_TIMES)}
    record["summary"] = summary
    before, now = earlier.record.get("looks", {}), later.record.get("looks", {})
    record["looks"] = {
        name: list(dict.fromkeys([*before.get(name, []), *now.get(name, [])])) for name in {**before, **now}
    }
    own = {column["name"] for column in later.record.get("columns", [])}
    record["columns"] = [
        *later.record.get("columns", []),
        *(column for column in earlier.record.get("columns", []) if column["name"] not in own),
    ]
    whole = own - later.record.get("problems", {}).keys()
    record["problems"] = {
        **{name: why for name, why in earlier.record.get("problems", {}).items() if name not in whole},
        **later.record.get("problems", {}),
    }
    record["parent"] = later.record.get("parent") or earlier.record.get("parent")
    tensors = {
        name: {**earlier.tensors.get(name, {}), **later.tensors.get(name, {})}
        for name in {**earlier.tensors, **later.tensors}
    }
    return Content(record, _joined(earlier.history, later.history), tensors)


def tested(record: Mapping[str, Any], history: Arrays) -> set[int]:
    """Epochs with a test pass."""
    values = history.get("test_loss")
    return set() if values is None else set(np.asarray(history["epoch"])[~np.isnan(values)].tolist())


def _end(content: Content) -> dict[str, bytes]:
    checkpoints = content.tensors.get("checkpoints", {})
    last = max((int(name.split("/", 1)[0]) for name in checkpoints), default=0)
    return {name: values.tobytes() for name, values in checkpoints.items() if name.startswith(f"{last}/")}


def _joined(earlier: Arrays, later: Arrays) -> dict[str, NDArray[Any]]:
    columns = {name: np.asarray(values) for name, values in later.items()}
    for name, values in earlier.items():
        if name not in columns:
            columns[name] = np.asarray(values)
        elif np.issubdtype(columns[name].dtype, np.floating):
            columns[name] = np.where(np.isnan(columns[name]), values, columns[name])
    return columns
