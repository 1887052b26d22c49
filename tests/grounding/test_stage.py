"""A checker learns from claims, is calibrated on others, and is judged on others again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raglift.errors import UserError
from raglift.evaluation.reasons import NO_PASSAGE_SHOWN
from raglift.grounding import stage
from raglift.grounding.checker import LexicalChecker, Regression, TrainedChecker, evidence, open_checker, regression
from raglift.grounding.claims import Claim
from raglift.grounding.features import COUNT
from raglift.grounding.health import health_of
from raglift.grounding.scoring import ABSTAINED, claims_in, score_support
from raglift.models.find import FoundModel, find_model
from raglift.models.reranker import Reranker
from raglift.records import Answered
from tests.tasks import RUNTIME, job
from tests.tiny import SENTENCES

SETTINGS = stage.SETTINGS.model_copy(update={"epochs": 1.0, "evaluations": 1})


def claims(count: int, start: int = 0) -> list[Claim]:
    """True ones stand in their passage; false ones say the opposite."""
    found = []
    for number in range(start, start + count):
        text = SENTENCES[number % 8]
        passage = f"{text} It is so since {1900 + number}."
        found.append(Claim(text, passage, True, "sentence", f"d{number}"))
        found.append(Claim(f"It is not so that {text.lower()}", passage, False, "negation", f"d{number}"))
    return found


CLAIMS = stage.Claims(claims(30), claims(20, 30), claims(20, 50))


@pytest.fixture(scope="module")
def base(tiny_embedding: Path) -> FoundModel:
    return find_model(str(tiny_embedding))


@pytest.fixture(scope="module")
def built(base: FoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("support")
    stage.build(CLAIMS, job(out), stage.Reader(base, RUNTIME, SETTINGS))
    return out


def test_what_is_opened_says_what_was_measured(built: Path, base: FoundModel) -> None:
    checker = open_checker(built, base, RUNTIME)
    found = health_of(CLAIMS.test, checker.supported(CLAIMS.test))
    assert json.loads((built / stage.HEALTH).read_text("utf-8")) == json.loads(json.dumps(stage.told(found)))
    assert (found.balanced_accuracy or 0) > 0.9, "the negation alone tells these apart"


def test_the_same_claims_give_the_same_checker(built: Path, base: FoundModel, tmp_path: Path) -> None:
    stage.build(CLAIMS, job(tmp_path), stage.Reader(base, RUNTIME, SETTINGS))
    files = [path.relative_to(built) for path in built.rglob("*") if path.is_file() and "work" not in path.parts]
    assert {path.name for path in files} >= {"support.json", "health.json"}
    for file in files:
        assert (tmp_path / file).read_bytes() == (built / file).read_bytes()


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_too_few_claims_are_refused(tmp_path: Path, split: str) -> None:
    few = replace(CLAIMS, **{split: claims(5)})
    with pytest.raises(UserError, match=f"10 claims about {split} documents"):
        stage.build(few, job(tmp_path))


class Knowing(Reranker):
    """Scores by what it was told."""

    def __init__(self, scores: dict[str, float]) -> None:
        self._known = scores

    def scores(self, pairs: Sequence[tuple[str, str]], advance: Any = None) -> Any:
        return np.array([self._known[claim] for _, claim in pairs], dtype=np.float32)


def test_the_score_counts_where_words_say_nothing() -> None:
    """Two claims with the same words: what tells them apart is the model."""
    right, wrong = "The kite saw the keeper.", "The keeper saw the kite."
    passage = "The kite and the keeper are old friends, and one saw the other."
    reranker = Knowing({right: 3.0, wrong: -3.0})
    silent = Regression((0.0,) * COUNT, 0.0)
    found = evidence(silent, [(right, passage), (wrong, passage)] * 20, reranker)
    assert np.array_equal(found[0, :2], found[1, :2])
    checker = TrainedChecker(silent, regression(found, [True, False] * 20), reranker)
    first, second = checker.probabilities([(right, passage), (wrong, passage)])
    assert first > 0.8
    assert second < 0.2
    assert evidence(silent, [(right, passage)]).shape == (1, 2)


def test_words_alone_need_no_model_and_find_what_they_never_saw(tmp_path: Path) -> None:
    def pairs(start: int, kinds: Sequence[str]) -> list[Claim]:
        found = []
        for number in range(start, start + 30):
            year = 1800 + number
            true = f"The mill of Mia Moss in Oakham was bought by Ann Lee in {year}."
            false = {
                "number": true.replace(str(year), str(year + 1)),
                "entity": true.replace("Ann Lee", "Kit Cole"),
                "negation": true.replace("was", "was not"),
            }
            passage = f"The river is long. {true} Nobody lives there now."
            kind = kinds[number % len(kinds)]
            found.append(Claim(true, passage, True, "sentence", f"d{number}"))
            found.append(Claim(false[kind], passage, False, kind, f"d{number}"))
        return found

    shown = ("entity", "negation")
    health = stage.build(stage.Claims(pairs(0, shown), pairs(30, shown), pairs(60, ["number"])), job(tmp_path))
    assert (health.balanced_accuracy or 0) > 0.9
    assert not (tmp_path / "model").exists()
    checker = open_checker(tmp_path, None, RUNTIME)
    again = health_of(pairs(60, ["number"]), checker.supported(pairs(60, ["number"])))
    assert again == health


def test_the_regression_fits_and_holds_what_it_was_given() -> None:
    features = np.array([[0.0, 1.0], [1.0, 1.0]] * 20)
    found = regression(features, [False, True] * 20)
    assert found.weights[1] == 0, "it is the same of all"
    assert found.log_odds(features)[1] > 0 > found.log_odds(features)[0]
    assert Regression((2.0, 0.0), -1.0).log_odds(np.array([[0.5, 9.0]])) == pytest.approx([0.0])


def answered(answer: str | None, *contexts: str) -> Answered:
    return Answered("q", "base", (), contexts, answer, 0.0)


def test_an_answer_is_supported_as_far_as_some_passage_of_its_own_says_so() -> None:
    passage = "The ferry carries forty cars. It was built by Miller in 1921."
    other = "Snow closes the pass."
    long = "The ferry carries forty cars on every day of the week. It was built by Oakes in 1950, and painted red."
    cases = [
        answered("Miller", other, passage),
        answered("Oakes", passage),
        answered(long, passage),
        answered("The documents do not say.", passage),
        answered("Miller"),
    ]
    found = score_support(cases, {"q": "Who is it that the ferry was built by?"}, LexicalChecker(0.4))
    assert [(score.value, score.reason) for score in found] == [
        (1.0, ""),
        (0.0, ""),
        (0.5, ""),
        (None, ABSTAINED),
        (None, NO_PASSAGE_SHOWN),
    ]


def test_a_long_answer_is_looked_at_sentence_by_sentence() -> None:
    assert claims_in("Who?", "Miller") == ["Who? Miller"]
    text = "The ferry carries forty cars on every day.  It was built by Oakes in 1950, and painted red all over."
    assert claims_in("Who?", text) == [
        "The ferry carries forty cars on every day.",
        "It was built by Oakes in 1950, and painted red all over.",
    ]
    assert claims_in("Who?", f"{text} That is it. The documents do not say.") == claims_in("Who?", text)
    assert claims_in("Who?", "!!") == []
