"""A run's answers before a judge that is tested first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raglift import cli
from raglift.config_judge import JudgeConfig, judge_config
from raglift.errors import UserError
from raglift.models.llm import LiftLLM
from raglift.records import Score, read_jsonl
from raglift.serve.judge import judge_of, judge_run, local_judge, refuse_tuned
from raglift.serve.result import RunResult
from tests.judging.judges import ScriptedLLM, erring, part
from tests.judging.runs import RIGHT, judged_run, tune_llm
from tests.tasks import QUIET

JUDGED = 40
ONE = ("correctness",)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> Path:
    """The folder of a run; tests copy its workspace."""
    root = tmp_path_factory.mktemp("judged")
    judged_run(root, {"embedding": tiny_embedding, "llm": tiny_llm}, JUDGED)
    return root


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> RunResult:
    shutil.copytree(stored, tmp_path / "indexes")
    return RunResult(tmp_path / "indexes" / "runs" / "demo")


def truth(prompt: str) -> bool:
    """Whether the answer of a prompt about a town says its year: the reference's first line."""
    year = part(prompt, "reference").split("\n")[0].removeprefix("- ")
    return year in part(prompt, "answer") and " not " not in part(prompt, "answer")


def judge(sensitivity: float = 1.0, specificity: float = 1.0) -> ScriptedLLM:
    return ScriptedLLM(erring(truth, sensitivity, specificity))


def share(scores: list[Score], arm: str) -> float:
    values = [score.value for score in scores if score.arm == arm and score.value is not None]
    return sum(values) / len(values)


def test_a_judge_that_passes_scores_every_arm_that_answers(run: RunResult) -> None:
    value = run.judge(judge(), questions=ONE, quiet=True)
    assert value["questions"]["correctness"]["health"]["believed"]
    cells = value["scores"]["synthetic"]
    assert set(cells) == set(RIGHT)  # bm25 only ranks
    for arm, cell in ((arm, cells[arm]["correctness"]) for arm in RIGHT):
        assert cell["observed"] == cell["value"]
        assert cell["ci_low"] < cell["value"] < cell["ci_high"]
        assert (cell["coverage"], cell["n"]) == (1.0, JUDGED)
        assert abs(cell["value"] - RIGHT[arm]) < 0.2
    (row,) = value["differences"]
    assert (row["arm"], row["against"], row["decision"]) == ("tuned_both", "base", "better")
    assert row["value"] == pytest.approx(
        cells["tuned_both"]["correctness"]["value"] - cells["base"]["correctness"]["value"]
    )


def test_what_is_kept_is_what_is_returned(run: RunResult) -> None:
    value = run.judge(judge(), questions=ONE, quiet=True)
    kept = json.loads((run.folder / "judge.json").read_text("utf-8"))
    assert kept == {"scripted": json.loads(json.dumps(value))}
    (file,) = (run.folder / "judges").glob("*-synthetic-scores.jsonl")
    scores = read_jsonl(file, Score)
    assert {score.metric for score in scores} == {"judge_correctness"}
    for arm in RIGHT:
        assert share(scores, arm) == value["scores"]["synthetic"][arm]["correctness"]["observed"]
    run.judge(ScriptedLLM(lambda prompt: "Yes", name="other"), questions=ONE, quiet=True)
    assert set(json.loads((run.folder / "judge.json").read_text("utf-8"))) == {"scripted", "other"}


def test_a_judge_that_errs_is_corrected_toward_the_truth(run: RunResult) -> None:
    exact = run.judge(judge(), questions=ONE, quiet=True)["scores"]["synthetic"]
    (run.folder / "judge.json").unlink()
    shutil.rmtree(run.folder / "judges")
    erred = run.judge(judge(0.85, 0.8), questions=ONE, items=40, quiet=True)["scores"]["synthetic"]
    for arm in RIGHT:
        real, cell = exact[arm]["correctness"], erred[arm]["correctness"]
        assert cell["ci_low"] <= real["value"] <= cell["ci_high"]
        assert cell["ci_high"] - cell["ci_low"] > real["ci_high"] - real["ci_low"]


def test_a_judge_near_chance_is_refused_and_asked_nothing_more(run: RunResult) -> None:
    llm = ScriptedLLM(lambda prompt: "Yes")
    value = run.judge(llm, questions=["correctness", "faithfulness"], items=20, quiet=True)
    assert all("not told from chance" in asked["health"]["refused"] for asked in value["questions"].values())
    assert value["scores"]["synthetic"] == {"base": {}, "tuned_both": {}}
    assert value["differences"] == []
    assert len(llm.asked) <= 80


def test_questions_are_believed_one_by_one(run: RunResult) -> None:
    def only_correctness(prompt: str) -> str:
        return ("Yes" if truth(prompt) else "No") if part(prompt, "reference") else "Yes"

    value = run.judge(ScriptedLLM(only_correctness), questions=["correctness", "answer_relevance"], quiet=True)
    assert set(value["scores"]["synthetic"]["base"]) == {"correctness"}


def test_a_pair_is_judged_against_the_base(run: RunResult) -> None:
    def good(prompt: str, name: str) -> bool:
        return part(prompt, "reference").split("\n")[0] in part(prompt, name) and " not " not in part(prompt, name)

    def prefers_right(prompt: str) -> str:
        return "B" if good(prompt, "answer_B") and not good(prompt, "answer_A") else "A"

    value = run.judge(ScriptedLLM(prefers_right), questions=["pairwise"], quiet=True)
    assert value["questions"]["pairwise"]["health"]["believed"]
    assert set(value["scores"]["synthetic"]["tuned_both"]) == {"pairwise"}
    assert value["scores"]["synthetic"]["base"] == {}
    cell = value["scores"]["synthetic"]["tuned_both"]["pairwise"]
    assert cell["ci_low"] > 0.5
    assert value["differences"] == []


def test_what_could_not_be_read_is_missing_and_bounded(run: RunResult) -> None:
    base = judge()._reply

    def mumbles(prompt: str) -> str:
        return "well" if part(prompt, "question").endswith("Townb built?") and "It was" in prompt else base(prompt)

    cell = run.judge(ScriptedLLM(mumbles), questions=ONE, quiet=True)["scores"]["synthetic"]["base"]["correctness"]
    assert (cell["n"], cell["coverage"]) == (JUDGED - 1, (JUDGED - 1) / JUDGED)
    assert cell["missing"] == {"not a label alone: 'well'": 1}
    assert cell["best"] - cell["worst"] == pytest.approx(1 / JUDGED)
    assert cell["worst"] <= cell["value"] <= cell["best"]


def test_an_interrupted_judge_goes_on(run: RunResult) -> None:
    exact, asked = erring(truth, 1, 1), list[str]()

    def stops(prompt: str) -> str:
        asked.append(prompt)
        if len(asked) == 100:
            raise KeyboardInterrupt
        return exact(prompt)

    with pytest.raises(KeyboardInterrupt):
        run.judge(ScriptedLLM(stops), questions=ONE, items=20, quiet=True)
    assert not (run.folder / "judge.json").exists()
    second, third = judge(), judge()
    resumed = run.judge(second, questions=ONE, items=20, quiet=True)
    assert 0 < len(second.asked) < 100
    assert run.judge(third, questions=ONE, items=20, quiet=True) == resumed
    assert third.asked == []


def test_fewer_answers_are_the_same_for_every_arm(run: RunResult) -> None:
    value = run.judge(judge(), questions=ONE, max_answers=10, quiet=True)
    (file,) = (run.folder / "judges").glob("*-scores.jsonl")
    asked: dict[str, set[str]] = {}
    for score in read_jsonl(file, Score):
        asked.setdefault(score.arm, set()).add(score.qa_id)
    assert asked["base"] == asked["tuned_both"]
    assert value["scores"]["synthetic"]["base"]["correctness"]["n"] == 10


def test_the_tuned_model_never_judges(run: RunResult, tiny_llm: Path, tmp_path: Path) -> None:
    refuse_tuned(run, run.llm("tuned_both"))  # nothing was tuned: it is the base
    tuned = tune_llm(run, tiny_llm)
    refuse_tuned(tuned, tuned.llm("base"))
    refuse_tuned(tuned, judge())
    with pytest.raises(UserError, match="own tuned language model"):
        tuned.judge(tuned.llm("tuned_both"), questions=ONE, quiet=True)
    elsewhere = shutil.copytree(tuned.models.path("llm", "tuned"), tmp_path / "copy")
    with pytest.raises(UserError, match="own tuned language model"):
        tuned.judge(str(elsewhere), questions=ONE, quiet=True)
    with pytest.raises(UserError, match="own tuned language model"):
        refuse_tuned(tuned, ScriptedLLM(lambda prompt: "Yes", name=str(elsewhere)))


def test_a_local_judge_is_read_by_probability_and_knows_its_own_answers(run: RunResult, tiny_llm: Path) -> None:
    config = judge_config(str(tiny_llm), ONE, items=10, max_answers=2)
    value = judge_run(run, config, display=QUIET)
    assert value["judge"]["read_by"] == "label probability"
    assert value["judge"]["name"].startswith(str(tiny_llm))
    assert {"base", "tuned_embedding"} <= set(value["own_answers"])
    assert isinstance(local_judge(run, str(tiny_llm)), LiftLLM)
    assert not value["questions"]["correctness"]["health"]["believed"]  # its weights are random


def test_the_command_tells_the_figures(
    run: RunResult, tiny_llm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raglift.serve.judge.local_judge", lambda result, name: judge(0.9, 0.9))
    base = ["judge", "demo", "--workspace", str(run.workspace), "--quiet", "--judge", "any"]
    assert cli.main([*base, "--questions", "correctness"]) == 0
    printed = capsys.readouterr().out
    assert "Youden's J" in printed
    assert "tuned_both" in printed
    assert cli.main([*base, "--questions", "correctness", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"]["correctness"]["health"]["believed"]


def test_a_refused_judge_is_a_mistake_to_mend(
    run: RunResult, tiny_llm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["judge", "demo", "--workspace", str(run.workspace), "--quiet", "--judge", str(tiny_llm)]
    assert cli.main([*base, "--questions", "correctness", "--items", "10"]) == 2
    told = capsys.readouterr().err
    assert "refused for every question" in told
    assert "/10 of the right answers" in told
    assert (run.folder / "judge.json").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: x\nremote: {kind: ollama, model: y}\n", "name two judges"),
        ("modell: x\n", "modell"),
        ("model: x\nquestions: [corectness]\n", "did you mean 'correctness'"),
        ("model: x\nquestions: [guideline]\n", "guideline"),
        ("model: x\nquestions: [correctness, correctness]\n", "twice"),
        ("model: x\nitems: 0\n", "items"),
        ("remote: {kind: openai_like, model: y}\n", "remote.url is missing"),
        ("model: x\nfloor: 1.5\n", "floor"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        judge_config(str(file))
    assert told in str(caught.value)
    assert "synthesis.writer" not in str(caught.value)


def test_a_file_says_what_is_asked_and_the_command_chooses(tmp_path: Path) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text(
        "model: x\nitems: 7\nquestions:\n  - correctness\n  - guideline: {text: Be brief.}\n", encoding="utf-8"
    )
    config = judge_config(str(file), ["guideline"], items=None, floor=0.2)
    assert (config.items, config.floor) == (7, 0.2)
    (spec,) = config.questions
    assert (spec.name, spec.settings) == ("guideline", {"text": "Be brief."})
    with pytest.raises(UserError, match="did you mean 'pairwise'"):
        judge_config(str(file), ["pairwize"])
    with pytest.raises(UserError, match="text"):
        judge_config("x", ["guideline"])
    with pytest.raises(UserError, match=r"none\.yaml"):
        judge_config(str(tmp_path / "none.yaml"))


def test_a_remote_judge_is_built_with_its_key(run: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_index.llms.openai_like")
    remote = {"kind": "openai_like", "url": "http://localhost:1/v1", "model": "m", "key_env": "JUDGE_KEY", "retries": 2}
    config = JudgeConfig.model_validate({"remote": remote})
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(UserError, match="JUDGE_KEY is not set") as caught:
        judge_of(run, config)
    assert "synthesis.writer" not in str(caught.value)
    monkeypatch.setenv("JUDGE_KEY", "secret-123")
    found = judge_of(run, config)
    assert found.name == "m at http://localhost:1/v1"
    assert found.llm.max_retries == 2  # type: ignore[attr-defined]
    assert not found.by_probability
    with pytest.raises(UserError, match="No judge is named"):
        judge_of(run, JudgeConfig())
