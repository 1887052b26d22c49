"""LlamaIndex's `LabelledRagDataset`, as its `save_json` wrote it until core 0.14.21 dropped it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from raglift.exchange.features import Feature
from raglift.exchange.files import Pieces
from raglift.exchange.sets import QuestionSet, pair, unnamed_passage, whole
from raglift.exchange.source import Layout, Source
from raglift.records import Document, QAPair


class _By(Layout):
    model_name: str | None = None
    type: Literal["human", "ai"]


class _Example(Layout):
    query: str
    query_by: _By | None = None
    reference_contexts: list[str] | None = None
    reference_answer: str | None = None
    reference_answer_by: _By | None = None


class _File(Layout):
    examples: list[_Example]


class LlamaIndexRag:
    """One JSON file of examples: query, contexts, answer, and who wrote them."""

    name = "llamaindex_rag"
    about = "LlamaIndex's LabelledRagDataset (RagDatasetGenerator, LlamaHub), for judging pipelines"
    ending = ".json"
    holds: frozenset[Feature] = frozenset(
        {"answers", "answers not in a passage", "judgements beyond the answer", "origins"}
    )

    def read(self, source: Source) -> QuestionSet:
        """What `LabelledRagDataset.from_json` reads."""
        documents: dict[str, Document] = {}
        questions = []
        for example in source.each(source.json(_File).examples):
            contexts = [unnamed_passage(text) for text in example.reference_contexts or []]
            documents |= {document.id: document for document in contexts}
            for by in (example.query_by, example.reference_answer_by):
                if by is not None and by.model_name:
                    source.unheld["model_name"] += 1
            questions.append(
                pair(
                    "",
                    example.query,
                    [example.reference_answer],
                    map(whole, contexts),
                    origin="synthetic" if example.query_by and example.query_by.type == "ai" else "human",
                )
            )
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """In ASCII and indented by 4, like LlamaIndex's own."""
        text = {document.id: document.text for document in content.documents}
        value = {"examples": [_example(question, text) for question in content.questions]}
        return {"": [json.dumps(value, indent=4)]}


def _example(question: QAPair, text: Mapping[str, str]) -> dict[str, Any]:
    by = {"model_name": "", "type": "ai" if question.origin == "synthetic" else "human"}
    return {
        "query": question.question,
        "query_by": by,
        "reference_contexts": [text[item.document_id] for item in question.evidence],
        "reference_answer": question.answers[0] if question.answers else "",
        "reference_answer_by": by if question.answers else None,
    }


PLUGIN = LlamaIndexRag()
