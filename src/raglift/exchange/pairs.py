"""The pairs of a question and a passage that a user brings for the embedding model's training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from raglift.errors import UserError
from raglift.exchange.files import read, warn_of_unheld
from raglift.exchange.sets import QuestionSet
from raglift.exchange.source import Layout, Source
from raglift.progress import Progress
from raglift.synthesis.given_pairs import GivenPairs, given_pair
from raglift.training.pairs import Pair

FORMATS = (
    "embedding.pairs names a .jsonl file (each line a query, a passage and, where there are any, negatives, a list of "
    "texts), a .json file of LlamaIndex's EmbeddingQAFinetuneDataset, or a folder in BEIR layout."
)
_UNANSWERED = "a query without a passage"
_EMPTY = "a passage without text"


class _Line(Layout):
    query: str
    passage: str
    negatives: list[str] | None = None


def read_pairs(name: str | Path, display: Progress | None = None) -> GivenPairs:
    """The pairs in a file or folder: one for each passage of a query.

    Args:
        name: A .jsonl file of `query`, `passage` and `negatives`; a .json file of an `EmbeddingQAFinetuneDataset`; or a
            folder in BEIR layout. Of a folder with qrels/train.tsv those queries are taken that it alone judges, of
            others all.
        display: Shows how far it is, and warns of what is not read.

    Raises:
        UserError: There is no such file, it is not in its format (says on which line), or it holds no pair.

    Example:
        >>> pairs = read_pairs("train_dataset.json").items
    """
    display = display or Progress()
    try:
        path = Path(name).expanduser()
        path.exists()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{name!r} is no path.", str(error), FORMATS) from error
    try:
        if path.suffix.lower() == ".jsonl":
            with display.stage(f"reading {path.name}", unit="records") as bar:
                source = Source(path, "jsonl of pairs", bar)
                found = GivenPairs(tuple(_lines(source)))
            warn_of_unheld(source, display)
        elif path.is_dir():
            found = _of_set(read(path, "beir", display), (path / "qrels" / "train.tsv").exists())
        elif path.suffix.lower() == ".json":
            found = _of_set(read(path, "llamaindex_qa", display), False)
        else:
            raise UserError(f"{path} holds no pairs that can be read.", _why_unread(path))
    except UserError as error:
        raise UserError(error.what, error.why, FORMATS) from error
    if not found.items:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in found.left_out.items())
        raise UserError(f"{path} holds no pair.", f"Left out: {reasons}." if reasons else "", FORMATS)
    return found


def _why_unread(path: Path) -> str:
    return f"It is neither a folder nor a .jsonl or .json file{'' if path.exists() else ', and it is not there'}."


def _lines(source: Source) -> Iterator[Pair]:
    for number, line in source.lines(_Line):
        negatives = line.negatives or []
        for key, text in (("query", line.query), ("passage", line.passage), *(("negatives", n) for n in negatives)):
            if not text.strip():
                raise source.wrong_line(f"{key} holds no text", number)
        yield given_pair(line.query, line.passage, negatives)


def _of_set(content: QuestionSet, train_alone: bool) -> GivenPairs:
    """A pair for each judgement."""
    text = {document.id: document.text for document in content.documents}
    found, left_out = [], Counter[str]()
    for question in content.questions:
        if train_alone and question.split != "train":
            continue
        passages = list(dict.fromkeys(item.document_id for item in question.evidence))
        left_out[_UNANSWERED] += not passages or not question.question.strip()
        for passage in passages if question.question.strip() else ():
            if text[passage].strip():
                found.append(given_pair(question.question, text[passage]))
            else:
                left_out[_EMPTY] += 1
    return GivenPairs(tuple(found), +left_out)
