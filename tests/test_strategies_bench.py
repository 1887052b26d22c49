"""The table of all strategies: none is missing from it, and its figures are what was measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from raglift import plugins
from raglift.artifacts import write_json
from raglift.config import config_from_dict
from raglift.corpus.stage import Corpus
from raglift.records import Evidence, QAPair, write_jsonl
from tests.tiny import QUESTIONS, SENTENCES

BENCH = Path(__file__).parents[1] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the bench by name, as its script does."""
    monkeypatch.syspath_prepend(BENCH)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_every_strategy_stands_in_the_table_for_each_of_its_models(bench: Any) -> None:
    strategies = bench("strategies")
    found = set()
    for row in (*strategies.STRATEGIES, *strategies.TUNERS):
        for target in strategies.TARGETS:
            section = strategies.section(row, target)
            if section is not None:
                config_from_dict({"data": {"documents": "python-reference"}, target: section})
                found |= {(name, target) for spec in section["strategies"] for name in spec}
    wanted = {(name, target) for name in plugins.names("strategy") for target in plugins.load("strategy", name).targets}
    assert {item for item in wanted if item[1] in strategies.TARGETS} == found


def test_a_line_has_the_settings_of_its_config_and_only_its_own_learning_rate(bench: Any) -> None:
    strategies = bench("strategies")
    rows = {row.name: row for row in (*strategies.STRATEGIES, *strategies.TUNERS)}
    unfreezing = strategies.section(rows["full + gradual_unfreezing"], "llm")
    assert [next(iter(spec)) for spec in unfreezing["strategies"]] == ["full", "gradual_unfreezing"]
    assert unfreezing["strategies"][1]["gradual_unfreezing"]["blocks"] == 6
    assert "learning_rate" not in unfreezing, "the config's is that of lora"
    assert strategies.section(rows["embedding_head"], "llm") is None
    assert [next(iter(s)) for s in strategies.section(rows["embedding_head"], "embedding")["strategies"]] == [
        "embedding_head"
    ]
    assert strategies.section(rows["lora, tuner ia3"], "llm")["strategies"] == [{"lora": {"tuner": "ia3"}}]
    assert "learning_rate" not in strategies.section(rows["lora, tuner ia3"], "embedding")


def test_the_plan_has_each_place_once_and_the_base_before_what_is_held_against_it(bench: Any) -> None:
    strategies = bench("strategies")
    places = list(strategies.plan(("xquad-en", "python-reference")))
    assert len(places) == len(set(places))
    files = {strategies.file_of(Path("work"), place) for place in places}
    assert len(files) == len(places)
    for name, target, _ in places:
        assert next(place for place in places if place[:2] == (name, target))[2] == strategies.BASE


def test_the_last_state_is_what_is_measured_and_scoring_is_not_timed(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bench("strategies_row")
    clock = iter([0.0, 5.0, 0.0, 5.0])
    monkeypatch.setattr(row.time, "perf_counter", lambda: next(clock))
    scored: list[nn.Module] = []
    watch = row.Watch(lambda model: scored.append(model) or 0.25)
    model = nn.Linear(1, 1)
    base = watch(model)
    assert not scored, "the base is not scored in each row"
    assert base < watch(model) == watch(model) == 0.25
    assert watch.taken["wall_seconds"] == 5.0
    assert len(scored) == 2
    silent = row.Watch(None)
    assert silent(model) < silent(model), "without candidates nothing needs a score, and the last state wins"


def test_a_table_shows_differences_and_what_the_development_split_keeps(bench: Any) -> None:
    table = bench("strategies_markdown")
    ids = [f"q{number}" for number in range(20)]
    base = {
        "dev": 0.5,
        "quality": dict.fromkeys(ids, 0.5),
        "outside": dict.fromkeys(["a", "b", "c"], -3.0),
        "clusters": {name: name for name in [*ids, "a", "b", "c"]},
    }
    took = {"cpu_seconds": 40.4, "wall_seconds": 21.0, "peak_mb": 1260.0, "disk_mb": 4.94, "state": "last"}
    better = {**base, **took, "dev": 0.6, "quality": dict.fromkeys(ids, 0.75)}
    worse = {**base, **took, "outside": dict.fromkeys(["a", "b", "c"], -3.5)}
    rows = {("set", "llm", "base"): base, ("set", "llm", "full"): better, ("set", "llm", "full + l2_sp"): worse}
    counts = {"set": {"pairs": 1, "examples": 96}}
    lines = table.tables(rows, counts).split("\n")
    assert lines[0] == "## set, language model"
    assert "96 examples train; 20 questions about 20 held-out documents" in lines[2]
    assert lines[-2] == (
        "| `full` | 0.750 | +0.250 [+0.250, +0.250] | +0.000 [+0.000, +0.000] | last | 40 | 21 | 1.3 | 4.9 |"
    )
    assert lines[-1].startswith(
        "| `full` + `l2_sp` | 0.500 | +0.000 [+0.000, +0.000] | -0.500 [-0.500, -0.500] | base |"
    )
    assert table.tables({place: row for place, row in rows.items() if place[2] != "base"}, counts) == ""
    for row in rows.values():
        row |= {"threads": 2, "dtype": "float32", "libraries_mb": 640.0}
    whole = table.page(rows, counts, {"train": 0.4, "embedding": 3, "llm": 1})
    assert whole.startswith("# Strategies compared")
    assert "about 40% of the documents" in whole
    assert lines[-1] in whole
    figures = table.summary(rows)["set/llm/full"]
    assert figures["quality lift"] == [0.25, 0.25, 0.25]
    assert "clusters" not in figures


def beir(folder: Path) -> Path:
    """The tiny models' sentences and questions as a set in BEIR layout."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{row}", "title": "", "text": text} for row, text in enumerate(SENTENCES)]
    queries = [{"_id": f"q{row}", "text": text, "answers": [answer]} for row, (text, answer) in enumerate(QUESTIONS)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    judged = "".join(f"q{row}\td{row}\t1\n" for row in range(len(QUESTIONS)))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", "utf-8")
    return folder


def about(documents: Corpus, row: int) -> QAPair:
    """A question that was written about a sentence."""
    question, answer = QUESTIONS[row]
    chunk = next(chunk for chunk in documents.chunks if chunk.text == SENTENCES[row])
    split = documents.split_of[chunk.document_id]
    evidence = Evidence(chunk.document_id, chunk.id, 0, len(chunk.text))
    return QAPair(f"s{row}", question, (answer,), (evidence,), "factoid", split, "synthetic")


@pytest.mark.parametrize(
    ("target", "strategies"),
    [
        ("embedding", ["full", "weight_interpolation"]),
        ("embedding", ["embedding_head"]),
        ("llm", ["full", {"weight_interpolation": {"shares": [0.5]}}]),
        ("llm", ["lora"]),
    ],
)
def test_a_row_is_measured(
    bench: Any, tmp_path: Path, tiny_embedding: Path, tiny_llm: Path, target: str, strategies: list[Any]
) -> None:
    data, row = bench("strategies_data"), bench("strategies_row")
    models = {"embedding": {"model": str(tiny_embedding)}, "llm": {"model": str(tiny_llm)}}
    tuning = {"strategies": strategies, "epochs": 4, "evaluations": 1, "batch_size": 2, "learning_rate": 0.05}
    tunings = {**models, target: models[target] | tuning}
    sizes = data.Sizes(threads=1)
    home = data.Domain(str(beir(tmp_path / "home")), tmp_path / "work", sizes, tunings)
    away = data.Domain(str(beir(tmp_path / "away")), tmp_path / "work", sizes, models)
    out = home.job("synthesis").out
    write_jsonl(out / "questions.jsonl", [about(home.corpus, number) for number in range(len(QUESTIONS))])
    write_json(out / "funnel.json", [])
    counts = home.prepare()
    assert counts["people's questions, test"] >= 2, "there is something to judge by"
    base = row.measured(home, away, target, base=True)
    tuned = row.measured(home, away, target, base=False)
    held_out = {question.id for question in home.people("test")}
    assert tuned["quality"].keys() == base["quality"].keys() == held_out
    assert tuned["outside"] != base["outside"], "the tuned model is what is judged"
    assert {*tuned["quality"], *tuned["outside"]} <= tuned["clusters"].keys()
    assert tuned["cpu_seconds"] > 0
    assert tuned["peak_mb"] >= tuned["libraries_mb"] > 0
    assert tuned["disk_mb"] > 0
    assert tuned["state"] in {"last", "mix 0.25", "mix 0.5", "mix 0.75"}
    assert not (home.folder / "training").exists()
