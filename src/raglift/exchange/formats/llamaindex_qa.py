"""LlamaIndex's `EmbeddingQAFinetuneDataset`, as its `save_json` wrote it until core 0.14.21 dropped it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from raglift.exchange.features import Feature
from raglift.exchange.files import Pieces
from raglift.exchange.sets import QuestionSet, pair, passage, whole
from raglift.exchange.source import Layout, Source


class _File(Layout):
    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]
    mode: str = "text"


class LlamaIndexQA:
    """One JSON file: queries and corpus by id, relevant documents by query id."""

    name = "llamaindex_qa"
    about = "LlamaIndex's EmbeddingQAFinetuneDataset (generate_qa_embedding_pairs), for tuning embedding models"
    ending = ".json"
    holds: frozenset[Feature] = frozenset(
        {
            "passage ids",
            "question ids",
            "answers not in a passage",
            "judgements beyond the answer",
            "passages without a question",
        }
    )

    def read(self, source: Source) -> QuestionSet:
        """What `EmbeddingQAFinetuneDataset.from_json` reads."""
        file = source.json(_File)
        if file.mode != "text":
            source.unheld[f"mode {file.mode!r}"] += 1
        documents = {name: passage(name, text) for name, text in file.corpus.items()}
        for name, relevant in file.relevant_docs.items():
            if name not in file.queries:
                raise source.wrong("is about a query that `queries` does not have", ["relevant_docs", name])
            for place, node in enumerate(relevant):
                if node not in documents:
                    raise source.wrong(f"is {node!r}, which `corpus` does not have", ["relevant_docs", name, place])
        questions = [
            pair(name, text, evidence=[whole(documents[node]) for node in file.relevant_docs.get(name, [])])
            for name, text in source.each(file.queries.items())
        ]
        return QuestionSet(tuple(documents.values()), (), tuple(questions))

    def files(self, content: QuestionSet) -> Mapping[str, Pieces]:
        """In ASCII and indented by 4, like LlamaIndex's own."""
        source = {document.id: document.source for document in content.documents}
        value = {
            "queries": {question.id: question.question for question in content.questions},
            "corpus": {document.source: document.text for document in content.documents},
            "relevant_docs": {
                question.id: [source[item.document_id] for item in question.evidence] for question in content.questions
            },
            "mode": "text",
        }
        return {"": [json.dumps(value, indent=4)]}


PLUGIN = LlamaIndexQA()
