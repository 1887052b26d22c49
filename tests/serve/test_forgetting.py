"""A finished run's tuned models are held against their bases on text that has nothing to do with its documents."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from raglift import cli
from raglift.artifacts import write_json
from raglift.errors import UserError
from raglift.evaluation.probe import Probe, read_probe
from raglift.models.find import find_model
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.models.scoring import Likelihood
from raglift.records import Document, Target, TrainedModel, write_jsonl
from raglift.serve import probing
from raglift.serve.forgetting import FILE, Model, measure_forgetting
from raglift.serve.probing import is_right
from raglift.serve.result import RunResult
from raglift.synthesis.closed_book import PREFIX, guess_prompt
from raglift.training.outcome import MODEL, write_outcome
from tests.stored_runs import stored_run
from tests.tasks import QUIET, RUNTIME

PROBE = read_probe()
SMALL = Probe(PROBE.passages[:12], tuple(q for q in PROBE.questions if q.id < "drinks"), PROBE.closed_book[:12])


def damaged(model: Path, out: Path, noise: float, only: str = "") -> Path:
    """A copy of a model with noise on the weights whose name holds `only`."""
    shutil.copytree(model, out)
    (file,) = out.rglob("model.safetensors")
    generator = torch.Generator().manual_seed(0)
    weights = load_file(file)
    for name, weight in weights.items():
        if only in name and weight.is_floating_point():
            weights[name] = weight + noise * torch.randn(weight.shape, generator=generator)
    save_file(weights, file, {"format": "pt"})
    return out


def run_of(root: Path, bases: Mapping[Target, Path], tuned: Mapping[Target, Path | None]) -> RunResult:
    """A finished run whose trainings left these models; None: the base won."""

    def writer(target: Target) -> Callable[[Path], None]:
        base, kept = find_model(str(bases[target])), tuned.get(target)

        def write(out: Path) -> None:
            write_outcome(out, target, base, [], None, None)
            if kept is not None:
                shutil.copytree(kept, out / MODEL)
                record = TrainedModel(target, base.name, base.revision, ("full",), MODEL, "", "last")
                write_json(out / "model.json", asdict(record))

        return write

    def corpus(out: Path) -> None:
        write_jsonl(out / "documents.jsonl", [Document("d", "own", "The lighthouse keeper writes ship names.")])
        for name in ("chunks", "human"):
            write_jsonl(out / f"{name}.jsonl", [])

    writers: dict[Any, Callable[[Path], None]] = {target: writer(target) for target in bases} | {"corpus": corpus}
    return stored_run(root / "indexes", bases, writers)


@pytest.fixture
def bases(tiny_llm: Path, tiny_embedding: Path) -> dict[Target, Path]:
    return {"llm": tiny_llm, "embedding": tiny_embedding}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A quarter of the probe, for what does not depend on its size."""
    monkeypatch.setattr("raglift.serve.forgetting.read_probe", lambda: SMALL)
    return SMALL


def by_metric(model: Model, question_set: str = "probe") -> dict[str, Any]:
    return {figure.metric: figure for figure in model.figures if figure.question_set == question_set}


def test_the_loss_is_the_one_that_transformers_computes(tiny_llm: Path) -> None:
    model, tokenizer = load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm)
    texts = [passage.text for passage in PROBE.passages[:3]]
    found = Generator(model, tokenizer).score_texts(texts)
    for text, likelihood in zip(texts, found, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss.item()
        assert likelihood.mean_log_probability == pytest.approx(-loss, abs=1e-4)
        assert likelihood.tokens == ids.shape[1] - 1


def test_a_text_of_one_token_has_no_loss_and_an_empty_one_is_refused(tiny_llm: Path) -> None:
    generator = Generator(load_causal_lm(tiny_llm, RUNTIME), load_tokenizer(tiny_llm))
    assert generator.score_texts(["a"]) == [Likelihood(None, 0)]
    with pytest.raises(UserError, match="empty prompt"):
        generator.score_texts(["a text", ""])


def test_a_language_model_that_was_damaged_has_forgotten(tmp_path: Path, bases: dict[Target, Path]) -> None:
    run = run_of(tmp_path, bases, {"llm": damaged(bases["llm"], tmp_path / "llm", 0.5)})
    found = measure_forgetting(run, display=QUIET)
    llm = found.models[0]
    loss = by_metric(llm)["loss"]
    assert (loss.decision, loss.n) == ("forgot", len(PROBE.passages))
    assert loss.tuned - loss.base == pytest.approx(-loss.gain)
    assert llm.described["perplexity"] == pytest.approx({"base": math.exp(loss.base), "tuned": math.exp(loss.tuned)})
    bits = llm.described["bits_per_byte"]
    assert bits["tuned"] > bits["base"] > 0  # type: ignore[operator]
    assert [figure.metric for figure in found.forgot] == ["loss"]
    # A random model knows nothing, which is said and not taken for remembering.
    assert llm.closed_book is not None
    assert llm.closed_book.base_right < 5
    assert "hardly any knowledge" in llm.note
    assert by_metric(llm)["right"].decision == "cannot tell"
    assert json.loads((run.folder / FILE).read_text("utf-8")) == json.loads(json.dumps(asdict(found)))


class Pointing:
    """An embedding model that points from each question at its passage, and from the first ones away from it: those
    have been forgotten."""

    dimension = len(PROBE.passages)

    def __init__(self, forgotten: int) -> None:
        one = np.eye(self.dimension, dtype=np.float32)
        self.vectors = {passage.text: one[n] for n, passage in enumerate(PROBE.passages)}
        right = {passage.id: one[n] for n, passage in enumerate(PROBE.passages)}
        for n, question in enumerate(PROBE.questions):
            vector = right[question.evidence[0].document_id]
            self.vectors[question.question] = -vector if n < forgotten else vector

    def encode(self, texts: Sequence[str], role: str, advance: Callable[[int], None]) -> NDArray[np.float32]:
        return np.stack([self.vectors[text] for text in texts])


@pytest.mark.parametrize(("forgotten", "decision"), [(0, "no worse"), (4, "cannot tell"), (60, "forgot")])
def test_retrieval_that_was_lost_is_found(
    tmp_path: Path, bases: dict[Target, Path], forgotten: int, decision: str
) -> None:
    run = run_of(tmp_path, bases, {"embedding": bases["embedding"]})
    run.models.__dict__["encoder"] = {"base": Pointing(0), "tuned": Pointing(forgotten)}.__getitem__
    count = len(PROBE.questions)
    figures = by_metric(measure_forgetting(run, display=QUIET).models[1])
    assert set(figures) == {"nDCG@10", "Success@5"}
    for figure in figures.values():
        assert (figure.base, figure.n, figure.clusters) == (1.0, count, len(PROBE.passages))
        assert figure.tuned == pytest.approx(1 - forgotten / count)
        assert figure.decision == decision


def test_the_same_weights_have_lost_exactly_nothing(tmp_path: Path, bases: dict[Target, Path]) -> None:
    run = run_of(tmp_path, bases, dict(bases))
    llm, embedding = measure_forgetting(run, display=QUIET).models
    for figure in (*llm.figures, *embedding.figures):
        assert (figure.gain, figure.ci_low, figure.ci_high) == (0.0, 0.0, 0.0), figure
        assert figure.base == figure.tuned
    assert by_metric(llm)["loss"].decision == "no worse"
    assert (llm.closed_book.lost, llm.closed_book.gained) == ([], [])  # type: ignore[union-attr]


def test_where_the_base_won_nothing_is_computed(
    tmp_path: Path, bases: dict[Target, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("probe_llm", "probe_embedding"):
        monkeypatch.delattr(probing, name)
    found = measure_forgetting(run_of(tmp_path, bases, {}), display=QUIET)
    for model in found.models:
        assert (model.tuned, model.figures, model.closed_book) == (None, [], None)
        assert "Nothing beat the base" in model.note


class Scripted:
    """A language model that answers the probe's questions but for some, and is surer of some passages than of others;
    `asked` counts its questions."""

    def __init__(self, unknown: Sequence[int], loss: float, ends: int | None = None) -> None:
        self.unknown = {PROBE.closed_book[place].question for place in unknown}
        self.answers = {question.question: question.answers[0] for question in PROBE.closed_book}
        self.loss, self.ends, self.asked = loss, ends, 0

    def score_texts(self, texts: Sequence[str], *, advance: Callable[[int], None]) -> list[Likelihood]:
        return [Likelihood(-self.loss - len(text) % 7 / 100, 100) for text in texts]

    def generate(self, prompts: Sequence[str], *_: Any, **__: Any) -> list[str]:
        if self.ends is not None and self.asked >= self.ends:
            raise KeyboardInterrupt
        self.asked += len(prompts)
        asked = [prompt.strip().removeprefix("Question: ").removesuffix("\nAnswer:") for prompt in prompts]
        return [" no idea" if text in self.unknown else f" It is {self.answers[text]}." for text in asked]


def scripted(root: Path, bases: dict[Target, Path], base: Scripted, tuned: Scripted) -> RunResult:
    run = run_of(root, bases, {"llm": bases["llm"]})
    models = {"base": base, "tuned": tuned}
    run.models.__dict__["generator"] = models.__getitem__
    return run


def test_knowledge_that_was_lost_is_counted_and_named(tmp_path: Path, bases: dict[Target, Path]) -> None:
    run = scripted(tmp_path, bases, Scripted(range(25), 3.0), Scripted(range(5, 50), 3.01))
    llm = measure_forgetting(run, display=QUIET).models[0]
    known = llm.closed_book
    assert known is not None
    count = len(PROBE.closed_book)
    assert (known.asked, known.base_right, known.tuned_right, known.kept) == (count, count - 25, count - 45, count - 50)
    assert known.retention == pytest.approx((count - 50) / (count - 25))
    assert known.retention_low < known.retention < known.retention_high
    assert known.lost == [question.id for question in PROBE.closed_book[25:50]]
    assert known.gained == [question.id for question in PROBE.closed_book[:5]]
    figures = by_metric(llm)
    assert figures["right"].gain == pytest.approx(-20 / count)
    assert (figures["right"].decision, figures["loss"].decision, llm.note) == ("forgot", "no worse", "")
    assert figures["token_f1"].gain < 0


def test_it_goes_on_after_an_interruption_and_asks_nothing_twice(tmp_path: Path, bases: dict[Target, Path]) -> None:
    base, tuned = Scripted([], 3.0), Scripted([], 3.0, ends=32)
    run = scripted(tmp_path, bases, base, tuned)
    with pytest.raises(KeyboardInterrupt):
        measure_forgetting(run, display=QUIET)
    assert not (run.folder / FILE).exists()
    tuned.ends = None
    assert measure_forgetting(run, display=QUIET).models[0].figures
    assert (base.asked, tuned.asked) == (len(PROBE.closed_book), len(PROBE.closed_book))
    # Another margin decides anew and measures nothing.
    again = measure_forgetting(run, margin=0.2, display=QUIET)
    assert (base.asked, tuned.asked) == (len(PROBE.closed_book), len(PROBE.closed_book))
    assert {figure.margin for figure in again.models[0].figures} == {0.2}


def test_a_loss_that_is_no_number_is_left_out(tmp_path: Path, bases: dict[Target, Path], small: Probe) -> None:
    run = scripted(tmp_path, bases, Scripted([], 3.0), Scripted([], math.nan))
    loss = by_metric(measure_forgetting(run, display=QUIET).models[0])["loss"]
    assert (loss.n, loss.coverage, loss.base, loss.decision) == (0, 0.0, None, "cannot tell")
    json.loads((run.folder / FILE).read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))


def test_an_embedding_without_finite_vectors_ranks_nothing(
    tmp_path: Path, bases: dict[Target, Path], small: Probe
) -> None:
    tuned = {"embedding": damaged(bases["embedding"], tmp_path / "nan", math.nan, "LayerNorm.bias")}
    found = measure_forgetting(run_of(tmp_path, bases, tuned), display=QUIET).models[1]
    assert {(figure.n, figure.decision) for figure in found.figures} == {(0, "cannot tell")}


def write_beir(folder: Path, texts: Mapping[str, str], questions: Mapping[str, str]) -> Path:
    """A corpus and questions, each judged by one document."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": name, "title": "", "text": text} for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = [{"_id": f"q{n}", "text": question} for n, question in enumerate(questions)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    lines = [f"q{n}\t{document}\t1" for n, document in enumerate(questions.values())]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines), encoding="utf-8")
    return folder


def test_another_corpus_is_ranked_too(
    tmp_path: Path, bases: dict[Target, Path], small: Probe, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"d{n}": passage.text for n, passage in enumerate(PROBE.passages[12:22])}
    asked = {f"{text.split('.')[0]}?": name for name, text in texts.items()} | {"Who is it about?": "nobody"}
    data = write_beir(tmp_path / "other", texts, asked)
    run = run_of(tmp_path, bases, {"embedding": bases["embedding"]})
    found = measure_forgetting(run, data)
    assert found.data == "other"
    figures = by_metric(found.models[1], "other")
    assert figures["nDCG@10"].n == 10
    assert figures["nDCG@10"].base > 0.5
    assert figures["nDCG@10"].decision == "no worse"
    assert set(by_metric(found.models[1])) == {"nDCG@10", "Success@5"}
    warned = capsys.readouterr().err
    assert "left out" in warned
    assert "the run's own documents" not in warned
    own = write_beir(tmp_path / "own", {"x": "The lighthouse  keeper writes ship names."}, {"Who writes names?": "x"})
    assert measure_forgetting(run, own).models[1].figures
    assert "the run's own documents" in capsys.readouterr().err


def test_a_corpus_that_is_called_as_the_probe_is_told_apart(
    tmp_path: Path, bases: dict[Target, Path], small: Probe
) -> None:
    data = write_beir(tmp_path / "probe", {"x": "Ferries sail.", "y": "Bread bakes."}, {"What sails?": "x"})
    found = measure_forgetting(run_of(tmp_path, bases, {"embedding": bases["embedding"]}), data, display=QUIET)
    assert [figure.question_set for figure in found.models[1].figures] == ["probe"] * 2 + ["probe (--data)"] * 2


def test_what_cannot_be_measured_is_said(tmp_path: Path, bases: dict[Target, Path]) -> None:
    run = run_of(tmp_path, bases, {})
    with pytest.raises(UserError, match=r"margin 0\.0 decides nothing"):
        run.forgetting(margin=0.0, display=QUIET)
    with pytest.raises(UserError, match="There is no folder"):
        measure_forgetting(run, tmp_path / "absent", display=QUIET)
    unjudged = write_beir(tmp_path / "unjudged", {"x": "A text."}, {"Who?": "nobody"})
    with pytest.raises(UserError, match="has a judged document"):
        measure_forgetting(run, unjudged, display=QUIET)
    assert not (run.folder / FILE).exists()


def test_the_command_prints_each_figure_with_its_decision(
    tmp_path: Path,
    bases: dict[Target, Path],
    small: Probe,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(tmp_path, bases, {"llm": damaged(bases["llm"], tmp_path / "llm", 0.5)})
    command = ["forgetting", str(run.folder), "--quiet"]
    assert cli.main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "loss (lower is better)" in printed
    assert "forgot" in printed
    assert "llm: perplexity of the probe's passages" in printed
    assert "llm: of 12 closed-book questions" in printed
    assert "embedding: Nothing beat the base" in printed
    assert cli.main([*command, "--json", "--margin", "0.1"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value == json.loads((run.folder / FILE).read_text("utf-8"))
    assert value["margin"] == 0.1
    assert cli.main([*command, "--margin", "2"]) == 2
    assert cli.main([*command, "--data", str(tmp_path / "absent")]) == 2
    assert "--data names a folder" in capsys.readouterr().err


def test_right_is_a_reference_in_whole_words() -> None:
    assert is_right("The capital of France is Paris.", ["Paris"])
    assert is_right("the Sahara Desert", ["The Sahara"])
    assert not is_right("Parisian", ["Paris"])
    assert not is_right("16", ["6"])
    assert not is_right("", ["6"])


@pytest.mark.slow
def test_the_packaged_model_knows_what_noise_makes_it_forget(tmp_path: Path) -> None:
    base = find_model("SmolLM2-135M-Instruct").path
    questions = [question for question in PROBE.closed_book if question.id < "known-17"]
    texts = [passage.text for passage in PROBE.passages[:2]]
    right, losses = [], []
    for folder in (base, damaged(base, tmp_path / "damaged", 0.05)):
        generator = Generator(load_causal_lm(folder, RUNTIME), load_tokenizer(base))
        losses.append([-float(each.mean_log_probability or 0) for each in generator.score_texts(texts)])
        prompts = [guess_prompt(question.question) for question in questions]
        said = generator.generate(prompts, Sampling(8, line=True), prefix=PREFIX)
        right.append(sum(is_right(text, q.answers) for text, q in zip(said, questions, strict=True)))
    assert right[0] >= 8
    assert right[1] < right[0] / 2
    assert all(after > before + 1 for before, after in zip(*losses, strict=True))


@pytest.mark.slow
def test_the_packaged_embedding_model_loses_by_noise_what_it_found(tmp_path: Path, tiny_llm: Path) -> None:
    base = find_model("all-MiniLM-L6-v2").path
    bases: dict[Target, Path] = {"llm": tiny_llm, "embedding": base}
    tuned = {"embedding": damaged(base, tmp_path / "damaged", 0.06)}
    figures = by_metric(measure_forgetting(run_of(tmp_path, bases, tuned), display=QUIET).models[1])
    assert figures["nDCG@10"].base > 0.95
    assert {figure.decision for figure in figures.values()} == {"forgot"}
