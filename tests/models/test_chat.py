"""The same text for training and serving, whatever the model's template can take."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from raglift.models.chat import render_chat
from tests.tiny import chat_tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Which bird?"}
ANSWER = {"role": "assistant", "content": "The red kite."}
AGAIN = {"role": "user", "content": "Where?"}

NO_SYSTEM = """\
{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</>{% endfor %}\
{% if add_generation_prompt %}<model>{% endif %}"""
"""As Gemma's does."""


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    made = chat_tokenizer()
    made.chat_template = template
    return made


def test_the_models_own_template_up_to_where_the_answer_begins() -> None:
    assert render_chat(chat_tokenizer(), [SYSTEM, USER]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhich bird?<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", [None, ""])
def test_without_a_template_the_turns_are_paragraphs(template: str | None) -> None:
    assert render_chat(tokenizer(template), [SYSTEM, USER]) == "Be brief.\n\nWhich bird?\n\nAnswer:"
    assert render_chat(tokenizer(template), [USER]) == "Which bird?\n\nAnswer:"


def test_a_template_that_refuses_the_system_gets_its_words_in_the_users_turn() -> None:
    messages = [dict(SYSTEM), dict(USER), dict(ANSWER), dict(AGAIN)]
    expected = "<user>Be brief.\n\nWhich bird?</><assistant>The red kite.</><user>Where?</><model>"
    assert render_chat(tokenizer(NO_SYSTEM), messages) == expected
    assert messages == [SYSTEM, USER, ANSWER, AGAIN]  # left as they were
    assert render_chat(tokenizer(NO_SYSTEM), [SYSTEM, USER]) == "<user>Be brief.\n\nWhich bird?</><model>"


def test_a_template_that_takes_what_it_is_given_is_not_touched() -> None:
    assert render_chat(tokenizer(NO_SYSTEM), [USER]) == "<user>Which bird?</><model>"


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        ("{{ raise_exception('never') }}", [USER]),
        ("{{ raise_exception('never') }}", [SYSTEM, USER]),
        (NO_SYSTEM, [SYSTEM]),  # nobody to say it instead
    ],
)
def test_what_no_joining_mends_is_raised(template: str, messages: list[dict[str, str]]) -> None:
    with pytest.raises(TemplateError):
        render_chat(tokenizer(template), messages)
