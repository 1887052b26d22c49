"""A whole run with a recipe: what it trained, chose and wrote down, and that an interruption changes nothing of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift.cli_output import trial_tables
from raglift.training import embedding_stage
from raglift.training.gains import Gain, Judge
from raglift.workspace import RUNS, STATE
from tests.small_runs import small_config

pytestmark = pytest.mark.slow

DOCUMENTS = 36
TIMES = ("seconds",)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder, rng, rows = tmp_path_factory.mktemp("documents"), random.Random(3), []
    for number in range(DOCUMENTS):
        words = ["".join(rng.choices("abcdefghijklm", k=4)) for _ in range(30)]
        quote = f"The {words[0]} of {words[1]} keeps {words[2]} in the {words[3]}."
        (folder / f"{number}.md").write_text(f"{quote} {' '.join(words[4:])}.\n", encoding="utf-8")
        for place, asked in enumerate((f"What does the {words[0]} keep?", f"Where is the {words[1]}?")):
            answer = {"answer": words[2 + place], "topics": [f"{number}.md"], "quotes": [quote]}
            rows.append({"id": f"q{number}-{place}", "question": asked, **answer})
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = small_config(folder, tiny_llm, tiny_embedding)
    found["data"] |= {"dev_share": 0.5}
    found["embedding"] |= {"epochs": 1, "recipe": ["learning_rate", "hard_negatives"]}
    found["llm"] |= {"strategies": []}
    found["evaluation"] |= {"max_answers": 1}
    found["runtime"] |= {"trackers": []}
    return found


def run(config: dict[str, Any], workspace: Path, **changes: Any) -> Any:
    values = config | {"workspace": str(workspace), "embedding": config["embedding"] | changes}
    return raglift.run(values, quiet=True)


def without_times(recipe: dict[str, Any]) -> dict[str, Any]:
    return recipe | {
        "trials": [{k: v for k, v in row.items() if k not in TIMES} for row in recipe["trials"]],
    }


def test_a_recipe_from_documents_to_report(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(config, tmp_path / "whole")
    recipe = whole.report["training"]["embedding"]["recipe"]
    rows = {row["tried"]: row for row in recipe["trials"]}
    assert list(rows) == ["as written", "learning rate 0.00018", "learning rate 2e-05", "2 hard negatives"]
    assert recipe["questions"] >= 36
    assert recipe["documents"] >= 18
    stages = {stage["name"]: stage for stage in whole.report["stages"]}
    trained = {name for name in stages if name.startswith("embedding")}
    assert len(trained) == 4
    assert len({stages[name]["key"] for name in trained}) == 4
    _check_choice(whole, recipe, stages)

    decided = json.loads((tmp_path / "whole" / RUNS / "run" / STATE).read_text("utf-8"))["decisions"]
    assert decided["embedding.recipe"] == recipe
    html = (whole.folder / "report.html").read_text("utf-8")
    assert "What the recipe tried" in html
    assert "2 hard negatives" in html
    assert [table.title.partition(":")[0] for table in trial_tables(whole.report)] == ["recipe, embedding"]

    build, count = embedding_stage.build, iter(range(100))

    def stopping(*arguments: Any) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        build(*arguments)

    monkeypatch.setattr(embedding_stage, "build", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "stopped")
    state = json.loads((tmp_path / "stopped" / RUNS / "run" / STATE).read_text("utf-8"))
    assert state["state"] == "interrupted"
    known = [row["tried"] for row in state["decisions"]["embedding.recipe"]["trials"]]
    assert known == ["as written", "learning rate 0.00018"]
    resumed = run(config, tmp_path / "stopped")
    found = {stage["name"]: stage for stage in resumed.report["stages"]}
    assert [stage["cached"] for name, stage in found.items() if name.startswith("embedding")].count(True) == 2
    assert without_times(resumed.report["training"]["embedding"]["recipe"]) == without_times(recipe)
    assert resumed.artifact("embedding").key == whole.artifact("embedding").key


def _check_choice(whole: Any, recipe: dict[str, Any], stages: dict[str, Any]) -> None:
    """The run goes on with what was taken, which is not below the base."""
    (start, *others) = recipe["trials"]
    kept = next((row for row in reversed(others) if row["kept"]), start)
    training = whole.report["training"]["embedding"]
    base = next(row["dev"] for row in training["candidates"] if row["name"] == "base")
    assert kept["dev"] >= start["dev"] - 1e-9
    assert start["dev"] >= base - 1e-6
    assert training["chosen"] == kept["chosen"]
    assert next(row["dev"] for row in training["candidates"] if row["name"] == kept["chosen"]) == pytest.approx(
        kept["dev"]
    )
    mined = "2 hard negatives" in recipe["taken"]
    assert ("hard_negatives" in stages) == mined
    assert ("hard_negatives (recipe: 2)" in stages) != mined


def test_a_run_goes_on_with_what_was_taken(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(config, tmp_path, recipe=None)
    assert "recipe" not in plain.report["training"]["embedding"]
    written = plain.artifact("embedding").key  # read now: the next run has the same name
    monkeypatch.setattr(Judge, "gain", lambda *_: Gain(0.1, 0.05, 0.15, 0.01))
    found = run(config, tmp_path, recipe=["hard_negatives"], learning_curve=[0.5])
    stages = {stage["name"]: stage for stage in found.report["stages"]}
    training = found.report["training"]["embedding"]
    assert training["recipe"]["settings"] == {"hard_negatives": 2}
    first = stages["embedding (recipe: as written)"]
    assert (first["key"], first["cached"]) == (written, True), "it is found again"
    assert "hard_negatives" in stages
    assert "hard_negatives (recipe: 2)" not in stages
    assert {"hard negatives", "pairs without a hard negative"} <= {row["reason"] for row in found.report["funnel"]}
    assert "embedding (0.5 of the data)" in stages
    assert [row["share"] for row in training["curve"]] == [0.5, 1.0]

    alone = run(config, tmp_path, recipe=None, hard_negatives=2)
    assert alone.artifact("embedding").key == stages["embedding"]["key"], "the training that it would be alone"
    assert all(stage["cached"] for stage in alone.report["stages"] if stage["name"].startswith("embedding"))
