"""The examples ask for what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from factories import a_claimed_task, a_task
from fakes import FakeClock
from scraped import samples

from tasques.background_tasks import BackgroundTasks
from tasques.domain.backlog import Backlog
from tasques.observability.backlogs import BacklogFigures
from tasques.observability.metrics import Metrics

HERE = Path(__file__).parents[3]
RULES = HERE / "docs/prometheus/alerts.yaml"
KEDA = HERE / "k8s/examples/keda.yaml"
README = HERE / "README.md"


async def find():
    return {"mails": Backlog()}


@pytest.fixture(scope="module")
async def text():
    backlogs = BacklogFigures(find, clock=FakeClock(), background=BackgroundTasks(), interval=10.0)
    await backlogs.refresh()
    metrics = Metrics(max_queues=9, long_poll=("POST", "/claims"))
    metrics.created(a_task())
    metrics.claimed(a_claimed_task())
    metrics.answered("GET", "/x", 200, 0.1)
    metrics.answered("POST", "/claims", 200, 0.1)
    metrics.bulk.answered(200, 0.1, operations=1, repeated=1)
    metrics.bulk.settled("done")
    metrics.chores.passed("reaper", "done", 1, 0.1)
    metrics.chores.left("archiver", 1)
    return (metrics.render() + backlogs.render()).decode()


@pytest.fixture(scope="module")
def shown(text):
    return {name for name, _ in samples(text)}


def rules():
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_figures_that_there_are(rule, shown):
    asked = set(re.findall(r"\btasques_\w+", rule["expr"]))

    assert asked <= shown
    assert asked or rule["alert"] == "TasquesDown"
    assert rule["annotations"]["summary"]
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_workers_are_scaled_by_a_figure_that_there_is(text):
    *_, scaled = yaml.safe_load_all(KEDA.read_text())
    (trigger,) = scaled["spec"]["triggers"]

    assert f"\n{trigger['metadata']['valueLocation']} 0" in text


def test_the_readme_names_each_metric(shown):
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}

    assert {name for name in families if f"| `{name}` |" not in README.read_text()} == set()
