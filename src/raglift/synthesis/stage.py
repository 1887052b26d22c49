"""The synthesis stage: questions written from every split's chunks, filtered, with every drop counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from raglift.artifacts import WORK, write_json
from raglift.config import SynthesisConfig
from raglift.corpus.evidence import Locator
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.index.ranking import Bm25, dense_rankings
from raglift.index.store import FaissStore
from raglift.job import Job
from raglift.journal import Journal
from raglift.models.encoder import Encoder
from raglift.models.generation import Generator
from raglift.progress import Progress
from raglift.records import Evidence, QAPair, content_id, write_jsonl
from raglift.synthesis.asking import kinds_of
from raglift.synthesis.candidate import Accepted, Candidate, QuestionFilter
from raglift.synthesis.filters._load import load_filters
from raglift.synthesis.human_examples import HumanExamples
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.llm_build import LLMWriter
from raglift.synthesis.llm_writer import write_with_llm
from raglift.synthesis.shots import kinds_for
from raglift.synthesis.writer import Assignment, Written, finished, plan, write

VERSION = 5
_DEPTH = 50
NO_EXAMPLES = HumanExamples()
TAUGHT = "chunks not asked about: their documents taught the writer"


def build(
    settings: SynthesisConfig,
    corpus: Corpus,
    generator: Callable[[], Generator],
    encoder: Encoder,
    store: FaissStore,
    job: Job,
    llm: LLMWriter | None = None,
    examples: HumanExamples = NO_EXAMPLES,
) -> None:
    """Write questions.jsonl (`QAPair`) and funnel.json into the job's folder.

    Args:
        generator: Gives the local writer; called only if something is left to write.
        encoder: The base embedding model, which with BM25 says whether a question finds its passage.
        store: The base index.
        llm: Writes in place of the local writer.
        examples: People's examples, which show the writer what to write and which no question may repeat.
    """
    assignments, held_back = planned(settings, corpus, job.seed, examples)
    kinds, shown = kinds_for(kinds_of(settings), examples, job.seed)
    written, notes = _written(settings, assignments, generator, llm, job, kinds)
    candidates = _candidates(written, corpus, encoder, store, job.display, kinds)
    filters = load_filters(settings.filters, settings.blocked_words)
    with job.display.stage("filtering questions", len(candidates), "questions") as bar:
        pairs, dropped = _accept(candidates, filters, corpus, examples, bar.advance)
    write_jsonl(job.out / "questions.jsonl", pairs)
    chunks = len(corpus.chunks) - held_back[TAUGHT]
    shown += held_back.items()
    funnel: list[dict[str, object]] = [
        {"stage": "synthesis", "reason": reason, "count": count} for reason, count in shown
    ]
    write_json(job.out / "funnel.json", [*funnel, *_funnel(chunks, written, notes, dropped, pairs)])


def planned(
    settings: SynthesisConfig, corpus: Corpus, seed: int, examples: HumanExamples = NO_EXAMPLES
) -> tuple[list[Assignment], Counter[str]]:
    """What is to be asked of which chunk, and how much is not asked about for the sake of the examples, by reason.

    Nothing is asked about the documents that taught a tuned writer, and of a test document nothing about the text of
    an example: a question there could be that of the example.

    Raises:
        UserError: Nothing is left to ask about.
    """
    held_back: Counter[str] = Counter()
    chunks = [chunk for chunk in corpus.chunks if chunk.document_id not in examples.taught]
    if examples.taught:
        held_back[TAUGHT] = len(corpus.chunks) - len(chunks)
        if not any(corpus.split_of[chunk.document_id] == "train" for chunk in chunks):
            raise UserError(
                "No document of the train split is left to write about.",
                "The writer was tuned on examples from all of them or from documents that repeat them.",
                "Give examples from fewer documents, or set synthesis.tune_writer to false.",
            )
    assignments = plan(chunks, settings.kinds, settings.questions_per_chunk, settings.max_questions, seed)
    if examples.items:
        test = {chunk.id for chunk in chunks if corpus.split_of[chunk.document_id] == "test"}
        kept = [item for item in assignments if item.chunk_id not in test or not examples.overlap(item.text)]
        held_back["test questions not written: their text is that of an example"] = len(assignments) - len(kept)
        assignments = kept
    if not assignments:
        raise UserError(
            "There is nothing to ask questions about.",
            f"None of the {len(corpus.chunks)} chunks holds a readable sentence.",
            "Give documents with prose, or raise synthesis.questions_per_chunk.",
        )
    return assignments, held_back


def _written(
    settings: SynthesisConfig,
    assignments: Sequence[Assignment],
    generator: Callable[[], Generator],
    llm: LLMWriter | None,
    job: Job,
    kinds: Mapping[str, QuestionKind],
) -> tuple[list[Written], Counter[str]]:
    """What was written, and how many replies were of no use, by reason."""
    journal = Journal(job.out / WORK / "written.jsonl")
    try:
        if llm is not None:
            return write_with_llm(assignments, llm, journal, job.display, kinds)
        done = finished(assignments, settings.batch_size, journal, kinds)
        with job.display.stage("writing questions", len(assignments), "questions", done=done) as bar:
            batches = write(
                assignments, generator, settings.batch_size, settings.temperature, job.seed, journal, bar.advance, kinds
            )
            return list(batches), Counter()
    finally:
        journal.close()


def _candidates(
    written: Sequence[Written],
    corpus: Corpus,
    encoder: Encoder,
    store: FaissStore,
    display: Progress,
    kinds: Mapping[str, QuestionKind],
) -> list[Candidate]:
    """The written questions with the rank of their own passage, or of any passage that repeats its text."""
    questions = [item.question for item in written]
    chunks = corpus.chunks
    with display.stage("looking for each question's passage", len(questions), "questions") as bar:
        dense = dense_rankings(store, encoder.encode(questions, "query", bar.advance), _DEPTH)
    sparse = Bm25([chunk.id for chunk in chunks], [chunk.text for chunk in chunks]).rankings(questions, _DEPTH)
    split = {chunk.id: corpus.split_of[chunk.document_id] for chunk in chunks}
    passages = {chunk.id: chunk.text for chunk in chunks}
    found = []
    for item, *rankings in zip(written, dense, sparse, strict=True):
        chunk_id = item.assignment.chunk_id
        own = {chunk_id} | corpus.similar.get(chunk_id, set())
        ranks = [rank for ranking in rankings for rank, (other, _) in enumerate(ranking, 1) if other in own]
        found.append(
            Candidate(
                chunk_id,
                item.assignment.text,
                kinds[item.assignment.kind],
                split[chunk_id],
                item.question,
                item.answer,
                min(ranks, default=_DEPTH + 1),
                passages[chunk_id],
            )
        )
    return found


def _accept(
    candidates: Sequence[Candidate],
    filters: Sequence[QuestionFilter],
    corpus: Corpus,
    examples: HumanExamples,
    advance: Callable[[int], None],
) -> tuple[list[QAPair], Counter[str]]:
    locator = Locator(corpus.documents, corpus.chunks)
    accepted = Accepted(list(examples.asked))
    dropped: Counter[str] = Counter()
    pairs = []
    for candidate in candidates:
        advance(1)
        reason = "repeats an example" if examples.repeats(candidate.question) else None
        reason = reason or next((why for f in filters if (why := f.reason(candidate, accepted))), None)
        if reason is not None:
            dropped[f"{candidate.kind.name} dropped: {reason}"] += 1
            continue
        accepted.remember(candidate.question)
        pairs.append(_pair(candidate, locator.find(candidate.text)))
    return pairs, dropped


def _pair(candidate: Candidate, evidence: tuple[Evidence, ...]) -> QAPair:
    """The record; its own chunk's evidence comes first."""
    ordered = tuple(sorted(evidence, key=lambda item: item.chunk_id != candidate.chunk_id))
    answers = (candidate.answer,) if candidate.answer else ()
    identity = content_id(candidate.question, candidate.answer, candidate.chunk_id, candidate.kind.name)
    return QAPair(
        identity,
        candidate.question,
        answers,
        ordered,
        candidate.kind.name,
        candidate.split,
        "synthetic",
        scores={"rank": float(candidate.rank)},
    )


def _funnel(
    chunks: int, written: Sequence[Written], notes: Counter[str], dropped: Counter[str], pairs: Sequence[QAPair]
) -> list[dict[str, object]]:
    counts: list[tuple[str, int]] = [
        ("chunks that were asked about", len({item.assignment.chunk_id for item in written})),
        ("chunks without a readable sentence", chunks - len({item.assignment.chunk_id for item in written})),
        ("questions written", len(written)),
    ]
    counts += sorted(notes.items()) + sorted(dropped.items())
    counts += [(f"{kind} kept", count) for kind, count in sorted(Counter(pair.kind for pair in pairs).items())]
    counts += [(f"questions kept, {split}", count) for split, count in sorted(Counter(p.split for p in pairs).items())]
    return [{"stage": "synthesis", "reason": reason, "count": count} for reason, count in counts]
