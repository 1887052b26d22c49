"""Passages that talk to a language model."""

from __future__ import annotations

import re
import unicodedata

from raglift.synthesis.candidate import Accepted, Candidate

_MODEL = r"(ai|a\.i\.|llm|large language model|language model|chat ?bot|ai (assistant|agent|model|system))s?"
_BEFORE = r"(previous|prior|above|preceding|earlier|foregoing|system|original|initial|other)"
_ORDERS = r"(instruction|prompt|direction|directive|rule|guideline|message|command|order)s?"
_INJECTION = re.compile(
    "|".join(
        [
            rf"\b(ignore|disregard|forget|override|bypass|do not follow) "
            rf"((all|any|every|each|of|the|your|these|those|my) )*{_BEFORE} ((and|or) {_BEFORE} )?(\w+ )?{_ORDERS}\b",
            r"\b(ignore|disregard|forget) ((all|everything) )?(that )?(you (were|have been|are) (told|given|instructed|"
            r"taught)|your (instructions|guidelines|programming|training|rules))\b",
            r"\b(ignore|disregard|forget) everything (above|before|prior|so far)\b",
            r"\b(reveal|print|repeat|show|output|leak|disclose|display|give|tell) (me |us )?(your (\w+ )?"
            r"(system|developer|hidden|initial) (prompt|instructions|message)|the (\w+ )?system prompt)\b",
            r"\byou are (now )?(an? )?((helpful|unrestricted|uncensored|unfiltered|jailbroken) )+"
            rf"(assistant|{_MODEL})\b",
            r"\byou are now (in )?(dan|developer mode|god mode|jailbroken|unrestricted)\b",
            rf"\b(if you are|if you're|note to|attention|dear|message (to|for)|instructions? (to|for)) "
            rf"((any|all|an?|the) )*{_MODEL}( reading| processing| summari[sz]ing|[:,!])",
            r"\b(do not|don't|never) (tell|inform|alert|notify) the (user|human)\b",
            r"\bnew (system )?(instructions?|prompt):",
            r"<\|?(im_start|im_end|system|assistant|user|endoftext|begin_of_text|start_header_id|eot_id)\|>",
            r"(?-i:\[/?INST\]|<</?SYS>>)|<(start|end)_of_turn>|###\s*(instruction|system|assistant)s?\s*:",
        ]
    ),
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """Compatibility characters as usual ones, invisible ones left out, white space as single spaces."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    return " ".join(visible.replace("\u2019", "'").split())


class PromptInjection:
    """Drops every question about a passage that gives orders to a language model or imitates its control tokens.

    Whoever wrote such a passage may have written the question through the writer, and a model that is tuned on it
    learns to follow what documents say. A text that only reports on such attacks is dropped too.

    References:
        Greshake et al. 2023, "Not what you've signed up for: Compromising Real-World LLM-Integrated Applications with
        Indirect Prompt Injection".
    """

    name = "prompt_injection"

    def reason(self, candidate: Candidate, accepted: Accepted) -> str | None:
        """Such a phrase stands in the question, the answer, the evidence or anywhere in its chunk."""
        texts = (candidate.question, candidate.answer, candidate.text, candidate.passage)
        return "passage addresses a model" if any(_INJECTION.search(plain(text)) for text in texts) else None


PLUGIN = PromptInjection()
