"""Model cards: what stands in them, what must not, and that each one's own code loads its folder."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

from raglift import plugins
from raglift.artifacts import WORK
from raglift.config import EmbeddingConfig, LLMConfig, SynthesisConfig
from raglift.corpus.stage import Corpus
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import KNOWN, FoundModel, find_model
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Chunk, Document, QAPair, Target, write_jsonl
from raglift.training import embedding_stage, llm_stage
from raglift.training.card import FACTS, README, base_facts, form_of, public, write_card
from raglift.training.card_text import _FORMS, Evaluated, Figure, render, snippet
from raglift.training.outcome import MODEL
from raglift.training.provenance import describe
from tests import tasks
from tests.fits import rate_of, specs_named
from tests.tasks import RUNTIME
from tests.tiny import QUESTIONS, SENTENCES

DATA = {"facts": {"documents": 8}, "questions": []}
FORMS: list[tuple[Target, tuple[str, ...], str]] = [
    ("embedding", ("full", "weight_interpolation"), "whole"),
    ("embedding", ("lora",), "whole"),
    ("embedding", ("embedding_head",), "whole"),
    ("embedding", ("bias_only",), "sparse"),
    ("embedding", ("vital_parameters",), "sparse"),
    ("embedding", ("bottleneck_adapter",), "bottleneck"),
    ("llm", ("full",), "whole"),
    ("llm", ("lora",), "peft"),
    ("llm", ("vital_parameters",), "sparse"),
    ("llm", ("bottleneck_adapter",), "bottleneck"),
]


class Rising:
    """Stands for the development score; every state that is scored is better than those before."""

    def __init__(self, *_: Any) -> None:
        self.calls = 0

    def __len__(self) -> int:
        return 1

    def __call__(self, model: nn.Module) -> float:
        self.calls += 1
        return self.calls / 10


def trained(
    target: Target, names: tuple[str, ...], base: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Path:
    """A finished training with its card; its folder."""
    stage: Any = embedding_stage if target == "embedding" else llm_stage
    monkeypatch.setattr(stage, "DevScore", Rising)
    (out / WORK).mkdir(parents=True)
    values = {
        **{"model": str(base), "strategies": specs_named(names), "batch_size": 4, "epochs": 2, "evaluations": 1},
        **{"learning_rate": rate_of(target, names), **settings},
    }
    last = (find_model(str(base)), RUNTIME, tasks.job(out, 3))
    config: EmbeddingConfig | LLMConfig
    if target == "embedding":
        corpus: Any = SimpleNamespace(similar={})
        config = EmbeddingConfig.model_validate(values)
        embedding_stage.build(config, tasks.pairs(), [], corpus, *last)
    else:
        config = LLMConfig.model_validate(values | {"max_new_tokens": 8})
        llm_stage.build(config, tasks.examples(tasks.chat_renderer(base)), [{"prompt": "x"}], *last)
    write_card(out, target, last[0], config, DATA, 3)
    return out


def code_of(card: str) -> str:
    """The card's one block of Python."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    return str(code)


def run(code: str, base: Path, tuned: Path) -> dict[str, Any]:
    """Run a card's code with its two folders filled in; its names."""
    code = re.sub(r'^tuned = ".*"$', f"tuned = {str(tuned)!r}", code, flags=re.MULTILINE)
    code = re.sub(r'^base = ".*"$', f"base = {str(base)!r}", code, flags=re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    return names


@pytest.fixture
def folders(tiny_embedding: Path, tiny_llm: Path) -> dict[Target, Path]:
    return {"embedding": tiny_embedding, "llm": tiny_llm}


@pytest.mark.parametrize(("target", "names", "form"), FORMS, ids=[f"{row[0]}-{row[1][0]}" for row in FORMS])
def test_a_cards_own_code_loads_its_folder(
    target: Target,
    names: tuple[str, ...],
    form: str,
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = folders[target]
    tuned = trained(target, names, base, tmp_path / "out", monkeypatch) / MODEL
    assert form_of(tuned) == form
    code = code_of((tuned / README).read_text("utf-8"))
    assert ("raglift" in code) == (form == "bottleneck"), "the others are loaded without it"
    loaded = run(code, base, tuned)
    assert capsys.readouterr().out
    if target == "embedding":
        encoder = Encoder(load_encoder(base, RUNTIME, tuned), RUNTIME)
        np.testing.assert_allclose(loaded["queries"], encoder.encode(["A question?"], "query"), atol=1e-5)
        expected = encoder.encode(["A passage.", "Another one."], "passage")
        np.testing.assert_allclose(loaded["passages"], expected, atol=1e-5)
        plain = Encoder(load_encoder(base, RUNTIME), RUNTIME).encode(["A question?"], "query")
        assert not np.allclose(loaded["queries"], plain, atol=1e-3), "the tuned model is another one"
    else:
        model = load_causal_lm(base, RUNTIME, tuned)
        prompt = plugins.load("prompt", "grounded").messages("A question about them?", ["A passage of the documents."])
        text = tasks.chat_renderer(base)(prompt)
        assert loaded["prompt"] == text
        generator = Generator(model, load_tokenizer(base))
        assert loaded["answer"].strip() == generator.generate([text], Sampling(8))[0].strip()
        with torch.no_grad():
            logits = loaded["model"](**loaded["inputs"]).logits
            torch.testing.assert_close(logits, model(**loaded["inputs"]).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("target", "names", "library", "pipeline"),
    [
        ("embedding", ("full",), "sentence-transformers", "sentence-similarity"),
        ("llm", ("lora",), "peft", "text-generation"),
        ("llm", ("bias_only", "l2_sp"), "transformers", "text-generation"),
    ],
)
def test_the_front_matter_is_what_the_hub_reads(
    target: Target,
    names: tuple[str, ...],
    library: str,
    pipeline: str,
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = trained(target, names, folders[target], tmp_path / "out", monkeypatch)
    card = ModelCard.load(out / MODEL / README)
    data = card.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"]) == (library, pipeline)
    assert {"raglift", *names} <= set(data["tags"])
    assert "base_model" not in data, "a folder of this machine is no model of the hub"
    assert "model-index" not in data, "nothing was tested yet"
    training = json.loads((out / "training.json").read_text("utf-8"))
    for candidate in training["candidates"]:
        assert f"| {candidate['name']}{' (chosen)' * (candidate['name'] == training['chosen'])} | " in card.text
    assert f"{training['settings']['steps']} steps of AdamW" in card.text
    assert "learning_rate: auto" not in card.text
    facts = json.loads((out / FACTS).read_text("utf-8"))
    for name in names:
        assert f"| strategy | {name} (" in card.text
        (part,) = [part for part in facts["parts"] if part["name"] == name]
        fields = set(plugins.load("strategy", name).model_fields)
        assert set(part["settings"]) == fields, "every hyper-parameter, the defaults too"
        assert all(f"{field}: " in card.text for field in fields)


def test_two_trainings_write_the_same_bytes(tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        torch.manual_seed(random.randrange(2**31))
        trained("llm", ("lora",), tiny_llm, tmp_path / name, monkeypatch)
    for file in (FACTS, f"{MODEL}/{README}"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_no_card_where_the_base_stays(tiny_llm: Path, tmp_path: Path) -> None:
    config = LLMConfig(model=str(tiny_llm), strategies=[])
    llm_stage.build(config, [], [], find_model(str(tiny_llm)), RUNTIME, tasks.job(tmp_path))
    write_card(tmp_path, "llm", find_model(str(tiny_llm)), config, DATA, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "training.json"}


@pytest.fixture
def stages(tmp_path: Path) -> dict[str, Path]:
    """The stages before a training, of documents that nobody may learn of."""
    found = {name: tmp_path / "stages" / name for name in ("corpus", "synthesis", "review", "training_sets")}
    for folder in found.values():
        folder.mkdir(parents=True)
    documents = [
        Document(f"id{row}", f"secret-folder/dossier{row}.md", text, {"title": "Operation Plum"}, f"id{row}", split)
        for row, (text, split) in enumerate(zip(SENTENCES, ["train"] * 6 + ["dev"] * 2 + ["test"] * 2, strict=True))
    ]
    asked = [
        QAPair(f"q{row}", question, (answer,), (), "keyword" if row < 2 else "factoid", split, "synthetic")
        for row, ((question, answer), split) in enumerate(
            zip(QUESTIONS, ["train"] * 5 + ["dev"] + ["test"] * 2, strict=True)
        )
    ]
    human = [QAPair("h0", "Who is Plum?", ("Anna Plum",), (), "human", "dev", "human")]
    write_jsonl(found["corpus"] / "documents.jsonl", documents)
    write_jsonl(found["corpus"] / "chunks.jsonl", [Chunk(d.id, d.id, d.text, 0, len(d.text)) for d in documents])
    write_jsonl(found["corpus"] / "human.jsonl", human)
    write_jsonl(found["synthesis"] / "questions.jsonl", asked[1:])
    write_jsonl(found["review"] / "questions.jsonl", asked)
    rows = {
        "synthesis": {"questions written": 20, "dropped: form": 12},
        "training_sets": {"examples, evidence found": 4, "pairs for the embedding model": 5},
        "review": {"accepted": 8},
    }
    for name, counts in rows.items():
        funnel = [{"stage": name, "reason": reason, "count": count} for reason, count in counts.items()]
        (found[name] / "funnel.json").write_text(json.dumps(funnel), "utf-8")
    return found


def test_the_data_is_told_in_numbers(stages: dict[str, Path]) -> None:
    settings = SynthesisConfig(filters=["form", "toxicity"])
    data = describe(stages, Corpus(stages["corpus"]), settings, "llm")
    facts = data["facts"]
    assert (facts["documents"], facts["passages"]) == (10, 10)
    assert facts["documents that questions for training are about"] == 6
    assert (facts["questions that raglift's writer wrote"], facts["questions that passed"]) == (20, 8)
    assert facts["filters that they had to pass"] == "form, toxicity"
    assert facts["reviewed by a person"] == "yes"
    assert facts["examples, evidence found"] == 4
    assert "pairs for the embedding model" not in facts
    assert data["questions"] == [
        {"origin": "people", "kind": "human", "train": 0, "dev": 1, "share": "0%"},
        {"origin": "raglift", "kind": "factoid", "train": 3, "dev": 1, "share": "60%"},
        {"origin": "raglift", "kind": "keyword", "train": 2, "dev": 0, "share": "40%"},
    ]
    chosen_by = describe(stages, Corpus(stages["corpus"]), settings, "embedding", learned=False)["questions"]
    assert [(row["origin"], row["kind"], row["train"], row["dev"]) for row in chosen_by] == [
        ("people", "human", 0, 1),
        ("raglift", "factoid", 0, 1),
    ]
    del stages["review"]
    unreviewed = describe(stages, Corpus(stages["corpus"]), SynthesisConfig(), "embedding")["facts"]
    assert (unreviewed["questions that passed"], unreviewed["reviewed by a person"]) == (7, "no")
    assert unreviewed["filters that they had to pass"] == ", ".join(plugins.names("question filter"))
    assert unreviewed["hash of the documents"] == facts["hash of the documents"]


def test_nothing_of_the_documents_leaks(
    stages: dict[str, Path], tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = trained("llm", ("lora",), tiny_llm, tmp_path / "out", monkeypatch)
    data = describe(stages, Corpus(stages["corpus"]), SynthesisConfig(), "llm")
    write_card(out, "llm", find_model(str(tiny_llm)), LLMConfig(model=str(tiny_llm)), data, 0)
    texts = [(out / file).read_text("utf-8") for file in (FACTS, f"{MODEL}/{README}")]
    held = {*SENTENCES[:8], *(text for pair in QUESTIONS for text in pair), "Plum", "secret-folder", "dossier", "id0"}
    assert "| raglift | factoid | 3 | 60% | 1 |" in texts[1]
    for text in texts:
        assert not [each for each in held if each.lower() in text.lower()]
        assert not [each for each in (tmp_path, tiny_llm, Path.home()) if str(each) in text]


@pytest.mark.parametrize(("target", "names"), [(row[0], row[1]) for row in FORMS])
def test_no_file_of_a_tuned_model_says_where_the_base_lies(
    target: Target,
    names: tuple[str, ...],
    folders: dict[Target, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = trained(target, names, folders[target], tmp_path / "out", monkeypatch)
    files = [file for file in (out / MODEL).rglob("*") if file.is_file()]
    assert len(files) > 1
    for file in files:
        assert os.fsencode(folders[target].parent) not in file.read_bytes(), file
    settings = out / MODEL / "adapter_config.json"
    if settings.exists():
        assert json.loads(settings.read_text("utf-8"))["base_model_name_or_path"] is None


def test_settings_keep_the_names_of_models_and_lose_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "guide").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = {
        "guide": str(tmp_path / "models" / "guide"),
        "others": ("models/guide", "/gone/far/away"),
        "teacher": {"model": "BAAI/bge-small-en-v1.5"},
        "targets": "all-linear",
        "share": 0.5,
        "long": "x/" * 5000,
    }
    assert public(settings) == {
        "guide": "guide",
        "others": ["guide", "away"],
        "teacher": {"model": "BAAI/bge-small-en-v1.5"},
        "targets": "all-linear",
        "share": 0.5,
        "long": "x/" * 5000,
    }


def test_what_a_card_says_of_the_base(tiny_llm: Path, tmp_path: Path) -> None:
    found = base_facts(FoundModel("all-MiniLM-L6-v2", tiny_llm, "r"))
    assert found["hub"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert (found["license"], found["package"]) == ("apache-2.0", None)
    quantised = base_facts(FoundModel("SmolLM2-135M-Instruct", tiny_llm, "r"))
    assert quantised["package"] == KNOWN["SmolLM2-135M-Instruct"].install
    assert base_facts(FoundModel(str(tiny_llm), tiny_llm, "r"))["license"] is None
    hub = tmp_path / "snapshots" / "0123"
    hub.mkdir(parents=True)
    for front, expected in (
        ("license: mit", "mit"),
        ("license: [mit, apache-2.0]", None),
        ("tags: x", None),
        ("- a list", None),
        ("license: {", None),
    ):
        (hub / README).write_text(f"---\n{front}\n---\n# Base\n", "utf-8")
        facts = base_facts(FoundModel("owner/base", hub, "r"))
        assert (facts["name"], facts["hub"], facts["license"]) == ("owner/base", "owner/base", expected), front


@pytest.mark.parametrize(
    ("name", "target", "form", "first"),
    [
        ("owner/base", "llm", "peft", 'base = "owner/base"'),
        ("all-MiniLM-L6-v2", "embedding", "sparse", 'base = "sentence-transformers/all-MiniLM-L6-v2"'),
        ("SmolLM2-135M-Instruct", "llm", "sparse", 'base = find_model("SmolLM2-135M-Instruct").path'),
        ("SmolLM2-135M-Instruct", "llm", "whole", 'tuned = "path/to/this/folder"'),
        ("owner/base", "rerank", "whole", 'tuned = "path/to/this/folder"'),
    ],
)
def test_where_a_cards_code_finds_the_base(name: str, target: str, form: str, first: str, tmp_path: Path) -> None:
    base = base_facts(FoundModel(name, tmp_path, "r"))
    code = snippet({"base": base, "target": target, "prompt": [], "new_tokens": 8}, form)
    compile(code, "card", "exec")
    assert code.split("\n\n")[1].splitlines()[0] == first
    assert ("find_model" in code) == ("find_model" in first)
    assert ("base" in code) == (form != "whole")


def test_every_form_in_which_a_model_is_kept_is_explained() -> None:
    assert set(_FORMS) == {"whole", *plugins.names("adapter format")}


def test_a_table_stays_a_table_whatever_stands_in_it() -> None:
    facts = {
        "target": "embedding",
        "purpose": "embedding",
        "base": base_facts(FoundModel("owner/base", Path("nowhere"), "r")),
        "parts": [{"role": "objective", "name": "o", "paper": "A | B", "settings": {"w": ["a\nb", True], "n": None}}],
        "settings": {},
        "data": {"facts": {"x | y": "1\n2"}, "questions": []},
        "score": "nDCG@10",
        "seed": 0,
        "versions": {},
        "prompt": [],
        "new_tokens": 0,
        "quotes": False,
    }
    training = {"settings": {"steps": 1}, "candidates": [{"name": "a|b", "dev": 0.5}], "chosen": "a|b"}
    figures = (Figure("human", "AP", None, 0.25, 0.0, -0.1, 0.1, 3, "cannot tell"),)
    text = render(facts, {"same_passages": True}, training, "whole", Evaluated("No gain.", figures, 12.34))
    rows = [re.sub(r"\\\|", "", line) for line in text.splitlines() if line.startswith("|")]
    assert "| objective | o (A \\| B) | w: a b true, n: none |" in text
    assert "| x \\| y | 1 2 |" in text
    assert "| human | AP | - | 0.250 | +0.000 | -0.100 to +0.100 | 3 | cannot tell |" in text
    assert {line.count("|") for line in rows} == {3, 4, 9}
    assert "The training took 12.3 seconds." in text
    assert "an index that was made with the base serves it" in text
    (result,) = ModelCard(text).data.eval_results or []
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("AP", 0.25, "human test questions")
