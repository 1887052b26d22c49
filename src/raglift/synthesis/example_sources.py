"""Where people's examples come from: a file, or the human questions of the development split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.corpus.evidence import Locator
from raglift.corpus.json_lines import json_lines
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.records import QAPair
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.human_examples import HumanExample, HumanExamples, overlaps, squeezed
from raglift.synthesis.reply import find_quote
from raglift.synthesis.styles._base import PromptStyle
from raglift.synthesis.words import words

DEV = "dev"
_KEYS = ("text", "question", "answer", "document")
FEWEST = 8
FEWEST_TO_TUNE = 64
_LONGEST_TEXT = 500
_LONGEST_QUESTION = 300
_MARKS = dict.fromkeys(map(ord, "\uff1f\u061f\u037e"), "?")
"""Question marks of other scripts; the kinds read a question up to "?"."""
_NEEDS = (
    'An example is one line of JSON with a "text" of a sentence or two, a "question" about it, and where there is '
    'one an "answer"; one without a question mark is a query of words.'
)


def read_examples(name: str) -> HumanExamples:
    """The examples of a JSON Lines file with `text`, `question` and, where there are any, `answer` and `document` (a
    document's source: a file's path within the folder). `documents` still holds what the file says.

    Raises:
        UserError: There is no such file, a line of it is no JSON object of texts, or fewer than 8 lines are of use.
    """
    items: list[HumanExample] = []
    left_out: Counter[str] = Counter()
    for text, question, answer, document in _rows(Path(name).expanduser()):
        texts = [text] if len(text) <= _LONGEST_TEXT else evidence_texts(text)
        made = _example(texts, question, [answer] if answer else [], text if texts == [text] else "")
        if isinstance(made, str):
            left_out[made] += 1
        else:
            items.append(replace(made, documents=(document,) if document else ()))
    return _enough(HumanExamples(tuple(dict.fromkeys(items)), left_out), f"synthesis.examples: {name}")


def _rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    try:
        whole = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The examples {path} cannot be read.",
            str(error),
            f'synthesis.examples names a JSON Lines file in UTF-8, or is "{DEV}".',
        ) from error
    for number, line, row in json_lines(whole, path, _NEEDS):
        values = [row.get(key) or "" for key in _KEYS] if isinstance(row, dict) else []
        if not values or not all(isinstance(value, str) for value in values):
            raise UserError(f"{path}:{number} is no example.", line[:80], _NEEDS)
        text, question, answer, document = (squeezed(value) for value in values)
        yield text, question, answer, document


def _example(texts: Sequence[str], question: str, answers: Sequence[str], quote: str) -> HumanExample | str:
    """The example, or why there is none.

    Args:
        texts: The short texts that it may be about.
        quote: What is known to show the answer; empty where that is any of the texts.
    """
    question = squeezed(question.translate(_MARKS))
    if "?" in question:  # what stands after the question is no part of it
        question = question[: question.rindex("?") + 1]
    if not words(question) or not any(words(text) for text in texts):
        return "no question, or no readable text"
    if len(question) > _LONGEST_QUESTION:
        return f"a question of more than {_LONGEST_QUESTION} characters"
    asked = {word for word in words(question) if len(word) > 3}

    def shared(text: str) -> int:
        return len(asked & set(words(text)))

    near = sorted((text for text in texts if not quote or overlaps(text, quote)), key=lambda text: -shared(text))
    for text in near:
        for answer in answers:
            found = _standing(answer, text, question)
            if found:
                return HumanExample(text, question, found, len(found.split()))
    if not near or (not quote and shared(near[0]) < 2):
        return "no short text that holds the answer"
    return HumanExample(near[0], question, "", min((len(answer.split()) for answer in answers), default=0))


def _standing(answer: str, text: str, question: str) -> str:
    """The answer as it stands in the text; empty where it does not, or where the question gives it away."""
    found = find_quote(answer.strip().strip(".,;:").strip(), text)
    return "" if set(words(found)) <= set(words(question)) else found


def dev_examples(corpus: Corpus) -> HumanExamples:
    """The answerable human questions of the development split, each with the sentences of its evidence that hold its
    answer. The test questions are not looked at.

    Raises:
        UserError: Fewer than 8 are of use.
    """
    chunks: dict[str, list[str]] = {}
    for chunk in corpus.chunks:
        chunks.setdefault(chunk.document_id, []).append(chunk.id)
    document_text = {document.id: document.text for document in corpus.documents}
    items: list[HumanExample] = []
    left_out: Counter[str] = Counter()
    for pair in corpus.human:
        if pair.split != DEV or not pair.answerable:
            continue
        made = _best(_attempts(pair, corpus, chunks, document_text))
        if isinstance(made, str):
            left_out[made] += 1
        else:
            items.append(replace(made, documents=tuple(sorted({item.document_id for item in pair.evidence}))))
    return _enough(HumanExamples(tuple(dict.fromkeys(items)), left_out), f"synthesis.examples: {DEV}")


def _attempts(
    pair: QAPair, corpus: Corpus, chunks: dict[str, list[str]], document_text: dict[str, str]
) -> Iterator[HumanExample | str]:
    for item in pair.evidence:
        whole = item.chunk_id is None
        ids = chunks.get(item.document_id, []) if item.chunk_id is None else [item.chunk_id]
        texts = [text for chunk_id in ids for text in evidence_texts(corpus.text_of[chunk_id])]
        quote = "" if whole else document_text[item.document_id][item.start : item.end]
        yield _example(texts, pair.question, pair.answers, quote)


def _best(attempts: Iterable[HumanExample | str]) -> HumanExample | str:
    """The first with an answer, else the first of use, else why there is none."""
    made = list(attempts)
    usable = [item for item in made if isinstance(item, HumanExample)]
    answered = [item for item in usable if item.answer]
    return next(iter(answered or usable or made), "no evidence")


def placed(examples: HumanExamples, corpus: Corpus) -> HumanExamples:
    """The examples of a file with the ids of their documents, which are those that they name or that hold their text;
    without those that ask what a human test question asks.

    Raises:
        UserError: Fewer than 8 are left.
    """
    by_name = {name: document.id for document in corpus.documents for name in (document.source, document.id)}
    locator = Locator(corpus.documents, corpus.chunks)
    test = {frozenset(words(pair.question)) for pair in corpus.human if pair.split == "test"}
    kept = [item for item in examples.items if frozenset(words(item.question)) not in test]
    items = []
    for item in kept:
        named = {by_name[name] for name in item.documents if name in by_name}
        holding = {found.document_id for found in locator.find(item.text)}
        items.append(replace(item, documents=tuple(sorted(named | holding))))
    left_out = examples.left_out.copy()
    if len(kept) < len(examples.items):
        left_out["a test question of people"] = len(examples.items) - len(kept)
    return _enough(HumanExamples(tuple(items), left_out), "synthesis.examples")


def given_examples(settings: SynthesisConfig, elsewhere: bool) -> HumanExamples:
    """The examples of the file that the settings name, which are known before a stage begins; none otherwise.

    Args:
        elsewhere: Whether another than the local writer writes.

    Raises:
        UserError: The file is not of use, nothing would use it, or the writer is to be tuned and cannot be.
    """
    if settings.tune_writer and elsewhere:
        raise UserError(
            "synthesis.tune_writer tunes synthesis.model, and a writer was passed that writes in its place.",
            "A language model behind LlamaIndex's interface cannot be tuned.",
            "Set synthesis.tune_writer to false, or pass no writer.",
        )
    if settings.examples is not None and not settings.tune_writer:
        _check_shown(settings.style)
    if settings.examples in (None, DEV):
        return HumanExamples()
    examples = read_examples(str(settings.examples))
    if settings.tune_writer:
        _check_enough_to_tune(examples)
    return examples


def examples_of(settings: SynthesisConfig, given: HumanExamples, corpus: Corpus) -> HumanExamples:
    """The run's examples.

    Args:
        given: What `given_examples` gave.

    Raises:
        UserError: Too few are of use.
    """
    if settings.examples is None:
        return given
    examples = dev_examples(corpus) if settings.examples == DEV else placed(given, corpus)
    if settings.tune_writer:
        _check_enough_to_tune(examples)
    return examples


def with_taught(examples: HumanExamples, corpus: Corpus) -> HumanExamples:
    """The examples of a tuned writer: `taught` holds their documents and all that repeat them."""
    group_of = {document.id: document.group for document in corpus.documents}
    groups = {group_of[name] for item in examples.items for name in item.documents}
    taught = frozenset(document.id for document in corpus.documents if document.group in groups)
    return replace(examples, taught=taught)


def _enough(examples: HumanExamples, where: str, fewest: int = FEWEST) -> HumanExamples:
    found = len(examples.items)
    if found < fewest:
        reasons = "; ".join(f"{count} left out: {reason}" for reason, count in sorted(examples.left_out.items()))
        raise UserError(
            f"{where} gives {found} usable examples, and at least {fewest} are needed.", reasons, _fix(where)
        )
    return examples


def _check_shown(name: str) -> None:
    style: PromptStyle = plugins.load("prompt style", name)
    if not style.shows_examples:
        shown = [other for other in plugins.names("prompt style") if plugins.load("prompt style", other).shows_examples]
        raise UserError(
            f"synthesis.examples is set, and the prompt style {name} shows the writer no examples.",
            "They would only keep questions from being written.",
            f"Set synthesis.style to {' or '.join(shown)}, tune_writer to true, or synthesis.examples to null.",
        )


def _check_enough_to_tune(examples: HumanExamples) -> None:
    if len(examples.items) < FEWEST_TO_TUNE:
        raise UserError(
            f"synthesis.tune_writer needs at least {FEWEST_TO_TUNE} examples, and {len(examples.items)} are usable.",
            "A writer that is tuned on fewer repeats them.",
            "Set synthesis.tune_writer to false: the examples are then shown to the writer as they are.",
        )


def _fix(where: str) -> str:
    if where.endswith(f": {DEV}"):
        return (
            "Raise data.dev_share or give more human questions whose evidence stands in the documents, name a file of "
            "examples, or set synthesis.examples to null."
        )
    return _NEEDS
