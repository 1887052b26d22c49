"""Human questions with their evidence located and split into dev and test by document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from raglift.corpus.evidence import Locator
from raglift.corpus.judged import HumanQuestion
from raglift.corpus.near_duplicates import components
from raglift.corpus.split import split_groups
from raglift.records import Chunk, Document, Evidence, QAPair, Split

_NAMED = 5
"""Questions that a warning names."""


def human_pairs(
    questions: Sequence[HumanQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    dev_share: float,
    seed: int,
) -> tuple[list[QAPair], Counter[str]]:
    """The questions as records, and how many were left out for which reason.

    Questions whose evidence lies in the same document, or in documents that share a near-duplicate group or are joined
    by another question, fall into the same split. A question without evidence is split by itself. Nothing about a test
    document falls into dev.

    Returns:
        The pairs in the order of `questions`, and a count by reason of those left out.
    """
    by_source = {document.source: document for document in documents}
    locator = Locator(documents, chunks)
    kept: list[tuple[HumanQuestion, tuple[Evidence, ...]]] = []
    dropped: Counter[str] = Counter()
    for question in questions:
        evidence = _evidence(question, by_source, locator)
        if question.answerable and not evidence:
            dropped["its evidence is not in these documents"] += 1
        else:
            kept.append((question, evidence))
    splits = _splits([evidence for _, evidence in kept], [q.id for q, _ in kept], documents, dev_share, seed)
    pairs = [
        QAPair(q.id, q.question, q.answers, evidence, "human", split, "human", q.answerable)
        for (q, evidence), split in zip(kept, splits, strict=True)
    ]
    return pairs, dropped


def warn_of_dropped(questions: Sequence[HumanQuestion], pairs: Sequence[QAPair], warn: Callable[[str], None]) -> None:
    """Say which of `questions` `human_pairs` left out; nothing where `pairs` has them all."""
    kept = {pair.id for pair in pairs}
    dropped = [question.id for question in questions if question.id not in kept]
    if not dropped:
        return
    more = f" and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
    warn(
        f"Human questions left out because their evidence is not in these documents: {len(dropped)} of "
        f"{len(questions)} ({', '.join(dropped[:_NAMED])}{more}). Check the documents and the quotes that they name."
    )


def _evidence(question: HumanQuestion, by_source: dict[str, Document], locator: Locator) -> tuple[Evidence, ...]:
    if question.quotes:
        return tuple(dict.fromkeys(found for quote in question.quotes for found in locator.find(quote)))
    return tuple(
        Evidence(by_source[source].id, None, 0, len(by_source[source].text), grade)
        for source, grade in question.sources.items()
        if source in by_source
    )


def _splits(
    evidence: Sequence[tuple[Evidence, ...]], ids: Sequence[str], documents: Sequence[Document], share: float, seed: int
) -> list[Split]:
    if share <= 0:
        return ["test"] * len(ids)
    group = {document.id: document.group for document in documents}
    nodes = [
        sorted({group[item.document_id] for item in items}) or [f"question {name}"]
        for items, name in zip(evidence, ids, strict=True)
    ]
    index = {name: i for i, name in enumerate(sorted({name for names in nodes for name in names}))}
    joined = components(len(index), [(index[names[0]], index[name]) for names in nodes for name in names[1:]])
    home = [str(joined[index[names[0]]]) for names in nodes]
    # Questions about test documents would let those documents choose the models that their synthetic questions judge.
    held_out = {document.group for document in documents if document.split == "test"}
    judging = {name for name, groups in zip(home, nodes, strict=True) if held_out & set(groups)}
    free = Counter(name for name in home if name not in judging)
    wanted = min(1.0, share * len(home) / max(1, free.total()))
    shares: dict[Split, float] = {"dev": wanted, "test": 1 - wanted}
    assigned = split_groups(free, shares, seed)
    return [assigned.get(name, "test") for name in home]
