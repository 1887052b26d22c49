"""ragas: the JSON Lines of an `EvaluationDataset` of `SingleTurnSample`s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raglift.exchange.features import Feature
from raglift.exchange.files import json_line
from raglift.exchange.sets import QuestionSet, pair, passage, unnamed_passage, whole
from raglift.exchange.source import Id, Layout, Source
from raglift.records import Document


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

    def files(self, content: QuestionSet) -> Mapping[str, Iterable[str]]:
        """One line a question; `response` and `retrieved_contexts` are for the pipeline that is judged to add."""
        by_id = {document.id: document for document in content.documents}
        lines = (
            json_line(
                {
                    "user_input": question.question,
                    "reference": question.answers[0] if question.answers else "",
                    "reference_contexts": [by_id[item.document_id].text for item in question.evidence],
                    "reference_context_ids": [by_id[item.document_id].source for item in question.evidence],
                }
            )
            for question in content.questions
        )
        return {"": lines}


PLUGIN = Ragas()
