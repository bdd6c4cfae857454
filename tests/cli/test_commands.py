from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from grokfast.cli import main

TINY = ["--P", "7", "--hidden", "8", "--epochs", "3"]


def _fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_train_then_runs_then_figure(tmp_path, capsys):
    folder = str(tmp_path / "runs")
    command = ["train", "modular-addition", *TINY, "--w0", "0.5", "4", "--seeds", "2", "--runs", folder]
    main(command)
    out = capsys.readouterr().out
    assert "4 runs: 0 are in" in out
    assert folder in out
    main(command)
    assert "0 to train" in capsys.readouterr().out
    main(["runs", "--runs", folder, "--where", "w0 < 1"])
    assert "2 runs in" in capsys.readouterr().out
    main(["runs", "--runs", folder, "--sql", "SELECT max(w0) AS largest FROM runs"])
    assert "largest" in capsys.readouterr().out
    main(["figure", "fig02b", "--runs", folder, "--out", str(tmp_path / "out")])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"fig02b.png", "fig02b.svg"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--w0", "0"], "w0 must be a finite number > 0, got 0.0"),
        (["--learning-rate", "0"], "learning_rate must be"),
        (["--train-fraction", "1"], "train_fraction must lie in (0, 1), got 1.0"),
        (["--P", "1"], "P must be an integer >= 2, got 1"),
        (["--batch-size", "0"], "batch_size must be an integer >= 1, got 0"),
        (["--optimizer", "adamm"], "did you mean 'adam'"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--w0", "1", "1"], "1 repeated"),
        (["--device", "cuda:7"], "device must be"),
        (["--epoch", "3"], "--epochs"),
    ],
)
def test_bad_training_input_is_one_clear_message(arguments, words, tmp_path, capsys):
    error = _fails(capsys, "train", "modular-addition", "--runs", str(tmp_path / "runs"), *arguments)
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_store_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    error = _fails(capsys, "train", "modular-addition", *TINY, "--runs", str(tmp_path / "file" / "runs"))
    assert "must be writable" in error


def test_looking_at_what_is_not_there(tmp_path, capsys, runs_folder):
    assert "not a folder" in _fails(capsys, "runs", "--runs", str(tmp_path / "none"))
    assert "did you mean 'fig05a'" in _fails(capsys, "figure", "fig5a", "--runs", str(runs_folder))
    error = _fails(capsys, "figure", "fig04", "--runs", str(runs_folder), "--where", "w0 > 5")
    assert "grokfast sweep main-text-ends --size laptop --runs" in error
    assert "invalid query" in _fails(capsys, "runs", "--runs", str(runs_folder), "--where", "nope = 1")
    assert "report must be one of" in _fails(capsys, "report", "isnig", "--runs", str(runs_folder))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nowhere_to_print(stream, monkeypatch):
    """As after ``grokfast ... >&-``: Python has None there."""
    monkeypatch.setattr(sys, stream, None)
    main(["--version"])
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    getattr(sys, stream).close()


def test_report(runs_folder, tmp_path, capsys):
    main(["report", "modular-addition", "--runs", str(runs_folder), "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert "| onset of grokking, w0 |" in page
    assert " nan" not in page


def test_doctor_says_what_is_native(capsys):
    main(["doctor"])
    out = capsys.readouterr().out
    for words in ("native build:", "CUDA kernels built:", "Numba cache:", "threading layer"):
        assert words in out


def test_doctor_when_switched_off(tmp_path):
    code = "from grokfast.cli import main; main(['doctor'])"
    environment = {"GROKFAST_NATIVE": "off", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "native build: no" in done.stdout
    assert "unset GROKFAST_NATIVE" in done.stdout


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    main(["demo", "--runs", str(tmp_path / "demo"), "--epochs", "120"])
    out = capsys.readouterr().out
    assert "groks" in out
    assert "learns" in out
    assert (tmp_path / "demo" / "figures" / "demo.svg").is_file()


def test_interrupting_training_ends_it_silently_with_130(tmp_path):
    (tmp_path / "told.py").write_text(
        "import os\n"
        "from grokfast import Column\n"
        "from grokfast.observe import measure\n"
        "@measure(columns=[Column('told', 'nothing')])\n"
        "def told(snapshot):\n"
        "    if snapshot.epoch == 20: os.write(1, b'training\\n')\n"
        "    return {'told': next(iter(snapshot.params.values())).flatten(1).sum(1)}\n"
    )
    options = ["--w0", "1", "--epochs", "100000", "--observe", "told:told@at:20", "--runs", str(tmp_path / "runs")]
    # A shell's background jobs ignore SIGINT, and so would their children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from grokfast.cli import main; main({['train', 'modular-addition', *TINY[:4], *options]!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,  # away from the checkout, whose folder would be imported
    )
    assert process.stdout is not None
    assert "1 to train" in process.stdout.readline()
    # On a busy machine lines of its progress come before.
    assert any(line == "training\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error == ""


@pytest.mark.slow
def test_demo_of_ising(tmp_path, capsys):
    main(["demo", "--task", "ising", "--runs", str(tmp_path / "demo")])
    out = capsys.readouterr().out
    assert "groks" in out
    assert "learns" in out
    assert (tmp_path / "demo" / "figures" / "demo-ising.svg").is_file()


def test_train_ising_then_runs_then_report(tmp_path, capsys):
    folder = str(tmp_path / "runs")
    small = "--L 8 --temperatures 6 --snapshots 20 --sweeps 5 --train-size 20 --test-size 40 --hidden 6"
    command = ["train", "ising", *small.split(), "--epochs", "4", "--w0", "1", "3", "--runs", folder]
    main(command)
    assert "2 runs: 0 are in" in capsys.readouterr().out
    main([*command, "--batch-size", "20"])  # all of them, as by default
    assert "0 to train" in capsys.readouterr().out
    main(["runs", "--runs", folder])
    assert "r~ of E, hidden layer" in " ".join(capsys.readouterr().out.split())
    main(["report", "ising", "--runs", folder])
    out = capsys.readouterr().out
    assert "## G2: " in out
    assert "| test accuracy at the end, learning |" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--L", "10"], "L must be divisible by 4"),
        (["--snapshots", "20"], "need 650 ordered snapshots"),
        (["--temperatures", "1"], "need 650 disordered snapshots, temperatures and snapshots give 0"),
        (["--data-file", "none.npz"], "none.npz cannot be used: No such file"),
        (["--dynamics", "wolf"], "did you mean 'wolff'"),
    ],
)
def test_bad_ising_input_is_one_clear_message(arguments, words, tmp_path, capsys):
    error = _fails(capsys, "train", "ising", "--runs", str(tmp_path / "runs"), *arguments)
    assert words in error
    assert not (tmp_path / "runs").exists()
