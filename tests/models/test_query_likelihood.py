"""Passages by how likely a language model finds the question after each, against transformers' own forward pass."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from raglift.errors import UserError
from raglift.models.chat import render_chat
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.query_likelihood import PROMPT, LikelihoodReranker, load_likelihood_reranker
from raglift.models.reranker import is_language_model
from raglift.models.rerankers import open_reranker
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

PAIRS = [(question, passage) for question, _ in QUESTIONS[:4] for passage in SENTENCES[:5]]


@pytest.fixture(scope="module")
def reranker(tiny_llm: Path) -> LikelihoodReranker:
    return load_likelihood_reranker(tiny_llm, RUNTIME)


def plain(folder: Path, question: str, passage: str) -> float:
    """The log-probability of the question, token by token."""
    model, tokenizer = load_causal_lm(folder, RUNTIME), load_tokenizer(folder)
    prompt = render_chat(tokenizer, [{"role": "user", "content": PROMPT.format(passage=passage)}])
    before, asked = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, question))
    with torch.inference_mode():
        logits = model(torch.tensor([before + asked])).logits[0].float().log_softmax(-1)
    return float(sum(logits[len(before) - 1 + place, token] for place, token in enumerate(asked)))


def test_the_score_is_the_mean_log_probability_of_the_question(reranker: LikelihoodReranker, tiny_llm: Path) -> None:
    tokenizer = load_tokenizer(tiny_llm)
    whole = [plain(tiny_llm, question, passage) for question, passage in PAIRS]
    counts = [len(tokenizer(question, add_special_tokens=False)["input_ids"]) for question, _ in PAIRS]
    np.testing.assert_allclose(reranker.log_probabilities(PAIRS), whole, rtol=1e-5)
    np.testing.assert_allclose(reranker.scores(PAIRS), np.array(whole) / counts, rtol=1e-5)


def test_scores_do_not_depend_on_what_else_is_asked(reranker: LikelihoodReranker) -> None:
    """Four questions read a passage together, and each alone for itself."""
    together = reranker.scores(PAIRS)
    order = list(range(len(PAIRS)))
    random.Random(0).shuffle(order)
    done: list[int] = []
    shuffled = reranker.scores([PAIRS[row] for row in order], done.append)
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-5)
    assert sum(done) == len(PAIRS)
    alone = [float(reranker.scores([pair])[0]) for pair in PAIRS]
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    assert reranker.scores([]).shape == (0,)


def test_passages_come_in_the_order_of_their_scores(reranker: LikelihoodReranker) -> None:
    texts = {f"c{row}": text for row, text in enumerate(SENTENCES)}
    asked = [(question, tuple((name, 0.0) for name in texts)) for question, _ in QUESTIONS[:3]]
    for (question, ranking), found in zip(asked, reranker.rerank(asked, texts), strict=True):
        scores = reranker.scores([(question, texts[name]) for name, _ in ranking])
        best = sorted(zip(texts, scores.tolist(), strict=True), key=lambda hit: -hit[1])
        assert [name for name, _ in found] == [name for name, _ in best]


def test_the_beginning_of_a_passage_that_is_too_long_counts(tiny_llm: Path, reranker: LikelihoodReranker) -> None:
    question, passage = QUESTIONS[0][0], " ".join(SENTENCES)
    whole = load_likelihood_reranker(tiny_llm, RUNTIME)
    asked, window = len(whole._tokens(question)), len(whole._tokens(whole._prompt(question, passage)))
    whole._window = window
    prompt = whole._prompt(question, passage)
    assert window - 10 <= len(whole._tokens(prompt)) + asked <= window
    assert SENTENCES[0][:20] in prompt
    assert whole.scores([(question, passage)]) == whole.scores([(question, passage + " And more.")])
    assert whole.scores([(question, passage)]) != reranker.scores([(question, passage)])
    with pytest.raises(UserError, match="too long to put passages in order"):
        whole.scores([(" ".join([question] * 20), passage)])


def test_which_folders_hold_a_language_model(
    tiny_llm: Path, tiny_embedding: Path, tiny_cross_encoder: Path, tmp_path: Path
) -> None:
    found = [is_language_model(folder) for folder in (tiny_llm, tiny_embedding, tiny_cross_encoder, tmp_path)]
    assert found == [True, False, False, False]
    # An embedding model may be made of a language model, whose architecture its config then still names.
    shutil.copy(tiny_llm / "config.json", tmp_path)
    assert is_language_model(tmp_path)
    shutil.copy(tiny_embedding / "modules.json", tmp_path)
    assert not is_language_model(tmp_path)
    assert isinstance(open_reranker(tiny_llm, RUNTIME), LikelihoodReranker)
    assert not isinstance(open_reranker(tiny_cross_encoder, RUNTIME), LikelihoodReranker)
