"""Refusals are told from answers, and reward only the questions that deserve one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raglift.abstention import ABSTAIN, abstains
from raglift.evaluation.response import score_answers

ERRORS = ["wrongly_refused", "wrongly_answered"]


def nothing(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError("nothing should be embedded")


REFUSALS = [
    ABSTAIN,
    "the documents do not say",
    "THE DOCUMENTS DO NOT SAY!!",
    '"The documents do not say."',
    "The documents do not say who won the match.",
    "The documents don\u2019t say.",
    "",
    "  \n",
    "...",
    "I don't know.",
    "i dont know",
    "I do not know the answer.",
    "Unknown",
    "N/A",
    "Not mentioned.",
    "Not specified in the context.",
    "It is not mentioned.",
    "It's not mentioned in the text.",
    "The answer is not provided in the context.",
    "The provided context does not provide this information.",
    "The context does not provide the revenue for 2021.",
    "I cannot answer this question.",
    "I'm sorry, but I cannot answer that.",
    "I'm sorry. I can't answer that question based on the given context.",
    "Sorry, I am unable to find this in the documents.",
    "Unfortunately, the text does not mention it.",
    "Based on the provided context, there is no information about the CEO's age.",
    "There is no information about that.",
    "There is no mention of a refund policy.",
    "No information available.",
    "No information is provided about the budget.",
    "The CEO's name is not mentioned in the provided documents.",
    "Mr. Smith's age is not stated in the passage.",
    "This cannot be determined from the passage.",
    "The date cannot be determined from the given information.",
    "Not enough information.",
    "There is not enough information to answer.",
    "Insufficient context to answer the question.",
    "The question cannot be answered from the documents.",
    "According to the documents, it is not specified.",
    "The passage does not explicitly state the year.",
    "I don't have enough information to answer.",
    "I could not find the answer in the documents.",
    "Answer: The documents do not say.",
    "**The documents do not say.**",
    "The given text doesn't contain information on this.",
    "The article does not specify.",
    "I have no information about this.",
    "Cannot answer.",
    "cannot answer",
    "does not provide",
    "no information",
    "not mentioned",
    "I'm not sure.",
    "It is not possible to determine this from the text.",
    "The information is not available.",
    "The document does not provide any information about it.",
    "I am not able to answer this question.",
    "The documents do not say. However, it is likely Paris.",
    "The documents contain no information about it.",
    "This information is not available in the provided context.",
    "The text doesn't say.",
    "The report does not disclose this.",
    "It does not say.",
    "It doesn't mention that.",
    "I'm afraid I don't know.",
    "Unanswerable",
    "The 10-K filing does not mention any buyback.",
    "None of the documents mention this.",
    "The context provided does not mention this.",
    "The documents provided do not contain the answer.",
    "We do not know.",
]
ANSWERS = [
    "No. Yesterday the office was closed.",
    "No.",
    "no",
    "Yes.",
    "It does not return a value.",
    "Paris",
    "None",
    "0",
    "The function does not return a value.",
    "It is not available in Python 3.11.",
    "Revenue was $5 million in 2020. The documents do not mention 2021.",
    "No data is lost when the process is killed.",
    "No information is shared with third parties.",
    "There is no data loss.",
    "There is no limit.",
    "You cannot answer the call while it is on hold.",
    "The API does not include subsidiaries.",
    "Users who cannot provide an ID are refused.",
    "He did not know the password.",
    "The method does not contain a loop.",
    "It was not found guilty.",
    "Not until 1995",
    "The document does not contain a signature.",
    "They do not have wings.",
    "I know that it is Paris.",
    "The halting problem cannot be decided.",
    "It is unknown territory for the firm that was founded in 1990.",
    "The report covers 2019 to 2021.",
    "Because the key is not found, a KeyError is raised.",
    "No, it does not mention the CEO by name in the title.",
    "They did not say goodbye.",
    "No information on users is collected.",
    "An unknown soldier.",
    "The value is not given a default.",
    "It does not have a return value.",
    "Unfortunately, the king died in 1066.",
    "no answer field is required",
    "Information about the user is stored.",
    "The source code does not include tests.",
    "42",
    "\u6771\u4eac",
    "It provides no guarantees.",
    "The data does not contain duplicates.",
    "This is not provided by the vendor.",
    "It cannot be installed on Windows.",
    "The parser could not be found on PATH.",
    "This cannot be undone.",
    "It cannot be changed.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_recognised(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_a_refusal(text: str) -> None:
    assert not abstains(text)


@given(
    text=st.sampled_from(REFUSALS + ANSWERS),
    change=st.sampled_from([str.upper, str.lower, lambda text: f"  {text}\n", lambda text: f"**{text}**"]),
)
def test_case_and_decoration_do_not_matter(text: str, change: Any) -> None:
    assert abstains(change(text)) == abstains(text)


@given(st.text())
def test_marks_alone_are_no_answer(text: str) -> None:
    marks = "".join(char for char in text if not char.isalnum())
    assert abstains(marks)
    assert abstains(marks + "\n" + ABSTAIN)


@pytest.mark.parametrize("piece", ["the ", "sorry but ", "based on the ", "is not ", "in the text ", "do not "])
def test_time_grows_linearly_with_the_text(piece: str) -> None:
    began = time.perf_counter()
    assert not abstains(piece * 20_000)
    assert time.perf_counter() - began < 2  # milliseconds as it is, minutes if the pattern backtracked


@pytest.mark.parametrize(
    ("answer", "answerable", "expected"),
    [(ABSTAIN, False, 1.0), (ABSTAIN, True, 0.0), ("1990", True, 1.0), ("1990", False, 0.0), ("", True, 0.0)],
)
def test_the_metric_rewards_refusing_only_the_unanswerable(
    make_question: Any, answer: str, answerable: bool, expected: float
) -> None:
    question = make_question(answerable=answerable)
    [score] = score_answers(
        [question], {"q": answer}, ["abstention"], "arm", lambda texts: np.empty((0, 1), np.float32)
    )
    assert score.value == expected


def test_no_answer_is_neither(make_question: Any) -> None:
    questions = [make_question("a", answerable=False), make_question("b")]
    scores = score_answers(questions, {}, ["abstention"], "arm", lambda texts: np.empty((0, 1), np.float32))
    assert [(score.value, score.reason) for score in scores] == [(None, "no answer")] * 2


@pytest.mark.parametrize(
    ("answer", "answerable", "refused", "answered"),
    [
        (ABSTAIN, True, 1.0, "answerable"),
        ("1990", True, 0.0, "answerable"),
        (ABSTAIN, False, "unanswerable", 0.0),
        ("1990", False, "unanswerable", 1.0),
        (None, True, "no answer", "answerable"),
        (None, False, "unanswerable", "no answer"),
    ],
)
def test_the_two_errors_apart(
    make_question: Any, answer: str | None, answerable: bool, refused: float | str, answered: float | str
) -> None:
    scores = score_answers([make_question(answerable=answerable)], {"q": answer}, ERRORS, "arm", nothing)
    assert [score.reason or score.value for score in scores] == [refused, answered]


@given(st.lists(st.tuples(st.sampled_from([ABSTAIN, "1990", None]), st.booleans()), min_size=1))
def test_the_two_errors_are_all_that_abstention_lacks(make_question: Any, cases: list[tuple[str | None, bool]]) -> None:
    questions = [make_question(f"q{number}", answerable=answerable) for number, (_, answerable) in enumerate(cases)]
    answers = {f"q{number}": answer for number, (answer, _) in enumerate(cases)}
    scores = score_answers(questions, answers, ["abstention", *ERRORS], "arm", nothing)
    right = {score.qa_id: score.value for score in scores if score.metric == "abstention"}
    wrong = {score.qa_id: score.value for score in scores if score.metric in ERRORS and score.value is not None}
    assert wrong == {qa_id: 1 - value for qa_id, value in right.items() if value is not None}
