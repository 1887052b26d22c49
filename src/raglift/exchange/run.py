"""The questions of a run, to be written for other projects or reviewed by a person."""

from __future__ import annotations

from pathlib import Path

from raglift.errors import UserError
from raglift.exchange.sets import QuestionSet
from raglift.records import Origin, QAPair, Split, read_jsonl
from raglift.serve.result import RunResult
from raglift.serve.state import run_folder
from raglift.synthesis.review import rows_for
from raglift.synthesis.review_file import Row, write_rows


def open_questions(run: str | Path, workspace: str | Path = "indexes", stage: str | None = None) -> RunResult:
    """A run whose questions are written, though the rest of it need not be done.

    Args:
        stage: The stage that has to be done; the one whose questions the run goes on with by default.

    Raises:
        UserError: There is no such run, or it has not come so far.
    """
    result = RunResult(run_folder(run, workspace))
    stages = {stage["name"]: stage["state"] for stage in result.state["stages"]}
    stage = stage or result.questions_stage
    if stages.get(stage) != "done":
        raise UserError(
            f"The run {result.state['run']!r} has no questions yet.",
            f"Its state is {result.state['state']!r}.",
            f"Run `raglift run` until its stage {stage} is done.",
        )
    return result


def synthetic_questions(result: RunResult, stage: str | None = None) -> list[QAPair]:
    """The synthetic questions that the run goes on with, or those of the stage.

    Raises:
        UserError: The stage is not there any more.
    """
    return read_jsonl(result.artifact(stage or result.questions_stage).path / "questions.jsonl", QAPair)


def question_set(result: RunResult, split: Split | None = None, origin: Origin | None = None) -> QuestionSet:
    """A run's documents and chunks with its questions, synthetic ones and people's.

    Args:
        split: Only the questions of this split.
        origin: Only the questions of this origin.

    Raises:
        UserError: What the run wrote is not there any more.

    Example:
        >>> run = raglift.open_run("quickstart")
        >>> raglift.exchange.write(question_set(run, split="train"), "train.json", "llamaindex_qa")
    """
    questions = [*result.corpus.human, *synthetic_questions(result)]
    wanted = (q for q in questions if split in (None, q.split) and origin in (None, q.origin))
    return QuestionSet(tuple(result.corpus.documents), tuple(result.corpus.chunks), tuple(wanted))


def write_review(run: str | Path, out: str | Path, workspace: str | Path = "indexes") -> int:
    """Write a run's synthetic questions, as they were written, to a file that a person edits.

    Where the run was made with a review, its decisions stand in the file already.

    Args:
        out: A new file that ends in .csv or .jsonl.

    Returns:
        How many questions it has.

    Raises:
        UserError: There is no such run or it has no questions yet; the file is there already or ends otherwise.

    Example:
        >>> write_review("quickstart", "review.csv")
    """
    result = open_questions(run, workspace, "synthesis")
    reviewed = any(stage["name"] == "review" and stage["state"] == "done" for stage in result.state["stages"])
    before = read_jsonl(result.artifact("review").path / "review.jsonl", Row) if reviewed else []
    rows = rows_for(synthetic_questions(result, "synthesis"), result.corpus.text_of, before)
    write_rows(Path(out).expanduser(), rows)
    return len(rows)
