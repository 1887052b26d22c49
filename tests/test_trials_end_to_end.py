"""Whole runs with a sweep and a learning curve: what was trained is found again, and one rate more trains one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift.cli_output import trial_tables
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, QUESTIONS)
    config = small_config(folder, tiny_llm, tiny_embedding)
    config["embedding"] |= {"epochs": 1, "strategies": []}
    config["llm"] |= {"strategies": [], "batch_size": 2, "epochs": 1}
    config["runtime"] |= {"trackers": []}
    return config | {"workspace": str(tmp_path_factory.mktemp("workspace") / "indexes")}


def run(config: dict[str, Any], target: str, name: str, **changes: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The run, and its trainings of the target by what the run calls them."""
    found = raglift.run({**config, "run": name, target: {**config[target], **changes}}, quiet=True)
    stages = {stage["name"]: stage for stage in found.report["stages"]}
    return found, {label: stage for label, stage in stages.items() if label.partition(" (")[0] == target}


def test_one_rate_more_trains_one(config: dict[str, Any]) -> None:
    full = {"strategies": ["full"]}
    two, first = run(config, "embedding", "two", sweep=[1e-3, 3e-3], **full)
    assert len(first) == 2
    assert not any(stage["cached"] for stage in first.values())
    rows = two.report["training"]["embedding"]["sweep"]
    assert [row["learning_rate"] for row in rows] == [1e-3, 3e-3]
    (kept,) = [row for row in rows if row["kept"]]
    assert kept["dev"] == max(row["dev"] for row in rows)
    assert two.report["training"]["embedding"]["settings"]["learning_rate"] == kept["learning_rate"]
    assert two.artifact("embedding").key == first["embedding"]["key"]
    assert two.models.embedding_key("tuned") in (first["embedding"]["key"], two.models.embedding.revision)

    three, second = run(config, "embedding", "three", sweep=[3e-3, 1e-2, 1e-3], **full)
    keys = {stage["key"] for stage in first.values()}
    assert [stage["cached"] for stage in second.values() if stage["key"] in keys] == [True, True]
    assert [stage["cached"] for stage in second.values() if stage["key"] not in keys] == [False]
    again = {row["learning_rate"]: row["dev"] for row in three.report["training"]["embedding"]["sweep"]}
    assert again | {row["learning_rate"]: row["dev"] for row in rows} == again

    _, alone = run(config, "embedding", "alone", learning_rate=1e-3, **full)
    assert list(alone) == ["embedding"]
    assert alone["embedding"]["cached"]
    assert alone["embedding"]["key"] in keys


def test_a_learning_curve_of_the_embedding_model(config: dict[str, Any]) -> None:
    plain, whole = run(config, "embedding", "plain", strategies=["full"], learning_rate=2e-3)
    curved, found = run(config, "embedding", "curved", strategies=["full"], learning_rate=2e-3, learning_curve=[0.5])
    assert found["embedding"]["key"] == whole["embedding"]["key"]
    assert found["embedding"]["cached"]
    assert not found["embedding (0.5 of the data)"]["cached"]
    training = curved.report["training"]["embedding"]
    half, all_of_it = training["curve"]
    assert (half["share"], all_of_it["share"]) == (0.5, 1.0)
    assert half["examples"] == round(all_of_it["examples"] / 2)
    assert training["test"]["metric"] == "nDCG@10"
    cells = training["test"]["sets"]["human"]
    assert set(cells) == {"base", "0.5", "1.0"}
    base = plain.report["retrieval"]["human"]
    assert cells["base"]["value"] == pytest.approx(base["base"]["nDCG@10"]["value"])
    assert cells["1.0"]["value"] == pytest.approx(base["tuned_embedding"]["nDCG@10"]["value"])
    assert cells["0.5"]["ci_low"] <= cells["0.5"]["value"] <= cells["0.5"]["ci_high"]
    assert "Learning curve" in (curved.folder / "report.html").read_text("utf-8")
    assert [table.title for table in trial_tables(curved.report)] == ["learning curve, embedding"]
    _, once_more = run(
        config, "embedding", "once_more", strategies=["full"], learning_rate=2e-3, learning_curve=[0.25, 0.5]
    )
    assert [label for label, stage in once_more.items() if not stage["cached"]] == ["embedding (0.25 of the data)"]


def test_a_sweep_and_a_learning_curve_of_the_language_model(config: dict[str, Any]) -> None:
    both, found = run(config, "llm", "both", strategies=["lora"], sweep="auto", learning_curve=True)
    assert len(found) == 5
    training = both.report["training"]["llm"]
    rates = [row["learning_rate"] for row in training["sweep"]]
    assert rates == [1.7e-4, 5e-4, 1.5e-3]
    (kept,) = [row["learning_rate"] for row in training["sweep"] if row["kept"]]
    assert {row["learning_rate"] for row in training["curve"]} == {kept}
    assert [row["share"] for row in training["curve"]] == [0.25, 0.5, 1.0]
    titles = [table.title for table in trial_tables(both.report)]
    assert titles == ["learning rates, llm", "learning curve, llm"]
    _, usual = run(config, "llm", "usual", strategies=["lora"])
    assert usual["llm"]["cached"], "the middle of the sweep is the training that there would be without it"
    assert both.artifact("llm").key == found["llm"]["key"]
