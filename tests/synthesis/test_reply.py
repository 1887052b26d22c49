from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift import plugins
from raglift.synthesis.reply import answer_in, find_quote, question_in

FACTOID = plugins.load("question kind", "factoid")
KEYWORD = plugins.load("question kind", "keyword")
TEXT = "On 12. May the keeper\u2019s \u201cblue book\u201d \u2013 a gift \u2013 was lost; nobody in town ever found it."


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        ("Who lost the book?", "Who lost the book?"),
        (" Question: Who lost the book?\nAnswer: nobody", "Who lost the book?"),
        ("Sure! Here is a question:\n\n**Question:** \u201cWho lost the book?\u201d", "Who lost the book?"),
        ("**Who lost the book?**", "Who lost the book?"),
        ("1. Who lost the book?\n2. When was that?", "Who lost the book?"),
        ("<think>Maybe ask who?</think>\nWho lost the book?", "Who lost the book?"),
        ("```\nWho lost the book?\n```", "Who lost the book?"),
        ('What is a "blue book"? It is a gift.', 'What is a "blue book"?'),
        ("What does **kwargs hold?", "What does **kwargs hold?"),
        ("The keeper lost a book.", "The keeper lost a book."),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_questions(reply: str, asked: str) -> None:
    assert question_in(FACTOID, reply) == asked


@pytest.mark.parametrize(
    ("reply", "searched"),
    [
        ("lost blue book", "lost blue book"),
        ("Search: lost blue book", "lost blue book"),
        ("Here are the words:\n- lost blue book", "lost blue book"),
    ],
)
def test_searches(reply: str, searched: str) -> None:
    assert question_in(KEYWORD, reply) == searched


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("nobody", "nobody"),
        ("Answer: Nobody.", "nobody"),
        ('"the keeper\'s"', "the keeper\u2019s"),
        ('The keeper\'s "blue  book"', "the keeper\u2019s \u201cblue book"),
        ("blue book - a gift", ""),  # the text closes a quote in between
        ("12. May", "12. May"),
        ("It says:\nblue book", "blue book"),
        ("nobod", ""),
        ("somebody else", ""),
        ("", ""),
        ("...", ""),
        (TEXT, ""),  # everything is no answer
    ],
)
def test_answers_stand_in_the_text_to_the_letter(reply: str, answer: str) -> None:
    found = answer_in(FACTOID, reply, TEXT)
    assert found == answer
    assert found in TEXT


def test_scripts_without_spaces_are_quoted_anywhere() -> None:
    assert find_quote("\u706f\u5854", "\u8fd9\u5ea7\u706f\u5854\u5f88\u9ad8\u3002") == "\u706f\u5854"
    assert find_quote("lost", "was lost") == "lost"
    assert find_quote("los", "was lost") == ""
    assert find_quote("10", "in 2010 and 10 more") == "10"


@given(text=st.text(), quote=st.text(max_size=5))
def test_what_is_found_is_in_the_text(text: str, quote: str) -> None:
    assert find_quote(quote, text) in text


@given(st.lists(st.text(alphabet="abcdeXYZ\u00e9\u00df\u0130\u706f09'", min_size=1), min_size=1), st.data())
def test_any_run_of_words_is_found_again(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    said = data.draw(st.sampled_from(["  ", "\n", "\t "])).join(words[start:end])
    swapped = "".join(c.swapcase() if c.isascii() else c for c in said)
    found = find_quote(data.draw(st.sampled_from([said, swapped])), " ".join(words))
    assert found
    assert found.casefold() == " ".join(words[start:end]).casefold()
