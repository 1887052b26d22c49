"""The card of a model that leaves its run repeats what the evaluation found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from raglift.artifacts import Artifact
from raglift.release.card import figures, write_card


def verdict(question_set: str, metric: str, arm: str, delta: float, n: int = 10) -> dict[str, Any]:
    interval = {"ci_low": delta - 0.1, "ci_high": delta + 0.1, "p": 0.01, "detectable": 0.1}
    named = {"question_set": question_set, "metric": metric, "arm": arm, "against": "base", "decision": "better"}
    return {**named, **interval, "delta": delta, "n": n}


REPORT: dict[str, Any] = {
    "verdict": "Tuning was worth it.",
    "training": {"embedding": {"chosen": "step 4"}, "llm": {"chosen": "base"}},
    "question_sets": {"synthetic": {"origin": "synthetic"}, "people": {"origin": "human"}},
    "retrieval": {
        name: {"base": {"nDCG@10": {"value": 0.5}}, "tuned_embedding": {"nDCG@10": {"value": 0.6}}}
        for name in ("people", "synthetic")
    },
    "response": {
        "people": {"base": {"token_f1": {"value": 0.1}}, "tuned_llm": {"token_f1": {"value": 0.4}}},
        "synthetic": {},
    },
    "verdicts": [
        verdict("synthetic", "nDCG@10", "tuned_embedding", 0.1),
        verdict("people", "nDCG@10", "tuned_embedding", 0.1),
        verdict("people", "nDCG@10", "tuned_both", 0.3),
        verdict("people", "token_f1", "tuned_embedding", 0.2),
        verdict("people", "token_f1", "tuned_llm", 0.3),
        verdict("people", "AP", "tuned_embedding", 0.0, n=0),
    ],
}


def test_figures_are_of_the_arm_in_which_this_model_alone_is_tuned() -> None:
    found = list(figures(REPORT, "embedding"))
    assert [(f.set, f.metric, f.base, f.tuned) for f in found] == [
        ("people", "nDCG@10", 0.5, 0.6),
        ("synthetic", "nDCG@10", 0.5, 0.6),
    ]
    (answers,) = figures(REPORT, "llm")
    assert (answers.metric, answers.tuned, answers.delta, answers.n, answers.decision) == (
        *("token_f1", 0.4, 0.3, 10),
        "better",
    )


def artifact_in(folder: Path, **facts: Any) -> Artifact:
    """A training's artifact as far as a card reads it."""
    base = {"name": "owner/base", "revision": "r", "license": "mit", "hub": "owner/base", "package": None}
    value = {
        **{"target": "embedding", "purpose": "embedding", "base": base, "parts": [], "settings": {}, "seed": 0},
        **{"data": {"facts": {}, "questions": []}, "score": "nDCG@10", "versions": {}, "prompt": []},
        **{"new_tokens": 0, "quotes": False, **facts},
    }
    (folder / "model").mkdir(parents=True)
    training = {"settings": {"steps": 4}, "candidates": [{"name": "step 4", "dev": 0.5}], "chosen": "step 4"}
    for name, content in (("card", value), ("model", {"same_passages": False}), ("training", training)):
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return Artifact("embedding", "key", folder, 61.25, cached=True)


def test_an_exported_folder_gets_the_figures_and_its_own_form(tmp_path: Path) -> None:
    artifact = artifact_in(tmp_path / "artifact")
    (tmp_path / "artifact" / "model" / "sparse.safetensors").touch()
    exported = tmp_path / "exported"
    exported.mkdir()
    for _ in range(2):
        write_card(exported, artifact, REPORT, "embedding")
    card = ModelCard.load(exported / "README.md")
    assert "Tuning was worth it.\n" in card.text
    assert "| people | nDCG@10 | 0.500 | 0.600 | +0.100 | +0.000 to +0.200 | 10 | better |" in card.text
    assert "The training took 61.2 seconds." in card.text
    assert "This folder holds all of its weights." in card.text
    assert "safe_open" not in card.text
    assert (card.data.license, card.data.base_model) == ("mit", "owner/base")
    assert [result.metric_value for result in card.data.eval_results or []] == [0.6, 0.6]
    assert card.data.model_name


def test_moved_vectors_are_told(tmp_path: Path) -> None:
    report = REPORT | {"training": {**REPORT["training"], "index": {"chosen": "NUDGE-N 0.1"}}}
    artifact = artifact_in(tmp_path / "artifact")
    write_card(tmp_path, artifact, report, "embedding")
    assert "vectors were moved after it (NUDGE)" in (tmp_path / "README.md").read_text("utf-8")


def test_a_model_that_stayed_the_base_has_no_card(tmp_path: Path) -> None:
    write_card(tmp_path, Artifact("llm", "key", tmp_path / "artifact", 0.0, cached=True), REPORT, "llm")
    assert not (tmp_path / "README.md").exists()
