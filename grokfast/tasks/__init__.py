"""Tasks behind one protocol; ``TASKS`` lists them by name."""

from grokfast.tasks.base import Features, Split, Task, evaluate
from grokfast.tasks.modular_addition import ModularAddition
from grokfast.tasks.streams import stream

TASKS: dict[str, type[Task]] = {ModularAddition.name: ModularAddition}

__all__ = ["TASKS", "Features", "ModularAddition", "Split", "Task", "evaluate", "stream"]
