"""Precision and recall of every question filter on questions that were labelled by hand.

python scripts/filter_quality.py             the table of docs/synthesis.md
python scripts/filter_quality.py --write     puts it there
python scripts/filter_quality.py --check     only says whether the page is stale
python scripts/filter_quality.py --wrong     the good questions that a filter drops
python scripts/filter_quality.py --guess     asks the default writer each question without its passage, and keeps
                                             what it says in the labelled file (takes minutes; only this needs a model)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from raglift import plugins
from raglift.artifacts import write_atomic
from raglift.config import SynthesisConfig
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.candidate import Accepted, Candidate, QuestionFilter

ROOT = Path(__file__).parents[1]
LABELLED = ROOT / "tests" / "data" / "labelled_questions.jsonl"
PAGE = ROOT / "docs" / "synthesis.md"
BEGIN, END = "<!-- filter-quality:begin -->", "<!-- filter-quality:end -->"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a filter drops and what is bad, by position among the labelled questions, and each one's kind."""

    name: str
    dropped: frozenset[int]
    bad: frozenset[int]
    kinds: tuple[str, ...]

    @property
    def precision(self) -> float | None:
        """Share of the dropped that are bad; None where nothing is dropped."""
        return len(self.dropped & self.bad) / len(self.dropped) if self.dropped else None

    @property
    def recall(self) -> float:
        """Share of the bad that are dropped."""
        return len(self.dropped & self.bad) / len(self.bad)

    @property
    def good_lost(self) -> float:
        """Share of the good that are dropped."""
        return len(self.dropped - self.bad) / (len(self.kinds) - len(self.bad))

    @property
    def by_chance(self) -> float | None:
        """The precision that as many questions of the same kinds, drawn by lot, would have: a filter that does not
        exceed it tells nothing about good and bad."""
        all_of, bad_of = Counter(self.kinds), Counter(self.kinds[position] for position in self.bad)
        shares = [bad_of[self.kinds[position]] / all_of[self.kinds[position]] for position in self.dropped]
        return sum(shares) / len(shares) if shares else None


def labelled() -> list[dict[str, str | int]]:
    """The labelled questions, as they stand in the file."""
    return [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]


def qualities(rows: Sequence[dict[str, str | int]]) -> list[Quality]:
    """One row a filter, each used alone, and one for all together.

    Every question counts as one of the train split, where `round_trip` is strictest, and `near_duplicate` compares
    with every question before.
    """
    bad = frozenset(position for position, row in enumerate(rows) if row["label"] == "bad")
    kinds = tuple(str(row["kind"]) for row in rows)
    found = []
    for name in plugins.names("question filter"):
        question_filter: QuestionFilter = plugins.load("question filter", name)
        found.append(Quality(name, _dropped(question_filter, rows), bad, kinds))
    return [*found, Quality("all", frozenset[int]().union(*(item.dropped for item in found)), bad, kinds)]


def _dropped(question_filter: QuestionFilter, rows: Sequence[dict[str, str | int]]) -> frozenset[int]:
    accepted = Accepted()
    dropped = set()
    for position, row in enumerate(rows):
        candidate = _candidate(row)
        if question_filter.reason(candidate, accepted):
            dropped.add(position)
        accepted.remember(candidate.question)
    return frozenset(dropped)


def _candidate(row: dict[str, str | int]) -> Candidate:
    kind = plugins.load("question kind", str(row["kind"]))
    texts = (str(row[key]) for key in ("question", "answer"))
    guess = str(row["guess"]) if "guess" in row else None
    return Candidate("c", str(row["evidence"]), kind, "train", *texts, int(row["rank"]), guess=guess)


def guessed(rows: Sequence[dict[str, str | int]]) -> list[dict[str, str | int]]:
    """The rows, those with an answer with what the default writer says to the question alone.

    It runs in float32, so that what it says hardly depends on the machine.
    """
    import torch  # here, as nothing else in this file needs a model

    from raglift.models.device import Runtime
    from raglift.models.find import find_model
    from raglift.models.generation import Generator
    from raglift.models.llm import load_causal_lm, load_tokenizer
    from raglift.synthesis.guesses import local_guesses

    path = find_model(SynthesisConfig().model).path
    runtime = Runtime(torch.device("cpu"), torch.float32, torch.get_num_threads())
    generator = Generator(load_causal_lm(path, runtime), load_tokenizer(path))
    questions = sorted({str(row["question"]) for row in rows if row["answer"]}, key=lambda text: (len(text), text))
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "guesses.jsonl")
        guesses = local_guesses(questions, lambda: generator, 32, journal, Progress())
        journal.close()
    return [{**row, "guess": guesses[str(row["question"])]} if row["answer"] else row for row in rows]


def table(found: Sequence[Quality]) -> str:
    """The Markdown table."""
    bad, total = len(found[0].bad), len(found[0].kinds)
    lines = [
        f"{total} labelled questions, {bad} of them bad ({bad / total:.0%}):",
        "",
        "| filter | drops | bad among them (precision) | the same by chance | share of the bad (recall) | "
        "share of the good lost |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for item in found:
        name = "all together" if item.name == "all" else f"`{item.name}`"
        shares = ("none" if share is None else f"{share:.0%}" for share in (item.precision, item.by_chance))
        lines.append(
            f"| {name} | {len(item.dropped)} | {' | '.join(shares)} | {item.recall:.0%} | {item.good_lost:.0%} |"
        )
    return "\n".join(lines)


def renewed(text: str, new: str) -> str:
    """`text` with the table between the markers.

    Raises:
        ValueError: The markers are missing.
    """
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise ValueError(f"{PAGE.name} has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print, write or check the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    for option, told in (
        ("write", "into docs"),
        ("check", "whether docs is stale"),
        ("wrong", "good ones dropped"),
        ("guess", "ask anew"),
    ):
        what.add_argument(f"--{option}", action="store_true", help=told)
    options = parser.parse_args(argv)
    rows = labelled()
    if options.guess:
        rows = guessed(rows)
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        write_atomic(LABELLED, ("\n".join(lines) + "\n").encode())
        return 0
    found = qualities(rows)
    if options.wrong:
        lost = [(item.name, rows[at]) for item in found[:-1] for at in sorted(item.dropped - item.bad)]
        print("\n".join(f"{name}: {row['question']}" for name, row in lost))
    elif options.write or options.check:
        old = PAGE.read_text(encoding="utf-8")
        new = renewed(old, table(found))
        if options.write:
            write_atomic(PAGE, new.encode())
        elif new != old:
            print("docs/synthesis.md is stale: run scripts/filter_quality.py --write", file=sys.stderr)
            return 1
    else:
        print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
