"""What a reproduction trains: everything that claims and figures name, and nothing twice."""

from __future__ import annotations

import pytest

from grokfast.errors import ConfigError
from grokfast.figures import FIGURES
from grokfast.report.claims import CLAIMS
from grokfast.reproduce import SIZES, stages_of
from grokfast.studies import STUDIES
from grokfast.training import missing_looks


@pytest.mark.parametrize("size", SIZES)
def test_every_study_is_complete_and_no_run_is_trained_twice(size):
    stages = stages_of(size)
    configs = {config.key: config for stage in stages for config in stage.configs}
    assert len(configs) == sum(len(stage.configs) for stage in stages)
    there: set[str] = set()
    named: set[str] = set()
    for stage in stages:
        there |= set(stage.keys)
        for study, keys in stage.studies.items():
            named.add(study)
            assert set(keys) <= there, "a study is said to be complete before its runs are trained"
            for config in STUDIES[study].sweep(size).configs:
                assert config.key in keys
                assert not missing_looks(config.looks(), configs[config.key].looks(), config.epochs)
    assert named >= {study.name for study in STUDIES.values() if any(name.startswith("fig") for name in study.figures)}
    assert named >= {name for claim in CLAIMS.values() for name in claim.studies} - {"geometry"}


def test_some_claims_and_figures_need_a_part_of_it():
    names = [stage.name for stage in stages_of("quick", ["fig05c"])]
    assert names == ["main-text"]
    # What is trained for one figure looks at all that the others will want: nothing is trained again for them.
    alone = {config.key: config.looks() for stage in stages_of("quick", ["fig05c"]) for config in stage.configs}
    whole = {config.key: config.looks() for stage in stages_of("quick") for config in stage.configs}
    assert all(whole[key] == looks for key, looks in alone.items())
    claim = next(iter(CLAIMS.values()))
    studies = {study for stage in stages_of("quick", [claim.name]) for study in stage.studies}
    assert studies == set(claim.studies) - {"geometry"}
    assert [stage.name for stage in stages_of("quick", ["geometry"])] == ["geometry"]
    beyond = {study for stage in stages_of("quick", ["beyond"]) for study in stage.studies}
    assert beyond == {name for name in STUDIES if name.startswith("beyond-")}
    both = {study for stage in stages_of("quick", ["paper", "beyond"]) for study in stage.studies}
    assert both == beyond | {study for stage in stages_of("quick") for study in stage.studies}


def test_what_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="size must be one of quick, laptop, paper, got 'large'"):
        stages_of("large")
    with pytest.raises(ConfigError, match=r"--only takes claims, figures and studies, got 'fig5c'.*did you mean"):
        stages_of("quick", ["fig5c"])


def test_end_models_are_measured_where_something_wants_it():
    stages = {stage.name: stage for stage in stages_of("paper")}
    assert stages["main-text"].measured  # Gini coefficients and pruning schemes of figures 15 and 21
    wanted = {name for spec in FIGURES.values() if spec.kept for name in spec.studies}
    for stage in stages.values():
        assert stage.measured or not wanted & set(stage.studies)
