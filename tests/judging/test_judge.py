"""What a judge is asked once, kept, and read by."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import pytest
import torch

from raglift.errors import UserError
from raglift.journal import Journal
from raglift.judging.items import Item
from raglift.judging.judge import Judge
from raglift.judging.questions._base import NO, YES
from raglift.judging.questions.correctness import Correctness
from raglift.judging.questions.pairwise import Pairwise
from raglift.models.generation import Generator
from raglift.models.llm import LiftLLM, load_causal_lm, load_tokenizer
from tests.judging.judges import ScriptedLLM, known_items
from tests.tasks import RUNTIME

ITEMS = known_items(8)


@pytest.fixture(scope="module")
def lift(tiny_llm: Path) -> LiftLLM:
    """The tiny language model."""
    generator = Generator(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm), 4)
    return LiftLLM(generator, name="tiny@1", context_window=2048)


def test_label_probabilities_are_those_of_the_next_token(lift: LiftLLM) -> None:
    generator = lift.generator
    prompts = ["The keeper writes a name.", "A tide table", "Snow closes the mountain pass from November"]
    found = generator.score_labels(prompts, [("a", " b"), ("t",)])
    tokenizer, model = generator.tokenizer, generator.model
    ids = [[tokenizer(text)["input_ids"][0] for text in label] for label in (("a", " b"), ("t",))]
    for prompt, logs in zip(prompts, found, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1]
        expected = logits.softmax(-1)
        assert [math.exp(log) for log in logs] == pytest.approx(
            [float(expected[group].sum()) for group in ids], rel=1e-4
        )


def test_labels_that_begin_alike_are_refused(lift: LiftLLM) -> None:
    with pytest.raises(UserError, match="cannot tell the labels 'Yes', 'Yes'"):
        lift.generator.score_labels(["x"], [("Yes",), ("Yes",)])


def test_a_lift_llm_is_read_by_probability_whatever_it_would_write(lift: LiftLLM) -> None:
    said = Judge(lift).judge(Correctness(), ITEMS)
    (prompt,) = Correctness().prompts(ITEMS[3])
    logs = lift.generator.score_labels([lift.generator.chat([{"role": "user", "content": prompt}])], [YES, NO])[0]
    share = math.exp(logs[0]) / (math.exp(logs[0]) + math.exp(logs[1]))
    assert said[3].probability == pytest.approx(share, abs=1e-5)
    assert [each.value for each in said] == [float((each.probability or 0) >= 0.5) for each in said]
    assert {each.value for each in said} <= {0.0, 1.0}


def test_an_item_that_is_too_long_is_unknown_and_the_others_are_not(lift: LiftLLM) -> None:
    short = lift.model_copy(update={"context_window": 600})
    short._generator = lift.generator
    long = Item("q", "What?", "word " * 900, ("x",))
    found = Judge(short).judge(Correctness(), [long, Item("r", "What?", "x", ("x",))])
    assert (found[0].value, found[0].reason) == (None, "longer than the judge can read")
    assert found[1].value is not None


def test_the_probability_of_a_pair_does_not_depend_on_the_order(lift: LiftLLM) -> None:
    one = Item("q", "What?", "a blue book", ("x",), other="the red kite")
    other = Item("q", "What?", "the red kite", ("x",), other="a blue book")
    judge = Judge(lift)
    first, second = judge.judge(Pairwise(), [one])[0], judge.judge(Pairwise(), [other])[0]
    assert first.value is not None
    assert second.value == 1 - first.value
    assert second.probability == pytest.approx(1 - (first.probability or 0), abs=1e-6)


def test_equal_prompts_are_asked_once_and_counted_all() -> None:
    llm, counted = ScriptedLLM(lambda prompt: "Yes"), list[int]()
    said = Judge(llm).judge(Correctness(), [*ITEMS, *ITEMS], advance=counted.append)
    assert [each.value for each in said] == [1.0] * 16
    assert len(llm.asked) == 8
    assert sum(counted) == 16


def test_what_was_judged_before_an_error_is_not_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def dies(prompt: str) -> str:
        asked.append(prompt)
        if len(asked) == 70:
            raise ConnectionError("no route with KEY-123")
        return "No" if "Town" in prompt else "Yes"

    items = known_items(100)
    journal = Journal(tmp_path / "j.jsonl")
    judge = Judge(ScriptedLLM(dies), "me", redact=lambda text: text.replace("KEY-123", "***"))
    with pytest.raises(UserError, match="The judge scripted failed") as caught:
        judge.judge(Correctness(), items, journal)
    assert "no route with ***" in str(caught.value)
    assert caught.value.__cause__ is None
    journal.close()

    again = ScriptedLLM(lambda prompt: "No")
    journal = Journal(tmp_path / "j.jsonl")
    said = Judge(again, "me").judge(Correctness(), items, journal)
    assert [each.value for each in said] == [0.0] * 100
    assert len(again.asked) == 31
    assert not set(again.asked) & set(asked[:69])
    other = ScriptedLLM(lambda prompt: "Yes")
    assert Judge(other, "another judge").judge(Correctness(), items, journal)[0].value == 1.0
    assert len(other.asked) == 100


def test_replies_of_a_server_that_came_before_an_error_are_kept(tmp_path: Path) -> None:
    sent: list[str] = []

    def dies(prompt: str) -> str:
        sent.append(prompt)
        if "Townbf " in prompt:
            raise ConnectionError("no route")
        return "Yes"

    journal, items = Journal(tmp_path / "j.jsonl"), known_items(60)
    with pytest.raises(UserError, match="no route"):
        Judge(ScriptedLLM(dies), "me", concurrency=2).judge(Correctness(), items, journal)
    assert len(sent) <= 24  # none of those that were waiting
    again = ScriptedLLM(lambda prompt: "Yes")
    Judge(again, "me", concurrency=2).judge(Correctness(), items, journal)
    assert len(again.asked) == 60 - 15


def test_an_unparsed_reply_is_kept_with_its_reason(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    for reply in ("No. Yesterday it was.", "Yes"):
        (said,) = Judge(ScriptedLLM(lambda prompt, reply=reply: reply), "me").judge(  # type: ignore[misc]
            Correctness(), ITEMS[:1], journal
        )
        assert (said.value, said.reason) == (None, "not a label alone: 'No. Yesterday it was.'")


def test_calls_to_a_server_are_made_at_once() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def slow(prompt: str) -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return "No" if "Towna " in prompt else "Yes"

    items = known_items(12)
    said = Judge(ScriptedLLM(slow), concurrency=4).judge(Correctness(), items)
    assert 1 < most <= 4
    assert [each.value for each in said] == [0.0 if "Towna " in item.question else 1.0 for item in items]
