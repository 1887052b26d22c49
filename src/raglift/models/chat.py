"""Chat messages as the text that a model continues."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase


def render_chat(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> str:
    """The messages up to where the answer begins, by the model's own chat template.

    A template that knows no system turn gets the system's words at the head of the user's; a model without a template
    gets the turns as paragraphs and "Answer:". Training and serving both come here, so they cannot differ.
    """
    turns = list(messages)
    if not getattr(tokenizer, "chat_template", None):
        return "\n\n".join([turn["content"] for turn in turns] + ["Answer:"])
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError:
        if turns[0]["role"] != "system" or len(turns) < 2:
            raise
        joined = {"role": turns[1]["role"], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        return str(tokenizer.apply_chat_template([joined, *turns[2:]], tokenize=False, add_generation_prompt=True))
