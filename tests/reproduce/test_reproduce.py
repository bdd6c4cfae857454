"""A whole reproduction on tiny tasks: complete, resumable, the same from its summaries, and killed ten times."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_stages import COMMAND, FEW, run_tiny, tiny_stages

from grokfast import load
from grokfast.errors import MissingRunsError, StoreError
from grokfast.report.claims import CLAIMS
from grokfast.report.page import build_page, read_made
from grokfast.reproduce import reproduce, stages_of, with_llc
from grokfast.sweep import Carried

SCRIPT = Path(__file__).resolve().parents[1] / "made" / "tiny_stages.py"


def same(page: Path) -> str:
    """The page but for times and host."""
    return re.sub(r"(<(\w+) data-varies>).*?(</\2>)", r"\1\3", page.read_text())


def test_everything_is_trained_measured_summarised_and_on_the_page(reproduced):
    runs = reproduced.summaries.parents[1]
    table = load(runs)
    assert {row["key"] for row in table.rows} == {key for stage in tiny_stages() for key in stage.keys}
    assert all(row["gini_weights"] is not None for row in table.rows)
    assert {file.name for file in reproduced.summaries.iterdir()} == {
        "main-text.parquet",
        "ising.parquet",
        "reproduction.json",
    }
    made = read_made(reproduced.summaries)
    assert made.command == COMMAND
    assert {"train main-text", "measure main-text", "train ising", "measure ising"} <= set(made.seconds)
    assert not reproduced.failed
    assert {figure.name for figure in reproduced.values["figures"] if not figure.missing} == set(FEW)
    assert [claim["name"] for claim in reproduced.values["claims"]] == list(CLAIMS)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grokfast.report.page.content.PAPERS", FEW)


def test_the_summaries_alone_give_the_same_page(reproduced, tmp_path):
    folder = shutil.copytree(reproduced.summaries, tmp_path / "summaries")
    build_page(folder, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == reproduced.page.read_text()


def test_a_second_time_there_is_nothing_to_do(reproduced, tmp_path):
    runs = shutil.copytree(reproduced.summaries.parents[1], tmp_path / "runs")
    told: list[tuple[str, dict]] = []
    carried = Carried(workers=1)
    again = reproduce(
        tiny_stages(), runs, "quick", COMMAND, carried, lambda kind, details: told.append((kind, details))
    )
    plans = [details["plan"] for kind, details in told if kind == "sweep" and details["kind"] == "plan"]
    assert len(plans) == 2
    assert all(plan.runs == 0 for plan in plans)
    assert same(again.page) == same(reproduced.page)
    before, after = (read_made(folder.summaries).seconds for folder in (reproduced, again))
    assert all(after[part] >= before[part] for part in before), "times add up over sittings"


def test_damaged_summaries_are_told(reproduced, tmp_path):
    with pytest.raises(StoreError, match="holds no summaries"):
        build_page(tmp_path, tmp_path / "page.html")
    folder = shutil.copytree(reproduced.summaries, tmp_path / "summaries")
    (folder / "ising.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"ising\.parquet cannot be read"):
        build_page(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_one_stage_alone_has_its_figures_and_says_what_the_others_need(tmp_path):
    stage = tiny_stages()[0]
    wild = replace(stage.configs[0], optimizer="sgd", learning_rate=1e30, seed=7)
    stages = [replace(stage, configs=(*stage.configs, wild))]
    result = reproduce(stages, tmp_path / "runs", "quick", COMMAND, Carried(workers=1), lambda kind, details: None)
    missing = {figure.name: figure.missing for figure in result.values["figures"] if figure.missing}
    assert missing["fig02a"] == "its runs are not there yet"
    assert "fig02b" not in missing
    text = result.page.read_text()
    assert "--only fig02a" in text
    # The run that diverged is in no figure, and is named.
    assert list(result.failed) == [wild.key]
    assert f"<dt>{wild.key[:8]}</dt><dd>diverged in epoch 1</dd>" in text


def test_the_coefficient_is_taken_of_the_stages_whose_figures_show_it(tmp_path, monkeypatch):
    monkeypatch.setattr("grokfast.reproduce.run.LLC", ("svd_rank",))  # stands for what takes minutes
    stages = with_llc(tiny_stages()[:1])
    told: list[str] = []
    reproduce(
        stages, tmp_path / "runs", "quick", COMMAND, Carried(workers=1), lambda kind, details: told.append(str(details))
    )
    assert any("llc main-text" in words for words in told)
    assert all(row["svd_rank"] is not None for row in load(tmp_path / "runs").rows)


def test_the_experiments_past_the_paper_are_decided_where_they_are_asked_for(tmp_path, monkeypatch):
    asked: list[tuple[Path, Path]] = []

    def decided(folder: Path, summaries: Path) -> list[Path]:
        asked.append((folder, summaries))
        return [folder / "beyond.md"]

    def undecided(folder: Path, summaries: Path) -> list[Path]:
        raise MissingRunsError("none of their runs is there")

    def made(**options):
        return reproduce([], tmp_path, "quick", COMMAND, Carried(workers=1), lambda kind, details: None, **options)

    monkeypatch.setattr("grokfast.reproduce.run.write_beyond", decided)
    assert made().beyond is None
    assert not asked
    found = made(beyond=True)
    assert found.beyond == tmp_path / "beyond.md"
    assert asked == [(tmp_path, found.summaries)]
    monkeypatch.setattr("grokfast.reproduce.run.write_beyond", undecided)
    left = made(beyond=True)
    assert left.beyond is None
    assert left.page.exists()


def test_which_stages_have_the_coefficient():
    chosen = {stage.name: stage.llc for stage in with_llc(stages_of("quick"))}
    assert chosen["main-text"]
    assert chosen["ising"]
    assert chosen["batch-200"]
    assert not chosen.get("main-text-dynamics", False)
    assert not any(stage.llc for stage in stages_of("quick"))


@pytest.mark.slow
def test_killed_at_ten_moments_it_ends_with_the_same_page(reproduced, tmp_path):
    rng = random.Random(19)
    runs = tmp_path / "runs"
    started = time.monotonic()
    run_tiny(tmp_path / "undisturbed")
    whole = time.monotonic() - started
    kills = 0
    while kills < 10:
        process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(runs)],
            cwd=tmp_path,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(rng.uniform(0.05, 0.8) * whole)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        if kills and (runs / "reproduction-quick.html").exists() and kills < 10:
            # It was done before its time: the next ones begin with part of it gone.
            (runs / "reproduction-quick.html").unlink()
            for key in rng.sample([config.key for config in tiny_stages()[0].configs], 2):
                shutil.rmtree(runs / key)
    assert same(run_tiny(runs).page) == same(reproduced.page)
