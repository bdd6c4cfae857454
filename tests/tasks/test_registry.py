from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from grokfast.errors import ConfigError, MissingTaskError
from grokfast.tasks import (
    TASKS,
    Ising,
    ModularAddition,
    NetworkTask,
    Task,
    find_task,
    reference_of,
    register_task,
    task_from_dict,
    task_to_dict,
)
from grokfast.tasks.reserved import SETTINGS, is_reserved
from grokfast.training import RunConfig

FILE = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from grokfast.tasks import NetworkTask, register_task

print("imported", __name__)

@register_task
@dataclass(frozen=True)
class Product(NetworkTask):
    name: ClassVar[str] = "own-product"
    P: int = 5
    widths: tuple[int, ...] = (4,)

    def data(self):
        pairs = torch.cartesian_prod(torch.arange(self.P), torch.arange(self.P))
        return pairs, pairs.prod(1) % self.P

    def encode(self, inputs, dtype):
        return nn.functional.one_hot(inputs, self.P).flatten(-2).to(dtype)

    def module(self):
        return nn.Sequential(nn.Linear(2 * self.P, self.widths[0]), nn.ReLU(), nn.Linear(self.widths[0], self.P))
"""


@dataclass(frozen=True)
class Small(NetworkTask):
    name: ClassVar[str] = "small-test-task"
    size: int = 6
    rate: float = 0.5

    def data(self):
        return torch.eye(self.size), torch.arange(self.size)

    def module(self):
        return nn.Linear(self.size, self.size)


def run_python(code, folder, **environment):
    """A fresh process whose script lies in the folder."""
    script = folder / "caller.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tasks_of_the_package_are_registered():
    assert TASKS["modular-addition"] is ModularAddition
    assert find_task("ising") is Ising
    assert reference_of(Ising) == "ising"
    for cls in TASKS.values():
        task = cls()
        assert isinstance(task, Task)
        assert task_from_dict(json.loads(json.dumps(task_to_dict(task)))) == task


def test_the_settings_of_a_run_are_reserved_by_case_too():
    assert {field.name for field in dataclasses.fields(RunConfig)} <= set(SETTINGS)
    for name in ("seed", "Seed", "W0", "train_loss", "end_test_accuracy", "T_Grok", "t_grok_90", "key", "Epoch"):
        assert is_reserved(name), name
    for name in ("P", "L", "hidden", "train_fraction", "label_noise", "train_size", "learning"):
        assert not is_reserved(name), name


def test_a_reference_goes_there_and_back():
    task = Small(size=3)
    written = task_to_dict(task)
    assert written["name"] == f"{__name__}:Small"
    assert task_from_dict(written) == task
    assert find_task(f"{__name__}:Small") is Small
    assert RunConfig.from_dict(RunConfig(task=task).to_dict()).task == task


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "modular-adition"}, "did you mean 'modular-addition'"),
        ({"name": "no_such_module:Task"}, "no module no_such_module on the import path"),
        ({"name": f"{__name__}:Smal"}, "did you mean 'Small'"),
        ({"name": "math:pi"}, "expected a class that is a task"),
        ({"name": "torch:Tensor"}, "is no task"),
        ({"name": f"{__name__}:Small", "siz": 3}, "has no field 'siz'; did you mean 'size'"),
        ({"name": f"{__name__}:Small", "size": "3"}, "size must be of type int"),
        ({"size": 3}, "with its name"),
        ({"name": "./my_tasks.py:Task"}, "expected module:attribute, such as my_file:Name"),
        ({"name": "folder/my_tasks:Task"}, "expected module:attribute"),
        ({"name": ":Task"}, "expected module:attribute"),
        ({"name": f"{__name__}:"}, "expected module:attribute"),
        ({"name": " my_tasks:Task"}, "expected module:attribute"),
        ({"name": f"{__name__}:Small.__init__()"}, "expected module:attribute"),
    ],
)
def test_what_cannot_be_found_is_said_plainly(values, words):
    with pytest.raises(ConfigError, match=words):
        task_from_dict(values)


def test_a_module_that_needs_another_names_it(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import surely_not_installed")
    (tmp_path / "breaks.py").write_text("1 / 0")
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingTaskError, match="needs_more needs surely_not_installed, which is missing"):
        find_task("needs_more:Task")
    with pytest.raises(MissingTaskError, match="breaks cannot be imported: ZeroDivisionError"):
        find_task("breaks:Task")
    with pytest.raises(MissingTaskError, match="leaves cannot be imported: SystemExit: 3"):
        find_task("leaves:Task")


def test_what_cannot_be_registered():
    def registered(words, **parts):
        body = {"__annotations__": {}, "name": "refused", **parts}
        for name, value in parts.items():
            if name not in ("name", "__annotations__"):
                body["__annotations__"][name] = type(value)
        with pytest.raises(ConfigError, match=words):
            register_task(dataclass(frozen=True)(type("Refused", (Small,), body)))

    registered("field 'Seed'", Seed=1)
    registered("field 'TRAIN_LOSS'", TRAIN_LOSS=1.0)
    registered("fields 'size' and 'Size'", Size=1)
    registered("lower-case", name="Refused Task")
    registered("there is a task 'ising' already", name="ising")
    inherits = dataclass(frozen=True)(type("Inherits", (Ising,), {}))
    with pytest.raises(ConfigError, match="inherits 'ising', which is another task's"):
        register_task(inherits)
    with pytest.raises(ConfigError, match=r"@dataclass\(frozen=True\)"):
        register_task(type("Plain", (Small,), {"name": "plain"}))
    with pytest.raises(ConfigError, match="is no task"):
        register_task(int)
    assert set(TASKS) >= {"ising", "modular-addition"}
    assert "refused" not in TASKS


def test_a_class_inside_a_function_cannot_be_recorded():
    @dataclass(frozen=True)
    class Local(Small):
        name: ClassVar[str] = "local"

    with pytest.raises(ConfigError, match="move the class to the top of its file"):
        task_to_dict(Local())


def test_a_task_of_the_script_that_runs_is_named_after_its_file(tmp_path):
    script = FILE + (
        "if __name__ == '__main__':\n"
        "    import json\n"
        "    from grokfast.tasks import find_task, task_from_dict, task_to_dict\n"
        "    written = json.dumps(task_to_dict(Product(P=7, widths=(3,))))\n"
        "    assert type(task_from_dict(json.loads(written))) is Product\n"
        "    print(written)\n"
    )
    out = run_python(script, tmp_path).splitlines()
    assert out[0] == "imported __main__"  # once: not a second time as a module
    assert len(out) == 2
    (tmp_path / "other").mkdir()
    written = out[1]
    assert json.loads(written)["name"] == "caller:Product"
    reader = f"import json, sys\nsys.path.insert(0, {str(tmp_path / 'tasks')!r})\n" + (
        "from grokfast.tasks import task_from_dict\n"
        f"task = task_from_dict(json.loads({written!r}))\n"
        "print(task.P, task.widths)\n"
    )
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "caller.py").write_text(script)
    (tmp_path / "other" / "reader.py").write_text(reader)
    done = subprocess.run([sys.executable, "reader.py"], capture_output=True, text=True, cwd=tmp_path / "other")
    assert done.stdout.splitlines() == ["imported caller", "7 (3,)"], done.stderr


def test_an_installed_package_names_its_tasks_by_an_entry_point(tmp_path):
    (tmp_path / "own_tasks.py").write_text(FILE)
    info = tmp_path / "own_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[grokfast.tasks]\nown-product = own_tasks:Product\n")
    code = (
        "from grokfast.tasks import TASKS, find_task, reference_of\n"
        "assert 'own-product' not in TASKS\n"
        "print(reference_of(find_task('own-product')))\n"
    )
    assert run_python(code, tmp_path).splitlines() == ["imported own_tasks", "own-product"]
