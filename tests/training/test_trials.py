"""Which trainings a run makes of a model, and which of them it goes on with."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raglift.artifacts import Artifact
from raglift.config import LLMConfig
from raglift.progress import Progress
from raglift.training.trials import Trials, Variant, portion, portion_size


class Training:
    """Stands for the stage: writes down what it was asked for, and gives each the next score."""

    def __init__(self, root: Path, devs: Sequence[float | None]) -> None:
        self.asked: list[Variant] = []
        self._root = root
        self._devs = iter(devs)

    def __call__(self, variant: Variant) -> Artifact:
        self.asked.append(variant)
        folder = self._root / str(len(self.asked))
        folder.mkdir()
        dev = next(self._devs)
        chosen = "base" if dev is None or dev <= 0.5 else "step 4"
        candidates = [] if dev is None else [{"name": "base", "dev": 0.5}, {"name": "step 4", "dev": dev}]
        rate = variant.config.learning_rate
        settings = {} if dev is None else {"learning_rate": 7.0 if rate == "auto" else rate}
        history = [] if dev is None else [{"step": 0, "dev": 0.5}, {"step": 4, "dev": dev, "loss": 0.25}]
        value = {"chosen": chosen, "candidates": candidates, "settings": settings, "history": history}
        (folder / "training.json").write_text(json.dumps(value))
        return Artifact("llm", f"key {len(self.asked)}", folder, 2.5, cached=False)


def trials(
    training: Training, examples: int = 100, display: Progress | None = None, **settings: Any
) -> tuple[Trials, LLMConfig]:
    config = LLMConfig.model_validate(settings)
    return Trials("llm", config, training, lambda: examples, display or Progress(quiet=True)), config


def never() -> int:
    raise AssertionError("nothing depends on it")


def test_without_a_sweep_there_is_one_training_as_ever(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.7])
    config = LLMConfig()
    found = Trials("llm", config, training, never, Progress(quiet=True))
    kept, rows = found.sweep()
    assert training.asked == [kept.variant] == [Variant(config, "llm")]
    assert rows == []
    assert found.curve(kept) == ([], [])


def test_the_development_split_chooses_among_the_rates(tmp_path: Path) -> None:
    said = io.StringIO()
    training = Training(tmp_path, [0.6, 0.8, 0.8])
    found, _ = trials(training, display=Progress(stream=said), sweep=[1e-5, 1e-4, 1e-3])
    kept, rows = found.sweep()
    assert [variant.config.learning_rate for variant in training.asked] == [1e-5, 1e-4, 1e-3]
    assert [variant.label for variant in training.asked] == [f"llm (rate {rate})" for rate in (1e-5, 0.0001, 0.001)]
    assert kept.artifact.key == "key 2", "of equals the first"
    assert rows == [
        {"learning_rate": rate, "chosen": "step 4", "dev": dev, "loss": 0.25, "seconds": 2.5, "kept": kept}
        for rate, dev, kept in ((1e-5, 0.6, False), (1e-4, 0.8, True), (1e-3, 0.8, False))
    ]
    line = "  llm (rate 0.0001): development split 0.8000 (step 4), loss 0.2500, 2 s, kept\n"
    assert line in said.getvalue()
    assert said.getvalue().count("kept") == 1


def test_where_no_rate_beats_the_base_the_base_is_kept(tmp_path: Path) -> None:
    found, _ = trials(Training(tmp_path, [0.4, 0.3]), sweep=[1e-5, 1e-4])
    kept, rows = found.sweep()
    assert kept.artifact.key == "key 1"
    assert [(row["chosen"], row["dev"]) for row in rows] == [("base", 0.5), ("base", 0.5)]


def test_where_nothing_could_be_trained_there_are_no_numbers(tmp_path: Path) -> None:
    said = io.StringIO()
    found, _ = trials(Training(tmp_path, [None, None]), display=Progress(stream=said), sweep=[1e-5, 1e-4])
    kept, rows = found.sweep()
    assert kept.artifact.key == "key 1"
    assert rows[0] == {
        "learning_rate": None, "chosen": "base", "dev": None, "loss": None, "seconds": 2.5, "kept": True
    }  # fmt: skip
    assert "llm (rate 1e-05): development split none (base), loss none, 2 s, kept" in said.getvalue()


@pytest.mark.parametrize(
    ("settings", "examples", "rates"),
    [
        ({}, 100, [1.7e-4, "auto", 1.5e-3]),  # lora's 5e-4
        ({}, 8000, [8.3e-5, "auto", 7.5e-4]),  # halved past 2,000 examples
        ({"learning_rate": 3e-3}, 100, [1e-3, 3e-3, 9e-3]),
        ({"strategies": ["full"]}, 100, [1e-5, "auto", 9e-5]),
    ],
)
def test_auto_tries_a_third_and_three_times_the_usual_rate(
    settings: dict[str, Any], examples: int, rates: list[Any], tmp_path: Path
) -> None:
    training = Training(tmp_path, [0.6, 0.7, 0.8])
    found, _ = trials(training, examples, sweep="auto", **settings)
    found.sweep()
    assert [variant.config.learning_rate for variant in training.asked] == rates


def test_a_learning_curve_trains_on_shares_with_the_rate_that_was_kept(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.9, 0.6, 0.7, 0.8])
    said = io.StringIO()
    found, _ = trials(training, 30, Progress(stream=said), sweep=[1e-4, 1e-3], learning_curve=[0.5, 1.0, 0.1])
    kept, _ = found.sweep()
    curve, rows = found.curve(kept)
    shares = [(variant.config.learning_rate, variant.share) for variant in training.asked[2:]]
    assert shares == [(1e-4, 0.1), (1e-4, 0.5)]
    assert [trial.artifact.key for trial in curve] == ["key 3", "key 4", "key 1"]
    assert [(row["share"], row["examples"], row["dev"]) for row in rows] == [
        (0.1, 3, 0.7),
        (0.5, 15, 0.8),
        (1.0, 30, 0.9),
    ]
    assert "  10% of the data, 3 examples: development split 0.7000 (step 4)" in said.getvalue()


def test_shares_lie_within_each_other_and_keep_the_order() -> None:
    rows = [f"text {number // 2}" for number in range(200)]
    found = {
        share: portion(list(enumerate(rows)), share, lambda row: row[1], seed=3) for share in (0.1, 0.25, 0.5, 1.0)
    }
    assert [len(each) for each in found.values()] == [20, 50, 100, 200]
    for small, large in ((0.1, 0.25), (0.25, 0.5), (0.5, 1.0)):
        assert set(found[small]) < set(found[large])
    assert all(each == sorted(each) for each in found.values())
    texts = [text for _, text in found[0.25]]
    assert len(set(texts)) == 25, "what has the same text comes together"
    assert found[0.5] != portion(list(enumerate(rows)), 0.5, lambda row: row[1], seed=4)
    assert found[0.5] != list(enumerate(rows))[:100], "not only what comes first"


def test_a_share_is_never_nothing() -> None:
    assert [portion_size(3, 0.1), portion_size(0, 0.5), portion_size(5, 0.5), portion_size(7, 1.0)] == [1, 0, 2, 7]
