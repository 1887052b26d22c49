"""The document that the question is about."""

from __future__ import annotations

from collections import Counter

from raglift.evaluation.slices._base import NO_EVIDENCE, Dimension, Facts
from raglift.records import QAPair

ENOUGH = 10
"""Questions that a document must have to be a slice of its own."""
MOST = 20
"""Documents that are, at most: every further slice makes the correction for their number harsher for all."""
REST = "other documents"


class Document(Dimension):
    """Each document with enough questions, named by its source; the others together.

    Which ones are taken is decided by how many questions they have and never by a score. A question with evidence in
    several documents is about the first, as everywhere where documents are the clusters.
    """

    name = "document"
    about = "document asked about"
    within_documents = True

    def slices(self, facts: Facts) -> dict[str, str]:
        """See `Dimension`."""
        counts = Counter(_document(question) for question in facts.questions if question.evidence)
        enough = sorted((-count, name) for name, count in counts.items() if count >= ENOUGH)[:MOST]
        names = {name: _source(name, facts) for _, name in enough}
        repeated = {
            source for source, count in Counter(names.values()).items() if count > 1 or source in (REST, NO_EVIDENCE)
        }
        names = {name: f"{source} ({name})" if source in repeated else source for name, source in names.items()}
        return {
            question.id: names.get(_document(question), REST) if question.evidence else NO_EVIDENCE
            for question in facts.questions
        }


def _document(question: QAPair) -> str:
    return question.evidence[0].document_id


def _source(name: str, facts: Facts) -> str:
    return facts.documents[name].source if name in facts.documents else name


PLUGIN = Document()
