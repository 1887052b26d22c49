"""The training sets: (query, passage) pairs for the embedding model, prompts with answers for the language model.

Language-model examples follow RAFT (Zhang et al. 2024): the question with the passages that the project's own index
brings, the evidence among distractors; in a share of them the evidence is withheld and the answer is to abstain, and a
share has no passages at all, so that the model stays used to answering without. Where the prompt approach asks for a
quote before the answer, it is taken from the evidence that is shown. They are built with the base index, so that tuning
the embedding model differently does not retrain the language model.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset, disable_progress_bars

from raglift.abstention import ABSTAIN
from raglift.artifacts import write_json
from raglift.config import LLMConfig
from raglift.corpus.stage import Corpus
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.models.encoder import Encoder
from raglift.prompting._base import Prompt
from raglift.records import QAPair, content_id
from raglift.synthesis.asking import texts_of
from raglift.synthesis.cloze import clozes
from raglift.synthesis.quoting import evidence_quote
from raglift.synthesis.words import holds
from raglift.training.examples import Example
from raglift.training.pairs import Pair
from raglift.training.provenance import EMBEDDING_PAIRS

VERSION = 4
disable_progress_bars()
_DEPTH = 20
_DEV_QUESTIONS = 48
"""Development questions that the language model answers at each scoring; people's come first."""
_DROPPED = {
    "unquoted": "answer in none of the passages",
    "no quote": "no sentence to quote that is short enough and holds the answer",
}


@dataclass(frozen=True, slots=True)
class DevExample:
    """A development question as the model will meet it in serving."""

    prompt: str
    answers: tuple[str, ...]
    answerable: bool


class Reader(Protocol):
    """The language model as the examples are made for it."""

    def render(self, question: str, passages: Sequence[str]) -> str:
        """The prompt's text, by the same renderer as in serving."""

    def token_count(self, text: str) -> int:
        """Tokens of a text, by the model's tokenizer."""

    @property
    def window(self) -> int:
        """The model's context in tokens; an example whose answer would not fit is left out, never cut."""

    @property
    def prompt(self) -> Prompt:
        """The prompt approach, which says what the model is to write."""


def embedding_pairs(questions: Sequence[QAPair], corpus: Corpus) -> list[Pair]:
    """One pair a training question and own passage of it, which is the positive; none for an unanswerable question."""
    pairs = []
    for question in questions:
        if question.split != "train" or question.origin != "synthetic":
            continue
        # The own passages stand first; what follows only repeats their text.
        first = question.evidence[: texts_of(question.kind)]
        own = [item.chunk_id for item in first if item.chunk_id]
        for chunk_id in own:
            also = tuple(other for other in own if other != chunk_id)
            pairs.append(Pair(question.question, corpus.text_of[chunk_id], chunk_id, also=also))
    return pairs


class ExampleMaker:
    """Puts passages beside a question, as the base index finds them.

    Args:
        top_k: Passages a prompt.
        absent: Share of the examples whose evidence is withheld.
        closed_book: Share of the examples without passages.
    """

    def __init__(
        self, corpus: Corpus, reader: Reader, top_k: int, absent: float, seed: int, closed_book: float = 0.0
    ) -> None:
        self._corpus = corpus
        self._reader = reader
        self._prompt = reader.prompt
        self._chunks = {chunk.id: chunk for chunk in corpus.chunks} if self._prompt.quote_tokens else {}
        self._top_k = top_k
        self._absent = absent
        self._closed_book = closed_book
        self._rng = random.Random(f"{seed}/examples")

    def example(self, question: QAPair, ranking: Ranking) -> tuple[Example | None, str]:
        """The example, and whether its evidence was `found` by the index, `put in`, or `withheld`, or that it is
        `closed book` or `unanswerable`; None and `unquoted` where its answer stands in none of its passages,
        or `no quote` where what the prompt asks for before the answer cannot be given."""
        if not question.answerable:
            return self._made(question, [chunk_id for chunk_id, _ in ranking][: self._top_k], ABSTAIN), "unanswerable"
        evidence = {item.chunk_id for item in question.evidence}
        found = [chunk_id for chunk_id, _ in ranking]
        drawn = self._rng.random()
        if drawn < self._absent:
            passages = [chunk_id for chunk_id in found if not self._tells(question, chunk_id)][: self._top_k]
            if passages:
                return self._made(question, passages, ABSTAIN), "withheld"
        elif drawn < self._absent + self._closed_book:
            if not self._quoted(question, [item.chunk_id for item in question.evidence if item.chunk_id]):
                return None, "unquoted"
            example = self._given(question, (), "")
            return (example, "closed book") if example else (None, "no quote")
        passages, how = found[: self._top_k], "found"
        if not evidence & set(passages):
            how = "put in"
            self._put_in(question, passages)
        if not self._quoted(question, passages):
            return None, "unquoted"
        quote = self._quote(question, passages)
        example = None if quote is None else self._given(question, passages, quote)
        return (example, how) if example else (None, "no quote")

    def _put_in(self, question: QAPair, passages: list[str]) -> None:
        own = question.evidence[0].chunk_id
        assert own is not None  # synthetic evidence is always a passage
        place = self._rng.randrange(max(1, len(passages)))
        passages[place : place + 1] = [own]  # also where the index found nothing at all

    def _quoted(self, question: QAPair, passages: Sequence[str]) -> bool:
        """Whether the answer, which the prompt wants taken from the passages, stands in one of them."""
        return any(holds(self._corpus.text_of[chunk_id], question.answers[0]) for chunk_id in passages)

    def _quote(self, question: QAPair, passages: Sequence[str]) -> str | None:
        """What is to be copied before the answer: empty where the prompt asks for nothing, None where nothing fits."""
        room = self._prompt.quote_tokens
        if not room:
            return ""
        answer = question.answers[0]
        own = self._reader.token_count(answer)

        def fits(quote: str) -> bool:
            return self._reader.token_count(self._prompt.target(answer, quote)) - own <= room

        return evidence_quote(question, passages, self._chunks, fits)

    def _tells(self, question: QAPair, chunk_id: str) -> bool:
        own = {item.chunk_id for item in question.evidence if item.chunk_id}
        if chunk_id in own or any(chunk_id in self._corpus.similar.get(other, ()) for other in own):
            return True
        return holds(self._corpus.text_of[chunk_id], question.answers[0])

    def _given(self, question: QAPair, passages: Sequence[str], quote: str) -> Example | None:
        """The example with its answer; None where what is written would be read as another answer."""
        answer = question.answers[0]
        target = self._prompt.target(answer, quote)
        if self._prompt.read(target).strip() != answer.strip():
            return None
        return self._made(question, passages, target)

    def _made(self, question: QAPair, passages: Sequence[str], target: str) -> Example:
        texts = [self._corpus.text_of[chunk_id] for chunk_id in passages]
        return Example(self._reader.render(question.question, texts), target)


def build(
    settings: LLMConfig,
    top_k: int,
    corpus: Corpus,
    questions: Sequence[QAPair],
    encoder: Encoder,
    store: FaissStore,
    reader: Reader,
    job: Job,
) -> None:
    """Write the datasets `pairs`, `examples` and `dev`, and funnel.json.

    Args:
        questions: The synthetic questions of every split; the human ones come with the corpus.
        reader: The base language model.
    """
    pairs = embedding_pairs(questions, corpus)
    answered = _answered(settings, corpus, questions, job.seed)
    maker = ExampleMaker(corpus, reader, top_k, settings.absent, job.seed, settings.closed_book)
    rankings = dense_rankings(store, encoder.encode([q.question for q in answered], "query"), _DEPTH)
    examples, counts = [], Counter[str]()
    with job.display.stage("making training examples", len(answered), "examples") as bar:
        for question, ranking in zip(answered, rankings, strict=True):
            example, how = maker.example(question, ranking)
            if example is None:
                counts[f"examples dropped: {_DROPPED[how]}"] += 1
            elif reader.token_count(example.prompt) + reader.token_count(example.answer) >= reader.window:
                counts["examples dropped: too long for the model"] += 1
            else:
                whole = how in ("closed book", "unanswerable")
                counts[f"examples, {how}" if whole else f"examples, evidence {how}"] += 1
                examples.append(example)
            bar.advance()
    dev = _dev_examples(dev_questions(questions, corpus, job.seed), top_k, corpus, encoder, store, reader)
    plain = [{"query": pair.query, "passage": pair.passage, "chunk_id": pair.chunk_id} for pair in pairs]
    for name, rows in (("pairs", plain), ("examples", list(map(asdict, examples))), ("dev", list(map(asdict, dev)))):
        save(rows, job.out / name)
    counts[EMBEDDING_PAIRS] = len(pairs)
    counts["development questions for the language model"] = len(dev)
    funnel = [{"stage": "training sets", "reason": reason, "count": count} for reason, count in sorted(counts.items())]
    write_json(job.out / "funnel.json", funnel)


def _dev_examples(
    questions: Sequence[QAPair], top_k: int, corpus: Corpus, encoder: Encoder, store: FaissStore, reader: Reader
) -> list[DevExample]:
    rankings = dense_rankings(store, encoder.encode([q.question for q in questions], "query"), top_k)
    passages = [[corpus.text_of[chunk_id] for chunk_id, _ in ranking] for ranking in rankings]
    return [
        DevExample(reader.render(question.question, texts), question.answers, question.answerable)
        for question, texts in zip(questions, passages, strict=True)
    ]


def _answered(settings: LLMConfig, corpus: Corpus, questions: Sequence[QAPair], seed: int) -> list[QAPair]:
    """The training questions with a known right reaction, and the clozes among them, at most `max_examples` in all."""
    written = [q for q in questions if q.split == "train" and (q.answers or not q.answerable)]
    share = settings.cloze
    most = settings.max_examples if settings.max_examples is not None else round(len(written) / (1 - share))
    if len(written) > round(most * (1 - share)):
        written = random.Random(f"{seed}/sample").sample(written, round(most * (1 - share)))
    return written + clozes(corpus, round(len(written) * share / (1 - share)), seed)


def dev_questions(questions: Sequence[QAPair], corpus: Corpus, seed: int) -> list[QAPair]:
    """Development questions with a known right reaction: people's first, then synthetic ones, at most 48."""

    def usable(pairs: Sequence[QAPair]) -> list[QAPair]:
        return [pair for pair in pairs if pair.split == "dev" and (pair.answers or not pair.answerable)]

    rng = random.Random(f"{seed}/dev")
    human, synthetic = usable(corpus.human), usable(questions)
    rng.shuffle(human)
    rng.shuffle(synthetic)
    return (human + synthetic)[:_DEV_QUESTIONS]


def save(rows: Sequence[Mapping[str, object]], folder: Path) -> None:
    """A Hugging Face dataset on disk, with a fingerprint made of its rows so that equal rows give equal bytes.

    No rows, no folder: datasets cannot read back a set without columns.
    """
    if not rows:
        return
    columns = sorted({key for row in rows for key in row})
    dataset = Dataset.from_dict({key: [row[key] for row in rows] for key in columns})
    dataset._fingerprint = content_id(rows)
    dataset.save_to_disk(str(folder))


def load(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a dataset that `save` wrote; none if it had none."""
    if not (folder / name).exists():
        return []
    rows: list[dict[str, Any]] = Dataset.load_from_disk(str(folder / name)).to_list()
    return rows
