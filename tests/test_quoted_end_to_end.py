"""A whole run whose language model quotes before it answers; tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift import plugins
from raglift.errors import UserError
from raglift.models.generation import Generator, Sampling
from raglift.records import Answered, read_jsonl
from raglift.synthesis.training_sets import load
from tests.test_end_to_end import STAGES, config  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow

QUOTED = plugins.load("prompt", "quoted")


def test_what_is_quoted_is_learned_and_what_is_answered_is_scored(
    config: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate, longest = Generator.generate, set()

    def answering(self: Generator, prompts: list[str], sampling: Sampling, **more: Any) -> list[str]:
        """A random model's text, as if it had learned the form."""
        if not more.get("prefix"):  # not the writer
            longest.add(sampling.max_new_tokens)
            return [QUOTED.target(f"answer {len(prompt)}", "A sentence of its own.") for prompt in prompts]
        return generate(self, prompts, sampling, **more)

    monkeypatch.setattr(Generator, "generate", answering)
    llm = {**config["llm"], "prompt": "quoted", "cloze": 0.5, "strategies": []}
    run = raglift.run({**config, "llm": llm, "workspace": str(tmp_path)}, quiet=True)
    assert [stage["name"] for stage in run.report["stages"]] == STAGES
    examples = load(run.artifact("training_sets").path, "examples")
    quoted = [row for row in examples if QUOTED.read(row["answer"]) != row["answer"]]
    assert len(quoted) >= 5
    for row in quoted:
        answer = QUOTED.read(row["answer"])
        quote = row["answer"].removeprefix('"').removesuffix(f'" Answer: {answer}')
        assert quote in row["prompt"].partition("Question:")[0]
        assert answer.lower() in quote.lower()
    answered = read_jsonl(run.artifact("evaluation").path / "human-answered.jsonl", Answered)
    said = {item.answer for item in answered if item.answer is not None}
    assert said
    assert all(text.startswith("answer ") for text in said)
    response = run.query_engine("base").query("Who writes?")
    assert str(response).startswith("answer ")
    assert response.metadata["written"] == QUOTED.target(str(response), "A sentence of its own.")
    assert longest == {config["llm"]["max_new_tokens"] + QUOTED.quote_tokens}


def test_answers_that_would_fill_the_window_are_refused_before_anything_is_built(
    config: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    llm = {**config["llm"], "prompt": "quoted", "max_new_tokens": 100_000}
    with pytest.raises(UserError, match="leaves no room for a question"):
        raglift.run({**config, "llm": llm, "workspace": str(tmp_path)}, quiet=True)
    assert not list(tmp_path.glob("corpus/*"))
