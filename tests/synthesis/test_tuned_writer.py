"""The writer stage: what is learned, what chooses, and a process that ends in its middle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from raglift import plugins
from raglift.artifacts import WORK, file_sha256
from raglift.config import SynthesisConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.journal import Journal
from raglift.models.find import FoundModel
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Document, write_jsonl
from raglift.synthesis import tuned_writer
from raglift.synthesis.asking import asking_of
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.shots import fits, is_shown, with_examples
from raglift.synthesis.tuned_writer import tuning_set, written_by
from raglift.synthesis.writer import Assignment, Writing, write
from raglift.training import llm_stage
from raglift.training.examples import Example
from raglift.training.likelihood import MeanLogProbability
from raglift.training.loop import Fitted, Task
from raglift.training.outcome import read_outcome
from tests.fits import Killed, killing
from tests.tasks import QUIET, RUNTIME, job

SETTINGS = SynthesisConfig(kinds={"factoid": 1.0, "keyword": 1.0})
ITEMS = tuple(
    HumanExample(
        f"A red kite {n} builds its nest in tall oaks.",
        f"Which bird {n} is it?" if n % 2 else f"red bird {n}",
        "red kite" if n % 2 else "",
        2 * (n % 2),
        (f"d{n // 4}", "d17") if n == 8 else (f"d{n // 4}",) if n < 60 else (),
    )
    for n in range(64)
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Documents d0 to d19, of which d5 repeats d4, without chunks and questions."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    group = {5: "d4"}
    write_jsonl(
        folder / "documents.jsonl", [Document(f"d{n}", f"{n}.md", "", {}, group.get(n, f"d{n}")) for n in range(20)]
    )
    return Corpus(folder)


def found(folder: Path) -> FoundModel:
    return FoundModel("tiny", folder, "0")


@pytest.mark.parametrize("seed", range(6))
def test_what_is_learned_is_what_the_writer_will_be_asked(corpus: Corpus, tiny_llm: Path, seed: int) -> None:
    asking, _ = with_examples(asking_of(SETTINGS), HumanExamples(ITEMS), seed)
    kinds, by = asking.kinds, (asking.style, load_tokenizer(tiny_llm))
    rows = tuning_set(asking, ITEMS, corpus, by[1], seed)
    parts = [rows.train, rows.held_out]
    assert rows.shown == 10  # five of either kind
    used = [item for item in ITEMS if not is_shown(item, kinds)]
    assert len(used) == 54
    wanted = {
        row for item in used for kind in kinds.values() if fits(kind, item) for row in written_by(kind, item, *by)
    }
    assert {row for part in parts for row in part} == wanted
    assert sum(map(len, parts)) == len(wanted)
    home = {item.text: item.documents[:1] or (item.text,) for item in ITEMS}
    home |= {text: ("d4",) for text, (name, *_) in home.items() if name == "d5"}
    groups = [
        {home[text] for row in part for text in home if text in row.prompt.rpartition("Text: ")[2]} for part in parts
    ]
    assert not groups[0] & groups[1]
    assert 0.1 < len(rows.held_out) / len(wanted) < 0.35


class Overheard:
    """Writes what it is told to, one line after the other, and keeps the prompts that it was given."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.prompts: list[str] = []
        self._lines = lines

    def generate(self, prompts: Sequence[str], sampling: Sampling, *, prefix: str = "", **_: Any) -> list[str]:
        (prompt,) = prompts
        self.prompts.append(prefix + prompt)
        return [self._lines.pop(0)]


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("style", plugins.names("prompt style"))
def test_what_is_learned_is_read_back_from_what_is_asked(
    tiny_llm: Path, tmp_path: Path, style: str, template: bool
) -> None:
    asking = asking_of(SETTINGS.model_copy(update={"style": style}))
    item, kind = ITEMS[1], asking.kinds["factoid"]
    tokenizer = load_tokenizer(tiny_llm)
    assert tokenizer.chat_template
    if not template:
        tokenizer.chat_template = None
    rows = written_by(kind, item, asking.style, tokenizer)
    assert [row.answer[-1] for row in rows] == ["\n", "\n"]
    assert [(row.prompt + row.answer).count("  ") for row in rows] == [0, 0]
    assert all(row.prompt[-1].isspace() != row.answer[0].isspace() for row in rows)
    writer = Overheard(tiny_llm, [row.answer for row in rows])
    writer.tokenizer = tokenizer
    journal = Journal(tmp_path / "written.jsonl")
    plan = [Assignment("c", item.text, "factoid")]
    (written,) = write(plan, asking, Writing(1, 0.0, 0), lambda: cast("Generator", writer), journal, lambda _: None)
    journal.close()
    assert writer.prompts == [row.prompt for row in rows]
    assert (written.question, written.answer) == (item.question, item.answer)
    assert written_by(kind, replace(item, answer=""), asking.style, tokenizer)[0].prompt == rows[0].prompt
    assert len(written_by(kind, replace(item, answer=""), asking.style, tokenizer)) == 1


def test_the_score_is_the_mean_log_probability_of_the_targets(tiny_llm: Path) -> None:
    rows = [
        Example("The red kite", " hunts\n"),
        Example("A tide table lists", " the hours of high\n"),
        Example("x", "y"),
    ]
    tokenizer, model = load_tokenizer(tiny_llm), load_causal_lm(tiny_llm, RUNTIME)
    means = []
    for row in rows:
        prompt, target = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (row.prompt, row.answer))
        with torch.no_grad():
            logits = model(torch.tensor([prompt + target])).logits.log_softmax(-1)
        values = [logits[0, len(prompt) + place - 1, token].item() for place, token in enumerate(target)]
        means.append(sum(values) / len(values))
    for size in (1, 2, 3):
        score = MeanLogProbability(rows, tokenizer, RUNTIME.device, size, QUIET)(model)
        assert score == pytest.approx(sum(means) / 3, abs=1e-4)


def build(folder: Path, corpus: Corpus, base: Path, items: tuple[HumanExample, ...] = ITEMS) -> dict[str, str]:
    out = folder
    out.mkdir(exist_ok=True)
    tuned_writer.build(SETTINGS, HumanExamples(items), corpus, found(base), RUNTIME, job(out))
    return {
        path.relative_to(out).as_posix(): file_sha256(path)
        for path in out.rglob("*")
        if path.is_file() and WORK not in path.parts
    }


def test_the_writer_learns_to_write_like_people(tmp_path: Path, corpus: Corpus, tiny_llm: Path) -> None:
    files = build(tmp_path / "out", corpus, tiny_llm)
    assert {"model.json", "training.json", "preview.txt", "funnel.json", "model/adapter_model.safetensors"} <= set(
        files
    )
    outcome = read_outcome(tmp_path / "out", "k")
    assert outcome.tuned is not None
    scores = outcome.record.dev
    assert scores[outcome.record.chosen] == max(scores.values()) > scores["base"] + 1
    funnel = json.loads((tmp_path / "out" / "funnel.json").read_text("utf-8"))
    assert {row["stage"] for row in funnel} == {"writer"}
    assert funnel[0]["count"] == 10
    # What was saved is what was chosen.
    tokenizer = load_tokenizer(tiny_llm)
    asking, _ = with_examples(asking_of(SETTINGS), HumanExamples(ITEMS), 0)
    rows = tuning_set(asking, ITEMS, corpus, tokenizer, 0)
    score = MeanLogProbability(rows.held_out, tokenizer, RUNTIME.device, 4, QUIET)
    saved = score(load_causal_lm(tiny_llm, RUNTIME, outcome.tuned))
    assert saved == pytest.approx(scores[outcome.record.chosen], abs=1e-3)


def test_a_writer_that_learns_nothing_stays_the_base(
    tmp_path: Path, corpus: Corpus, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = iter(range(0, -100, -1))
    monkeypatch.setattr(MeanLogProbability, "__call__", lambda self, model: float(next(worse)))
    build(tmp_path / "out", corpus, tiny_llm)
    outcome = read_outcome(tmp_path / "out", "k")
    assert (outcome.tuned, outcome.record.chosen) == (None, "base")


def test_a_writer_that_memory_does_not_hold_is_told_of_its_own_keys(
    tmp_path: Path, corpus: Corpus, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`llm.batch_size` is another training's."""

    def fit(model: torch.nn.Module, task: Task, *rest: object) -> Fitted:
        raise Killed(task.memory_fix)

    monkeypatch.setattr(llm_stage, "fit", fit)
    with pytest.raises(Killed, match=r"synthesis\.model; set .* synthesis\.tune_writer: false"):
        build(tmp_path / "out", corpus, tiny_llm)


@pytest.mark.parametrize(("loss_at", "score_at"), [(1, 0), (9, 0), (0, 2), (0, 4)])
def test_a_tuning_that_is_killed_goes_on_and_ends_the_same(
    tmp_path: Path, corpus: Corpus, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch, loss_at: int, score_at: int
) -> None:
    whole = build(tmp_path / "whole", corpus, tiny_llm)
    fit = llm_stage.fit
    steps: list[int] = []

    def counted(model: torch.nn.Module, task: Task, *rest: object) -> Fitted:
        def loss(*given: object) -> torch.Tensor:
            steps.append(1)
            return task.loss(*given)  # type: ignore[arg-type]

        return fit(model, killing(replace(task, loss=loss), loss_at, score_at), *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(llm_stage, "fit", counted)
        with pytest.raises(Killed):
            build(tmp_path / "cut", corpus, tiny_llm)
    done = len(steps)
    with monkeypatch.context() as patched:
        patched.setattr(llm_stage, "fit", fit)
        assert build(tmp_path / "cut", corpus, tiny_llm) == whole
    assert (done > 0) == (loss_at != 1)


def test_examples_of_one_document_cannot_choose(tmp_path: Path, corpus: Corpus, tiny_llm: Path) -> None:
    one = tuple(replace(item, documents=("d0",)) for item in ITEMS)
    with pytest.raises(UserError, match="do not suffice to tune"):
        build(tmp_path / "out", corpus, tiny_llm, one)


def test_examples_that_the_model_cannot_read_are_refused(tmp_path: Path, corpus: Corpus, tiny_llm: Path) -> None:
    long = tuple(replace(item, text=item.text + " Or so they say." * 30) for item in ITEMS)
    with pytest.raises(UserError, match="cannot learn from") as caught:
        build(tmp_path / "out", corpus, tiny_llm, long)
    assert "shorter examples" in caught.value.fix
