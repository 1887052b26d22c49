"""The synthesis stage: questions written from every split's chunks, filtered, with every drop counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from raglift.artifacts import WORK, write_json
from raglift.config import SynthesisConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.index.ranking import Ranking, dense_rankings
from raglift.index.searchable import Searchable
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.generation import Generator
from raglift.progress import Progress
from raglift.records import QAPair, write_jsonl
from raglift.synthesis.accepting import Rules, accept, rules_of
from raglift.synthesis.asking import Asking, asking_of, kinds_of
from raglift.synthesis.candidate import Candidate
from raglift.synthesis.guesses import asks_closed_book, with_guesses
from raglift.synthesis.human_examples import HumanExamples
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_writer import write_with_llm
from raglift.synthesis.partners import with_partners
from raglift.synthesis.shots import with_examples
from raglift.synthesis.writer import Assignment, Writing, Written, finished, plan, write

VERSION = 8
_DEPTH = 50
TAUGHT = "chunks not asked about: their documents taught the writer"


@dataclass(frozen=True, slots=True)
class Writers:
    """Who writes: `local` gives this machine's writer, and is called only if something is left to write; `llm`, where
    there is one, writes in its place."""

    local: Callable[[], Generator]
    llm: LLMWriter | None = None


def build(
    settings: SynthesisConfig,
    corpus: Corpus,
    examples: HumanExamples,
    writers: Writers,
    base: Searchable,
    job: Job,
) -> None:
    """Write questions.jsonl (`QAPair`) and funnel.json into the job's folder.

    Args:
        examples: People's examples, which show the writer what to write and which no question may repeat.
        base: Says whether a question finds its passage, by vector or by word.
    """
    asking, shown = with_examples(asking_of(settings), examples, job.seed)
    assignments, left_out = planned(settings, corpus, job.seed, examples)
    rules = rules_of(settings, corpus, examples)
    written, notes = _written(settings, asking, assignments, rules, writers, job)
    candidates = _candidates(written, asking.kinds, corpus, base, job.display)
    candidates = with_guesses(candidates, rules, settings.batch_size, writers.local, writers.llm, job)
    with job.display.stage("filtering questions", len(candidates), "questions") as bar:
        pairs, dropped = accept(candidates, rules, corpus, bar.advance)
    write_jsonl(job.out / "questions.jsonl", pairs)
    counts = [*shown, *left_out.items()]
    counts += _funnel(len(corpus.chunks) - left_out[TAUGHT], written, notes, dropped, pairs)
    funnel = [{"stage": "synthesis", "reason": reason, "count": count} for reason, count in counts]
    write_json(job.out / "funnel.json", funnel)


def planned(
    settings: SynthesisConfig, corpus: Corpus, seed: int, examples: HumanExamples
) -> tuple[list[Assignment], Counter[str]]:
    """What is to be asked of which chunk, and how much is not asked, by reason.

    Nothing is asked about the documents that taught a tuned writer, and of test documents nothing about the text of an
    example: a question there could be that of the example.

    Raises:
        UserError: Nothing is left to ask about.
    """
    chunks = [chunk for chunk in corpus.chunks if chunk.document_id not in examples.taught]
    if examples.taught and not any(corpus.split_of[chunk.document_id] == "train" for chunk in chunks):
        raise UserError(
            "No document of the train split is left to write about.",
            "The writer was tuned on examples from all of them or from documents that repeat them.",
            "Give examples from fewer documents, or set synthesis.tune_writer to false.",
        )
    drawn = plan(chunks, settings.kinds, settings.questions_per_chunk, settings.max_questions, seed)
    assignments, left_out = with_partners(drawn, kinds_of(settings), corpus, chunks)
    if examples.taught:
        left_out[TAUGHT] = len(corpus.chunks) - len(chunks)
    if drawn and not assignments:
        raise UserError(
            "There is nothing to ask questions about.",
            f"The kinds {', '.join(sorted(settings.kinds))} need two related passages, and no two of a split are.",
            "Name other kinds under synthesis.kinds too, or give more documents.",
        )
    if examples.items:
        test = {chunk.id for chunk in chunks if corpus.split_of[chunk.document_id] == "test"}
        kept = [
            item
            for item in assignments
            if item.chunk_id not in test or not any(examples.overlap(text) for _, text in item.parts)
        ]
        left_out["test questions not written: their text is that of an example"] = len(assignments) - len(kept)
        if assignments and not kept:
            raise UserError(
                "There is nothing to ask questions about.",
                "Only test documents could be asked about, and every text in them is that of an example.",
                "Give more documents, or examples from fewer of them.",
            )
        assignments = kept
    if not assignments:
        raise UserError(
            "There is nothing to ask questions about.",
            f"None of the {len(corpus.chunks)} chunks holds a readable sentence.",
            "Give documents with prose, or raise synthesis.questions_per_chunk.",
        )
    return assignments, left_out


def _written(
    settings: SynthesisConfig,
    asking: Asking,
    assignments: Sequence[Assignment],
    rules: Rules,
    writers: Writers,
    job: Job,
) -> tuple[list[Written], Counter[str]]:
    """What was written, and how many replies were of no use, by reason."""
    journal = Journal(job.out / WORK / "written.jsonl")
    try:
        if writers.llm is not None:
            guessed = asks_closed_book(rules.filters)
            return write_with_llm(assignments, writers.llm, asking, journal, job.display, guessed)
        done = finished(assignments, settings.batch_size, journal)
        with job.display.stage("writing questions", len(assignments), "questions", done=done) as bar:
            how = settings.batch_size, settings.temperature_or_default, job.seed, settings.samples_or_default
            writing = Writing(*how, fits=rules.fits)
            return list(write(assignments, asking, writing, writers.local, journal, bar.advance)), Counter()
    finally:
        journal.close()


def _candidates(
    written: Sequence[Written],
    kinds: Mapping[str, QuestionKind],
    corpus: Corpus,
    base: Searchable,
    display: Progress,
) -> list[Candidate]:
    """The written questions with the rank of their own passage, or of any passage that repeats its text; of two own
    passages the worse one's."""
    questions = [item.question for item in written]
    chunks = corpus.chunks
    with display.stage("looking for each question's passage", len(questions), "questions") as bar:
        dense = dense_rankings(base.store, base.encoder.encode(questions, "query", bar.advance), _DEPTH)
    sparse = base.bm25.rankings(questions, _DEPTH)
    split = {chunk.id: corpus.split_of[chunk.document_id] for chunk in chunks}
    passages = {chunk.id: chunk.text for chunk in chunks}
    found = []
    for item, *rankings in zip(written, dense, sparse, strict=True):
        parts = item.assignment.parts
        chunk_id = item.assignment.chunk_id
        found.append(
            Candidate(
                chunk_id,
                " ".join(text for _, text in parts),
                kinds[item.assignment.kind],
                split[chunk_id],
                item.question,
                item.answer,
                max(_rank(own, rankings, corpus) for own, _ in parts),
                "\n\n".join(passages[own] for own, _ in parts),
                parts=tuple(parts) if len(parts) > 1 else (),
            )
        )
    return found


def _rank(chunk_id: str, rankings: Sequence[Ranking], corpus: Corpus) -> int:
    own = {chunk_id} | corpus.similar.get(chunk_id, set())
    ranks = [rank for ranking in rankings for rank, (other, _) in enumerate(ranking, 1) if other in own]
    return min(ranks, default=_DEPTH + 1)


def _funnel(
    chunks: int, written: Sequence[Written], notes: Counter[str], dropped: Counter[str], pairs: Sequence[QAPair]
) -> list[tuple[str, int]]:
    counts: list[tuple[str, int]] = [
        ("chunks that were asked about", len({item.assignment.chunk_id for item in written})),
        ("chunks not asked about", chunks - len({item.assignment.chunk_id for item in written})),
        ("questions written", len(written)),
    ]
    counts += sorted(notes.items()) + sorted(dropped.items())
    counts += [(f"{kind} kept", count) for kind, count in sorted(Counter(pair.kind for pair in pairs).items())]
    counts += [(f"questions kept, {split}", count) for split, count in sorted(Counter(p.split for p in pairs).items())]
    return counts
