"""Whether the language model's examples teach what they are meant to, looked at before training.

A trainer that cuts long examples cuts the answer first, and one that pads with the end token may mask it: nothing
fails, and the model learns nothing or never to stop. So every example is checked as it will be trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from transformers import PreTrainedTokenizerBase

from raglift.errors import UserError
from raglift.training.examples import Example
from raglift.training.objectives.answer_only import IGNORED

Encoded = tuple[list[int], list[int]]
"""Token ids and labels, equally long."""
LEARNED = ("\u27e6", "\u27e7")
"""What the learned tokens stand between in a preview."""
SHORTER = "Lower retrieval.top_k or corpus.chunk_tokens, or choose an llm.model with a longer context."
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Fixes:
    """What somebody can do whose training cannot begin.

    Attributes:
        too_long: About an example that the model's window does not hold.
        too_large: About a step that memory does not hold; None: lower the keys of the target's section.
    """

    too_long: str = SHORTER
    too_large: str | None = None


OF_A_RUN = Fixes()
"""Of the language model's training in a run."""


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Refuse a tokenizer with which no answer could end.

    Raises:
        UserError: It has no end-of-sequence token.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"The tokenizer of {model} has no end-of-sequence token.",
            "A model that is trained without one never learns where an answer ends.",
            "Set eos_token in the model's tokenizer_config.json, or choose another llm.model.",
        )


def check_room(new_tokens: int, window: int, model: str) -> None:
    """Refuse settings by which the answers alone would fill the model's window.

    Args:
        new_tokens: Most tokens that are written: the longest answer and the room for a quote before it.
        window: Tokens that the model can read and write in all.

    Raises:
        UserError: They leave no token for the prompt.
    """
    if new_tokens >= window:
        raise UserError(
            f"What {model} may write leaves no room for a question.",
            f"llm.max_new_tokens and the room for a quote are {new_tokens:,} tokens; the window has {window:,}.",
            "Lower llm.max_new_tokens, set llm.prompt: grounded, or choose an llm.model with a longer context.",
        )


def check(
    examples: Sequence[Example],
    rows: Sequence[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    window: int,
    fix: str = SHORTER,
) -> None:
    """Refuse examples whose answer is not learned to its end.

    Args:
        rows: The examples as they are trained on, one each.
        window: Tokens that the model can read.
        fix: What to do about an example that cannot be learned.

    Raises:
        UserError: An answer is empty or cut, an example is longer than the window, or the end-of-sequence token
            carries no loss; the first such example is named.
    """
    found = [
        (number, problem)
        for number, (example, row) in enumerate(zip(examples, rows, strict=True), 1)
        if (problem := _problem(example, row, tokenizer, window))
    ]
    if found:
        number, problem = found[0]
        raise UserError(
            f"The language model cannot learn from {len(found)} of {len(rows)} training examples.",
            f"Example {number}: {problem}. It begins: {examples[number - 1].prompt[:80]!r}",
            fix,
        )


def _problem(example: Example, row: Encoded, tokenizer: PreTrainedTokenizerBase, window: int) -> str:
    """What is wrong with an example; empty where nothing is."""
    ids, labels = row
    answer = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    learned = [label for label in labels if label != IGNORED]
    if not example.answer.strip() or not answer:
        return "it has no answer"
    if len(ids) > window:
        return f"its {len(ids):,} tokens are more than the {window:,} that the model reads, so its answer would be cut"
    if ids[-1] != tokenizer.eos_token_id or labels[-1] != ids[-1]:
        return "the end-of-sequence token after its answer carries no loss"
    if learned[:-1] != answer or ids[-len(learned) :] != learned:
        return f"of the {len(answer):,} tokens of its answer, {len(learned) - 1:,} are learned"
    return ""


def preview(rows: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, shown: int | None = None) -> str:
    """Three examples, from the beginning, the middle and the end, decoded from the tokens that are trained on; the
    learned ones stand between the marks of `LEARNED`.

    Args:
        shown: Characters of each end of a long example that are shown; None: all of it.
    """
    chosen = sorted({place * (len(rows) - 1) // (_EXAMPLES - 1) for place in range(_EXAMPLES)}) if rows else []
    parts = []
    for at in chosen:
        ids, labels = rows[at]
        count = sum(label != IGNORED for label in labels)
        marks = " ".join(LEARNED)
        title = f"Training example {at + 1} of {len(rows)}: {len(ids)} tokens, learned are the {count} in {marks}"
        text = _marked(ids, labels, tokenizer)
        if shown is not None and len(text) > 3 * shown:
            text = f"{text[:shown]} [... {len(text) - 2 * shown:,} characters ...] {text[-shown:]}"
        parts.append(f"{title}\n{text}")
    return "\n\n".join(parts)


def _marked(ids: list[int], labels: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    pieces = []
    for learned, group in groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] != IGNORED):
        text = str(tokenizer.decode([token for token, _ in group]))
        pieces.append(f"{LEARNED[0]}{text}{LEARNED[1]}" if learned else text)
    return "".join(pieces)
