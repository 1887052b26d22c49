from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.synthesis.asking import asking_of, kinds_of, texts_of
from raglift.synthesis.candidate import Accepted, Candidate
from raglift.synthesis.kinds._base import Draft, QuestionKind, Shot, two_texts
from raglift.synthesis.vocabulary import Vocabulary, content_stems, content_words
from raglift.synthesis.words import words

OLD_FAULT = "How is it decided which of two fitting rules counts?"
"""Its "it" is what the filter `refers_to_passage` looks for; changing the example would change what is written."""
KINDS: list[QuestionKind] = [plugins.load("question kind", name) for name in plugins.names("question kind")]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
BOATS = "Before 1890, cargo was carried ashore in flat boats that Dutch crews rowed."
PIER = "From 1890 on, ships lay at the new pier, where cranes lifted the cargo into railway wagons."


def known(*texts: str) -> Callable[[str], bool]:
    return Vocabulary(lambda: texts).knows


def texts_in(shot: Shot) -> tuple[str, ...]:
    return tuple(shot.text.split("\nSecond text: "))


def test_names_are_those_of_the_files() -> None:
    assert [kind.name for kind in KINDS] == plugins.names("question kind")
    assert {"factoid", "explanation", "keyword", "claim", "title", "comparison", "unanswerable"} <= {
        kind.name for kind in KINDS
    }


@every_kind
def test_worked_examples_are_what_they_ask_for(kind: QuestionKind) -> None:
    assert len(kind.shots) >= 3
    assert kind.task
    assert kind.description
    for shot in kind.shots:
        assert shot.asked.endswith("?") == kind.question
        assert "\n" not in "".join(texts_in(shot)) + shot.asked + shot.answer + shot.about
        assert len(texts_in(shot)) == kind.texts
        assert shot.about
        assert f"{kind.label}:" not in shot.about
        if kind.answer_words:
            assert shot.answer in shot.text
            assert 0 < len(shot.answer.split()) <= kind.answer_words
            assert not set(words(shot.answer)) <= set(words(shot.asked))
        else:
            assert shot.answer == ""


@every_kind
def test_worked_examples_are_valid(kind: QuestionKind) -> None:
    """Each passes the kind's check and every filter, as a question of the run would have to."""
    corpus = known(*(shot.text for shot in kind.shots))
    for shot in kind.shots:
        assert kind.check(Draft(shot.asked, texts_in(shot), corpus)) is None, shot.asked
        text = " ".join(texts_in(shot))
        candidate = Candidate("c", text, kind, "train", shot.asked, shot.answer, 1, text)
        for name in plugins.names("question filter") if shot.asked != OLD_FAULT else ():
            assert plugins.load("question filter", name).reason(candidate, Accepted()) is None, (name, shot.asked)


CHECKS = [
    ("claim", "Boats with a flat bottom once brought cargo to land.", None),
    ("claim", "Crews of Dutch oarsmen rowed cargo ashore before 1890.", None),
    ("claim", "Was cargo rowed ashore in boats?", "not a statement"),
    ("claim", "Boats rowed ashore", "not a statement"),
    ("claim", "What the crews rowed ashore, for somebody who asks.", "not a statement"),
    ("claim", "Who rowed cargo ashore needed flat boats.", None),
    ("claim", "The claim of the text:", "not a statement"),
    ("claim", "The boats were éclatants and rowed ashore.", None),  # a small letter with an accent begins no name
    ("claim", "The boats were Éclatants and rowed ashore.", "names what its text does not"),
    ("claim", "Mice in the cold eat less than others.", "shares nothing with its text"),
    ("claim", "Cargo was rowed ashore in boats until 1914.", "names what its text does not"),
    ("claim", "Cargo was rowed ashore in boats by Belgian crews.", "names what its text does not"),
    ("claim", "Cargo was never rowed ashore in flat boats.", "may contradict its text"),
    ("claim", "Cargo wasn't rowed ashore in flat boats.", "may contradict its text"),
    ("title", "Landing cargo with flat boats", None),
    ("title", "Cargo boats of the old harbour and what the men who rowed them got paid", "too long for a title"),
    ("title", "Cargo came ashore in boats.", "a sentence, not a title"),
    ("title", "How did cargo come ashore?", "a sentence, not a title"),
    ("title", "Frost weathering of rock", "shares nothing with its text"),
    ("unanswerable", "Who owned the flat boats of Rotterdam?", None),
    ("unanswerable", "How was the cargo carried before the crews had boats?", "may be answered by the documents"),
    ("unanswerable", "How were cargoes carried by a boat?", "may be answered by the documents"),  # other inflections
    ("unanswerable", "Who invented the bicycle in Paris?", "shares nothing with its text"),
    ("factoid", "Anything?", None),
    ("explanation", "Anything?", None),
    ("keyword", "anything", None),
]


@pytest.mark.parametrize(("name", "question", "expected"), CHECKS)
def test_checks(name: str, question: str, expected: str | None) -> None:
    kind: QuestionKind = plugins.load("question kind", name)
    assert kind.check(Draft(question, (BOATS,), known(BOATS, PIER))) == expected


def test_a_claim_may_deny_what_its_text_denies() -> None:
    kind: QuestionKind = plugins.load("question kind", "claim")
    text = "The harbour cannot be entered at low tide without a pilot."
    assert kind.check(Draft("Nobody enters the harbour alone when the tide is low.", (text,), known(text))) is None
    assert kind.check(Draft("The harbour is entered when the tide is low.", (text,), known(text))) is not None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How did the pier change what the boats had done?", None),
        ("Was cargo handled alike before and after the pier?", None),
        ("Who rowed the boats?", "is about one of its texts at most"),
        ("Which cranes stood on the pier?", "is about one of its texts at most"),
        ("What do frost and ice have in common?", "is about one of its texts at most"),
    ],
)
def test_a_comparison_is_about_both_texts(question: str, expected: str | None) -> None:
    kind: QuestionKind = plugins.load("question kind", "comparison")
    assert kind.check(Draft(question, (BOATS, PIER), known(BOATS, PIER))) == expected


def test_two_texts_are_told_apart() -> None:
    assert two_texts("One.", "Two.") == "One.\nSecond text: Two."


def test_a_vocabulary_is_read_when_it_is_asked_and_once() -> None:
    reads: list[int] = []

    def texts() -> tuple[str, ...]:
        reads.append(1)
        return BOATS, PIER

    vocabulary = Vocabulary(texts)
    assert not reads
    assert vocabulary.knows("boats")
    assert vocabulary.knows("Boat")
    assert vocabulary.knows("1890")
    assert not vocabulary.knows("bicycle")
    assert reads == [1]


def test_words_that_say_something() -> None:
    assert content_words("What is the name of the 2 boats in \u6c34?") == ["2", "boats", "\u6c34"]
    assert content_stems("The boats rowed; a boat rows.") == {"boat", "row"}


def test_kinds_come_from_one_place() -> None:
    settings = SynthesisConfig(kinds={"claim": 1.0, "factoid": 2.0}, style="walkthrough")
    assert kinds_of(settings) == {name: plugins.load("question kind", name) for name in ("claim", "factoid")}
    asking = asking_of(settings)
    assert (list(asking.kinds), asking.style.name) == (["claim", "factoid"], "walkthrough")
    assert asking_of(SynthesisConfig()).style.name == "few_shot"
    assert [texts_of(name) for name in ("comparison", "factoid", "cloze")] == [2, 1, 1]


@every_kind
def test_a_kind_takes_other_examples(kind: QuestionKind) -> None:
    other = replace(kind, shots=kind.shots[:1])
    assert other.shots != kind.shots
    assert (other.name, other.check) == (kind.name, kind.check)


def test_new_kinds_are_opt_in() -> None:
    assert SynthesisConfig().kinds == {"factoid": 2.0, "explanation": 2.0, "keyword": 1.0}
    assert SynthesisConfig().style == "few_shot"
