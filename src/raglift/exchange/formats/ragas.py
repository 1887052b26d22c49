"""ragas: the JSON Lines of an `EvaluationDataset` of `SingleTurnSample`s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raglift.exchange.features import Feature
from raglift.exchange.files import JsonLines, Pieces
from raglift.exchange.sets import QuestionSet, pair, passage, unnamed_passage, whole
from raglift.exchange.source import Id, Layout, Source
from raglift.records import Document, QAPair


class _Sample(Layout):
    user_input: str
    reference: str | None = None
    reference_contexts: list[str] | None = None
    reference_context_ids: list[Id] | None = None


class Ragas:
    """One sample a line: user_input, reference, reference_contexts and their ids."""

    name = "ragas"
    about = "ragas' EvaluationDataset of single-turn samples, for its metrics"
    ending = ".jsonl"
    holds: frozenset[Feature] = frozenset(
        {"answers", "answers not in a passage", "judgements beyond the answer", "passage ids"}
    )

    def read(self, source: Source) -> QuestionSet:
        """What `EvaluationDataset.from_jsonl` reads; what a pipeline answered is not part of a question set."""
        documents: dict[str, Document] = {}
        questions = []
        for number, sample in source.lines(_Sample):
            texts, ids = sample.reference_contexts or [], sample.reference_context_ids
            if ids and len(ids) != len(texts):
                said = f"there are {len(ids)} reference_context_ids for {len(texts)} reference_contexts"
                raise source.wrong_line(said, number)
            contexts = [passage(ids[place], text) if ids else unnamed_passage(text) for place, text in enumerate(texts)]
            for document in contexts:
                if documents.setdefault(document.source, document) != document:
                    raise source.wrong_line(f"the context {document.source!r} has another text above", number)
            questions.append(pair("", sample.user_input, [sample.reference], map(whole, contexts)))
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """One line a question; `response` and `retrieved_contexts` are for the pipeline that is judged to add."""
        by_id = {document.id: document for document in content.documents}
        return {"": JsonLines(content.questions, lambda question: _row(question, by_id))}


def _row(question: QAPair, by_id: Mapping[str, Document]) -> dict[str, Any]:
    passages = [by_id[item.document_id] for item in question.evidence]
    return {
        "user_input": question.question,
        "reference": question.answers[0] if question.answers else "",
        "reference_contexts": [document.text for document in passages],
        "reference_context_ids": [document.source for document in passages],
    }


PLUGIN = Ragas()
