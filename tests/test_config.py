from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raglift import plugins
from raglift.config import (
    Config,
    PluginSpec,
    RerankConfig,
    WriterConfig,
    check_tuning,
    config_from_dict,
    describe_schema,
    dump_config,
    load_config,
)
from raglift.errors import UserError
from tests.stand_ins import NAMES, Lora, Strategy, load_plugin


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "names", NAMES.__getitem__)
    monkeypatch.setattr(plugins, "load", load_plugin)


def mistakes(text: str | bytes, folder: Path, *overrides: str) -> str:
    path = folder / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_config([path], overrides)
    return str(caught.value).replace(f"{folder}/", "")


def test_defaults_are_those_of_the_schema() -> None:
    config = config_from_dict({"data": {"documents": "python-reference"}})
    assert config == Config.model_validate({"data": {"documents": "python-reference"}})
    assert config.run == "run"
    assert config.embedding.strategies == [PluginSpec(name="full"), PluginSpec(name="weight_interpolation")]
    assert config.llm.strategies == [PluginSpec(name="lora")]
    assert config.synthesis.kinds == {"factoid": 2, "explanation": 2, "keyword": 1}
    assert (config.embedding.batch_size, config.llm.batch_size) == (32, 4)
    assert config.embedding.objective == PluginSpec(name="multiple_negatives")
    assert config.llm.objective == PluginSpec(name="answer_only")


def test_training_on_pairs_needs_some(tmp_path: Path) -> None:
    said = mistakes(VALID + "embedding:\n  train_on: pairs\n", tmp_path)
    assert "a.yaml:3: embedding.train_on is 'pairs', and embedding.pairs names none" in said
    assert "(did you mean 'pairs'?)" in mistakes(VALID + "embedding:\n  train_on: pair\n", tmp_path)
    config = load_config([], ["data.documents=d", "embedding.pairs=p.jsonl"])
    assert (config.embedding.train_on, config.embedding.learned_pairs) == ("both", "p.jsonl")
    without = load_config([], ["data.documents=d", "embedding.pairs=p.jsonl", "embedding.train_on=synthetic"])
    assert without.embedding.learned_pairs is None


def test_a_configuration_cannot_be_changed() -> None:
    config = config_from_dict({"data": {"documents": "d"}})
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        config.llm.epochs = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "share"),
    [
        ({"documents": "d"}, 1 / 3),
        ({"beir": "b"}, 0.0),
        ({"documents": "d", "dev_share": 0}, 0.0),
        ({"beir": "b", "dev_share": 0.25}, 0.25),
    ],
)
def test_dev_share(data: dict[str, Any], share: float) -> None:
    assert config_from_dict({"data": data}).data.dev_share_or_default == share


def test_every_key_is_documented() -> None:
    rows = describe_schema()
    assert all(all((key, takes, meaning)) for key, takes, _, meaning in rows)
    keys = {row[0] for row in rows}
    assert {"run", "seed", "data.documents", "llm.strategies", "runtime.batch_tokens"} <= keys
    assert len(rows) == 3 + sum(
        len(getattr(config_from_dict({"data": {"beir": "b"}}), name).__class__.model_fields)
        for name in Config.model_fields
        if name not in ("run", "workspace", "seed", "rerank")
    ) + len(WriterConfig.model_fields) + 1 + len(RerankConfig.model_fields)


def test_no_key_invites_a_secret() -> None:
    assert not [key for key, *_ in describe_schema() if any(word in key for word in ("secret", "api", "password"))]


VALID = "data: {documents: d}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sede: 1\n" + VALID, ["a.yaml:1: unknown key 'sede' (did you mean 'seed'?)"]),
        (VALID + "llm:\n  epocs: 2\n", ["a.yaml:3: unknown key 'llm.epocs' (did you mean 'epochs'?)"]),
        (
            VALID + "\nchunk_tokens: 200\n",
            ["a.yaml:3: unknown key 'chunk_tokens' (did you mean 'corpus.chunk_tokens'?)"],
        ),
        (VALID + "data2: {x: 1}\n", ["a.yaml:2: unknown key 'data2' (did you mean 'data'?)"]),
        (
            VALID + "retrieval: {rrf_k: 9}\n",
            ["a.yaml:2: retrieval.rrf_k is gone: write retrieval.fusion"],
        ),
        (
            VALID + "index:\n  zzz: 1\n",
            ["a.yaml:3: unknown key 'index.zzz' (known: kind, memory_mb, recall, backend, nudge)"],
        ),
        (
            VALID + "corpus:\n  chunk_tokens: 3\n",
            ["a.yaml:3: corpus.chunk_tokens must be greater than or equal to 16, not 3"],
        ),
        (VALID + "corpus:\n  chunk_tokens: 16.5\n", ["a.yaml:3: corpus.chunk_tokens must be a whole number, not 16.5"]),
        (VALID + "retrieval:\n  top_k: true\n", ["a.yaml:3: retrieval.top_k must be a whole number, not True"]),
        (VALID + "workspace: 3\n", ["a.yaml:2: workspace must be text, not 3 (put it in quotes)"]),
        (VALID + "run: a/b\n", ["a.yaml:2: run must have the form", "'a/b'"]),
        (VALID + "run: ..\n", ["a.yaml:2: run must have the form", "'..'"]),
        (VALID + "llm:\n  epochs: many\n", ["a.yaml:3: llm.epochs must be 'auto' or a number above 0, not 'many'"]),
        (VALID + "llm:\n  epochs: 0\n", ["a.yaml:3: llm.epochs must be 'auto' or a number above 0, not 0"]),
        (VALID + "llm:\n  epochs: .inf\n", ["a.yaml:3: llm.epochs must be 'auto' or a number above 0, not inf"]),
        (VALID + "llm:\n  epochs: .nan\n", ["a.yaml:3: llm.epochs must be 'auto' or a number above 0, not nan"]),
        (VALID + "runtime:\n  threads: 1.5\n", ["a.yaml:3: runtime.threads must be 'auto' or a whole number above 0"]),
        (VALID + "runtime:\n  device: cudaa\n", ["a.yaml:3: runtime.device must be 'auto'", "(did you mean 'cuda'?)"]),
        (VALID + "llm:\n  weight_decay: .nan\n", ["a.yaml:3: llm.weight_decay must be a finite number"]),
        (VALID + "llm: 3\n", ["a.yaml:2: llm must be a mapping, not 3"]),
        ("data: here\n", ["a.yaml:1: data must be a mapping, not 'here'"]),
        (
            VALID + "synthesis:\n  kinds: {factoyd: 1}\n",
            ["a.yaml:3: synthesis.kinds.factoyd", "(did you mean 'factoid'?)"],
        ),
        (
            VALID + "synthesis:\n  kinds:\n    factoid: 0\n",
            ["a.yaml:4: synthesis.kinds.factoid must be greater than 0"],
        ),
        (
            VALID + "synthesis:\n  kinds: {factoid: 1.0e+308}\n",
            ["a.yaml:3: synthesis.kinds.factoid must be less than or equal to"],
        ),
        (VALID + "synthesis:\n  examples: ~nobody-here/x\n", ["a.yaml:3: synthesis.examples", "no home folder"]),
        ("data: {documents: ~nobody-here/x}\n", ["a.yaml:1: data.documents", "no home folder"]),
        (VALID + 'workspace: "a\\0b"\n', ["a.yaml:2: workspace", "zero byte"]),
        (VALID + "synthesis:\n  kinds: {}\n", ["a.yaml:3: synthesis.kinds must not be empty"]),
        (
            VALID + "synthesis:\n  style: few-shots\n",
            ["a.yaml:3: synthesis.style", "(did you mean 'few_shot'?)"],
        ),
        (
            VALID + "synthesis:\n  filters: [lenth]\n",
            ["a.yaml:3", "'lenth' is not a question filter (did you mean 'length'?)"],
        ),
        (VALID + "llm:\n  objective: answers\n", ["a.yaml:3", "not an objective (did you mean 'answer_only'?)"]),
        (VALID + "llm:\n  objective: multiple_negatives\n", ["a.yaml:3", "cannot train the llm model"]),
        (
            VALID + "embedding:\n  objective:\n    multiple_negatives: {scal: 3}\n",
            ["a.yaml:4", "unknown key 'scal' (did you mean 'scale'?)"],
        ),
        (VALID + "embedding:\n  objective: listwise\n", ["a.yaml:3", "set embedding.hard_negatives to 1 or more"]),
        (VALID + "llm:\n  prompt: grounder\n", ["a.yaml:3", "not a prompt (did you mean 'grounded'?)"]),
        (
            VALID + "evaluation:\n  response:\n    - token_f1\n    - token_f2\n",
            ["a.yaml:5: evaluation.response.1: 'token_f2'", "(did you mean 'token_f1'?)"],
        ),
        (VALID + "evaluation:\n  retrieval: [ndcg@10]\n", ["a.yaml:3", "'ndcg@10'", "(did you mean 'nDCG@10'?)"]),
        ("data:\n  documents: d\n  beir: b\n", ["a.yaml:3: data.documents and data.beir exclude each other"]),
        ("seed: 1\n", ["a.yaml:1: data.documents is missing"]),
        ("data:\n  dev_share: 0.5\n", ["data.documents is missing"]),
        ("data:\n  documents: d\n  dev_share: 1\n", ["a.yaml:3: data.dev_share must be less than 1, not 1"]),
        (
            VALID + "corpus:\n  train: 0.5\n  dev: 0.1\n",
            ["a.yaml:4: corpus.train, dev and test must sum to 1, not 0.8"],
        ),
        (
            VALID + "corpus:\n  chunk_overlap: 160\n",
            ["a.yaml:3: corpus.chunk_overlap (160) must be less than chunk_tokens"],
        ),
        (
            VALID + "retrieval: {top_k: 200}\n",
            ["a.yaml:2: retrieval.depth (100) must be at least retrieval.top_k (200)"],
        ),
        (
            VALID + "llm: {closed_book: 0.6, absent: 0.4}\n",
            ["a.yaml:2: llm.absent and closed_book (0.4 and 0.6) must sum to less than 1"],
        ),
        (
            VALID + "embedding: {hard_negatives: -1}\n",
            ["a.yaml:2: embedding.hard_negatives must be greater than or equal to 0, not -1"],
        ),
    ],
)
def test_one_mistake_is_one_problem_with_its_line(text: str, expected: list[str], tmp_path: Path) -> None:
    told = mistakes(text, tmp_path)
    assert told.startswith("The configuration has a problem:\n"), told
    for part in expected:
        assert part in told


@pytest.mark.parametrize(
    ("strategies", "expected"),
    [
        ("[loar]", "llm.strategies: 'loar' is not a strategy (did you mean 'lora'?)"),
        ("[full, lora]", "'full' and 'lora' clash: both are on the axis 'parameters'"),
        ("[lora, lora]", "the strategy 'lora' is listed twice"),
        ("[{lora: {rnak: 3}}]", "lora: unknown key 'rnak' (did you mean 'rank'?)"),
        ("[{lora: {rank: 0}}]", "lora: rank must be greater than or equal to 1, not 0"),
        ("[{lora: {rank: high}}]", "lora: rank must be a whole number, not 'high'"),
        ("[{lora: {rank: true}}]", "lora: rank must be a whole number, not True"),
        ("[{lora: {rank: '16'}}]", "lora: rank must be a whole number, not '16'"),
        ("[{lora: {rank: 16.0}}]", "lora: rank must be a whole number, not 16.0"),
        ("[{lora: {alpha: true}}]", "lora: alpha must be a number, not True"),
        ("[{lora: {alpha: .inf}}]", "lora: alpha must be a finite number, not inf"),
        ("[{lora: {modules: 3}}]", "lora: modules must be a list, not 3"),
        ("[{lora: {modules: [q, 3]}}]", "lora: modules must be text, not 3 (put it in quotes)"),
        ("[{lora: 3}]", "llm.strategies.0 must be a name, or one name with its settings"),
        ("[{lora: {}, full: {}}]", "llm.strategies.0 must be a name"),
        ("[3]", "llm.strategies.0 must be a name"),
        ("lora", "llm.strategies must be a list, not 'lora'"),
        ("[broken]", "the strategy 'broken' cannot be used here: No module named 'exotic'"),
    ],
)
def test_strategies(strategies: str, expected: str, tmp_path: Path) -> None:
    told = mistakes(VALID + f"llm:\n  strategies: {strategies}\n", tmp_path)
    assert told.startswith("The configuration has a problem:\n  a.yaml:3: "), told
    assert expected in told


def test_a_strategy_for_the_other_model(tmp_path: Path) -> None:
    told = mistakes(VALID + "embedding:\n  strategies:\n    - full\n    - generator_only\n", tmp_path)
    assert (
        "a.yaml:5: embedding.strategies: the strategy 'generator_only' cannot tune the embedding (it tunes: llm)"
        in told
    )


@pytest.mark.parametrize("settings", ["{rank: 4, alpha: 8}", "{modules: [q, k]}", "{modules: []}", "{alpha: 1e-3}"])
def test_hyper_parameters_of_the_right_type(settings: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(VALID + f"llm:\n  strategies: [lora: {settings}]\n")
    (spec,) = load_config([tmp_path / "a.yaml"]).llm.strategies
    made = Lora(**spec.settings).model_dump(exclude_unset=True)
    assert {name: list(value) if name == "modules" else value for name, value in made.items()} == spec.settings


def test_a_wrong_hyper_parameter_is_found_on_its_own_line(tmp_path: Path) -> None:
    told = mistakes(VALID + "llm:\n  strategies:\n    - lora:\n        alpha: 3\n        rank: -1\n", tmp_path)
    assert "a.yaml:6: llm.strategies: lora: rank must be" in told


def test_a_bad_entry_does_not_hide_the_clash_of_the_others(tmp_path: Path) -> None:
    told = mistakes(VALID + "llm:\n  strategies:\n  - 3\n  - l2_sp\n  - 4\n  - weight_interpolation\n", tmp_path)
    assert "a.yaml:4: llm.strategies.0 must be" in told
    assert "a.yaml:6: llm.strategies.2 must be" in told
    assert "a.yaml:7: llm.strategies: the strategies 'l2_sp' and 'weight_interpolation' clash" in told


def test_check_tuning_on_a_configuration_built_by_hand() -> None:
    config = Config.model_validate(
        {"data": {"beir": "b"}, "embedding": {"strategies": ["full", {"lora": {"rank": 4}}]}}
    )
    assert [path for path, _ in check_tuning(config)] == [("embedding", "strategies", 1)]


EVERYTHING = """\
run: x y
sede: 3
data:
  documents: d
  beir: b
  dev_share: 2
corpus:
  chunk_tokns: 100
  train: 0.9
  train: 0.8
  chunk_tokens: 20
  chunk_overlap: 30
embedding:
  strategies: [full, lora, fool]
  learning_rate: fast
evaluation:
  response: [exact_matsch]
"""


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    told = mistakes(EVERYTHING, tmp_path, "llm.epochs=never", "nonsense", "retrieval.depth=1", "seed={")
    lines = told.splitlines()
    assert lines[0] == "The configuration has 16 problems:"
    in_file = [int(line.split(":")[1]) for line in lines if line.startswith("  a.yaml:")]
    assert in_file == [1, 2, 5, 6, 8, 9, 10, 12, 14, 14, 15, 17]
    for part in (
        "did you mean 'seed'?",
        "data.documents and data.beir exclude each other",
        "data.dev_share must be less than 1",
        "did you mean 'chunk_tokens'?",
        "train, dev and test must sum to 1",
        "the key 'train' is given twice",
        "chunk_overlap (30) must be less than chunk_tokens (20)",
        "'full' and 'lora' clash",
        "'fool' is not a strategy (did you mean 'full'?)",
        "embedding.learning_rate must be 'auto'",
        "did you mean 'exact_match'?",
        "command line: llm.epochs must be 'auto'",
        "command line: 'nonsense' is not of the form section.key=value",
        "command line: retrieval.depth (1) must be at least retrieval.top_k (3)",
        "command line: 'seed={': this is not valid YAML",
    ):
        assert part in told, part
    assert lines[-1].startswith("  fix: ")


def test_the_value_of_an_unknown_key_is_never_repeated(tmp_path: Path) -> None:
    told = mistakes(VALID + "llm:\n  api_key: hunter2\n", tmp_path)
    assert "llm.api_key" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("written", "read"),
    [("1e-4", 1e-4), ("2E+1", 20.0), (".5", 0.5), ("3", 3), ("3.", 3.0), ("auto", "auto")],
)
def test_numbers_read_as_numbers(written: str, read: object, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(VALID + f"llm:\n  learning_rate: {written}\n")
    assert load_config([path]).llm.learning_rate == read


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sweep: []", "llm.sweep must not be empty: name a learning rate, or 'auto'"),
        ("sweep: 1e-4", "llm.sweep must be 'auto', null or a list of learning rates, not 0.0001"),
        ("sweep: often", "llm.sweep must be 'auto', null or a list of learning rates, not 'often'"),
        ("sweep: [1e-4, -1]", "llm.sweep must hold numbers above 0, not -1"),
        ("sweep: [1e-4, auto]", "llm.sweep must hold numbers above 0, not 'auto'"),
        ("sweep: [1e-4, true]", "llm.sweep must hold numbers above 0, not True"),
        ("sweep: [.inf]", "llm.sweep must hold numbers above 0, not inf"),
        ("sweep: [1e-4, 2e-4, 0.0001]", "llm.sweep names one of them twice: [0.0001, 0.0002, 0.0001]"),
        ("sweep: [1, 1.0]", "llm.sweep names one of them twice: [1, 1.0]"),
        ("{sweep: [1e-4], strategies: []}", "llm.sweep has nothing to train: llm.strategies is empty"),
        ("{learning_curve: true, strategies: []}", "llm.learning_curve has nothing to train"),
        ("learning_curve: null", "llm.learning_curve must be true, false or a list of shares of the training set"),
        ("learning_curve: 0.5", "llm.learning_curve must be true, false or a list of shares"),
        ("learning_curve: []", "llm.learning_curve must not be empty: name a share below 1, or say true"),
        ("learning_curve: [1]", "llm.learning_curve must name a share below 1 too"),
        ("learning_curve: [0.5, 25]", "llm.learning_curve must hold shares above 0 and at most 1, not 25"),
        ("learning_curve: [0]", "llm.learning_curve must hold shares above 0 and at most 1, not 0"),
        ("learning_curve: [0.5, true]", "llm.learning_curve must hold shares above 0 and at most 1, not True"),
        ("learning_curve: [0.5, 0.5]", "llm.learning_curve names one of them twice"),
    ],
)
def test_further_trainings_that_make_no_sense(written: str, expected: str, tmp_path: Path) -> None:
    told = mistakes(VALID + f"llm: {written if written.startswith('{') else '{' + written + '}'}\n", tmp_path)
    assert f"a.yaml:2: {expected}" in told


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("recipe: always", "embedding.recipe must be 'auto', null or a list of keys that the recipe may change"),
        ("recipe: []", "embedding.recipe must not be empty: name a key that the recipe may change, or 'auto'"),
        ("recipe: [epochs, epochs]", "embedding.recipe names one of them twice: ['epochs', 'epochs']"),
        (
            "recipe: [epoch]",
            "embedding.recipe must name keys that the recipe may change, not 'epoch' (did you mean 'epochs'?)\n",
        ),
        (
            "recipe: [3]",
            "embedding.recipe must name keys that the recipe may change, not 3 (known: epochs, learning_rate, strat",
        ),
        ("recipe_trials: 0", "embedding.recipe_trials must be greater than or equal to 1, not 0"),
        ("recipe: auto, strategies: []", "embedding.recipe has nothing to train: embedding.strategies is empty"),
        (
            "recipe: auto, sweep: auto",
            "embedding.sweep and embedding.recipe exclude each other: the recipe tries learning rates too; set one",
        ),
        ("recipe: [epochs], sweep: [1e-4]", "embedding.sweep and embedding.recipe exclude each other"),
    ],
)
def test_a_recipe_that_makes_no_sense(written: str, expected: str, tmp_path: Path) -> None:
    told = mistakes(VALID + f"embedding: {{{written}}}\n", tmp_path)
    assert f"The configuration has a problem:\n  a.yaml:2: {expected}" in told


def test_a_recipe_is_of_the_embedding_model(tmp_path: Path) -> None:
    assert "a.yaml:2: unknown key 'llm.recipe'" in mistakes(VALID + "llm: {recipe: auto}\n", tmp_path)
    path = tmp_path / "a.yaml"
    path.write_text(VALID + "embedding: {recipe: [learning_rate, strategies], recipe_trials: 3}\n")
    config = load_config([path])
    assert config.embedding.recipe == ["learning_rate", "strategies"]
    assert config_from_dict(config.model_dump(mode="json")) == config


def test_a_sweep_around_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strategy, "learning_rate", lambda self, target: None, raising=False)
    told = mistakes(VALID + "llm: {sweep: auto, strategies: [l2_sp]}\n", tmp_path)
    assert "llm.sweep: 'auto' goes around a strategy's own rate, and l2_sp has none: list the rates, or set " in told
    path = tmp_path / "a.yaml"
    path.write_text(VALID + "llm: {sweep: auto, strategies: [l2_sp], learning_rate: 1e-4}\n")
    assert load_config([path]).llm.sweep == "auto"
    monkeypatch.setattr(Strategy, "learning_rate", lambda self, target: 1e-4)
    path.write_text(VALID + "llm: {sweep: auto, strategies: [l2_sp]}\n")
    assert load_config([path]).llm.sweep == "auto"


@pytest.mark.parametrize(
    ("written", "shares"),
    [("true", (0.25, 0.5)), ("false", ()), ("[0.5, 0.1]", (0.1, 0.5)), ("[1, 0.5]", (0.5,)), ("[0.3]", (0.3,))],
)
def test_shares_of_a_learning_curve(written: str, shares: tuple[float, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(VALID + f"embedding: {{learning_curve: {written}, sweep: [1e-4, 3]}}\n")
    config = load_config([path])
    assert config.embedding.curve_shares == shares
    assert config.embedding.sweep == [1e-4, 3.0]
    assert config_from_dict(config.model_dump(mode="json")) == config


def test_dictionaries_from_python() -> None:
    config = config_from_dict(
        {"data": {"documents": Path("docs")}, "llm": {"strategies": (PluginSpec(name="full"), {"l2_sp": None})}}
    )
    assert config.data.documents == "docs"
    assert config.llm.strategies == [PluginSpec(name="full"), PluginSpec(name="l2_sp")]
    with pytest.raises(
        UserError, match=r"2 problems(.|\n)*config: a key must be text, not 3(.|\n)*config: unknown key 'sed'"
    ):
        config_from_dict({"data": {"documents": "d"}, 3: 4, "sed": 1})  # type: ignore[dict-item]


text = st.text(min_size=1, max_size=30)
path_name = text.filter(lambda name: "\0" not in name and not name.startswith("~"))
share = st.integers(0, 100)
positive = st.floats(min_value=1e-12, max_value=1e12, allow_nan=False)
spec = st.one_of(
    st.just("full"),
    st.builds(lambda rank, alpha: {"lora": {"rank": rank, "alpha": alpha}}, st.integers(1, 99), positive),
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    train = draw(share)
    dev = draw(st.integers(0, 100 - train))
    return {
        "run": draw(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        "workspace": draw(path_name),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "data": {
            draw(st.sampled_from(["documents", "beir"])): draw(path_name),
            "questions": draw(st.none() | path_name),
        },
        "corpus": {"train": train / 100, "dev": dev / 100, "test": (100 - train - dev) / 100},
        "synthesis": {
            "kinds": draw(st.dictionaries(st.sampled_from(NAMES["question kind"]), positive, min_size=1)),
            "filters": draw(st.none() | st.lists(st.sampled_from(NAMES["question filter"]))),
            "style": draw(st.sampled_from(NAMES["prompt style"])),
        },
        "embedding": {
            "epochs": draw(st.just("auto") | positive),
            "strategies": [draw(spec), "l2_sp"],
            "model": draw(text),
        },
        "llm": {"learning_rate": draw(positive), "strategies": draw(st.lists(spec, max_size=1))},
        "runtime": {"threads": draw(st.just("auto") | st.integers(1, 512))},
    }


@given(configs())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_dumped_loads_back_equal(tmp_path: Path, values: dict[str, Any]) -> None:
    config = config_from_dict(values)
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8", newline="")
    assert load_config([path]) == config
    assert math.isclose(config.corpus.train + config.corpus.dev + config.corpus.test, 1)


def test_a_reranker_orders_no_more_than_is_ranked() -> None:
    with pytest.raises(UserError, match=r"rerank.depth \(40\) must be at most retrieval.depth \(20\)"):
        config_from_dict({"data": {"documents": "x"}, "rerank": {"depth": 40}, "retrieval": {"depth": 20}})
