"""ragas' metrics over LlamaIndex models, with nothing lost and nothing sent."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from typing import Any

import pytest
from llama_index.core import MockEmbedding

from raglift.errors import UserError
from raglift.evaluation.reasons import NO_ANSWER, NO_REFERENCE
from raglift.judging.items import Item
from raglift.judging.questions._base import NO_CONTEXT
from raglift.judging.ragas_metrics import ragas_collections, ragas_metric, score_with_ragas
from tests.judging.judges import ScriptedLLM

ITEM = Item("q1", "What colour is the book?", "It is blue.", ("It is blue.",), ("The book is blue.",))


def supports(prompt: str) -> str:
    """Splits every answer into two statements, of which the passages support one."""
    if '"statements"' in prompt and "verdict" not in prompt:
        return '{"statements": ["The book is blue.", "The book is old."]}'
    verdicts = [
        f'{{"statement": "{text}", "reason": "r", "verdict": {verdict}}}'
        for text, verdict in (("The book is blue.", 1), ("The book is old.", 0))
    ]
    return f'{{"statements": [{", ".join(verdicts)}]}}'


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("ragas")


def test_faithfulness_is_the_share_of_supported_statements() -> None:
    metric = ragas_metric("Faithfulness", ScriptedLLM(supports))
    (score,) = score_with_ragas({"ragas_faithfulness": metric}, [ITEM], "base")
    assert (score.metric, score.qa_id, score.arm, score.value) == ("ragas_faithfulness", "q1", "base", 0.5)


@pytest.mark.parametrize("reply", ["The answer is faithful.", "", "{}", '{"statements": 3}'])
def test_a_reply_that_cannot_be_read_is_none_and_the_others_stay(reply: str) -> None:
    def half(prompt: str) -> str:
        return reply if "Red" in prompt else supports(prompt)

    items = [Item("r", "What?", "Red.", (), ("Red.",)), ITEM]
    bad, good = score_with_ragas({"f": ragas_metric("Faithfulness", ScriptedLLM(half))}, items, "base")
    assert bad.value is None
    assert bad.reason
    assert good.value == 0.5


def test_no_statement_is_not_a_number_there_and_none_here() -> None:
    metric = ragas_metric("Faithfulness", ScriptedLLM(lambda prompt: '{"statements": []}'))
    (score,) = score_with_ragas({"f": metric}, [ITEM], "base")
    assert (score.value, score.reason) == (None, "not a finite number")


def test_metrics_without_a_model_agree_with_their_libraries() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    item = Item("q", "What?", "the blue book of ships", ("a blue book of names",))
    metrics = {name: ragas_metric(name) for name in ("RougeScore", "ExactMatch")}
    found = {score.metric: score.value for score in score_with_ragas(metrics, [item], "base")}
    expected = RougeScorer(["rougeL"], use_stemmer=True).score(item.references[0], item.answer)["rougeL"].fmeasure
    assert found["RougeScore"] == pytest.approx(expected)
    assert found["ExactMatch"] == 0.0


def test_vectors_come_from_the_embedding_model() -> None:
    metric = ragas_metric("SemanticSimilarity", embedding=MockEmbedding(embed_dim=4))
    (score,) = score_with_ragas({"s": metric}, [ITEM], "base")
    assert score.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item("q", "What?", None, ("x",), ("y",)), NO_ANSWER),
        (Item("q", "What?", "Blue.", ("x",), ()), NO_CONTEXT),
    ],
)
def test_what_is_missing_is_the_reason_and_nothing_is_asked(item: Item, reason: str) -> None:
    llm = ScriptedLLM(supports)
    (score,) = score_with_ragas({"f": ragas_metric("Faithfulness", llm)}, [item], "base")
    assert (score.value, score.reason, llm.asked) == (None, reason, [])
    (score,) = score_with_ragas({"r": ragas_metric("RougeScore")}, [Item("q", "What?", "Blue.")], "base")
    assert score.reason == NO_REFERENCE


def test_what_cannot_be_made_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    with pytest.raises(UserError, match="needs a package") as caught:
        ragas_metric("NonLLMStringSimilarity")
    assert "pip install rapidfuzz" in caught.value.why
    with pytest.raises(UserError, match="no metric called 'Faithfullness'"):
        ragas_metric("Faithfullness")
    with pytest.raises(UserError, match="needs a language model"):
        ragas_metric("Faithfulness")
    with pytest.raises(UserError, match="needs an embedding model"):
        ragas_metric("SemanticSimilarity")


def test_a_missing_companion_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def fails(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("ragas"):
            raise ModuleNotFoundError("No module named 'langchain_community.chat_models.vertexai'")
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(UserError) as caught:
        ragas_collections()
    assert "langchain_community.chat_models.vertexai" in caught.value.why
    assert caught.value.fix == 'pip install "ragas==0.4.3" "langchain-community==0.4.1"'


def test_telemetry_is_off_and_ragas_is_not_loaded_before_it_is_used() -> None:
    code = (
        "import sys; from raglift.judging import ragas_metrics as m; assert 'ragas' not in sys.modules; "
        "m.ragas_collections(); from ragas._analytics import do_not_track; print(do_not_track())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "RAGAS_DO_NOT_TRACK"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert done.stdout.split()[-1] == "True"
