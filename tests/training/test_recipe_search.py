"""What a recipe tries, what it takes, and what it leaves as written."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raglift.artifacts import Artifact, DiskError
from raglift.config import EmbeddingConfig, config_from_dict
from raglift.config_check import check_objective, check_specs
from raglift.errors import UserError
from raglift.progress import Progress
from raglift.training.gains import DevValues, Judge, mean
from raglift.training.ingredients._base import Size
from raglift.training.recipe_search import RecipeSearch, Training, ingredients, plan
from raglift.training.trials import WHICH, Trial, Variant

SMALL, LARGE = Size(300, 400), Size(20_000, 30_000)
DOCUMENT_OF = {f"q{n}": f"d{n % 20}" for n in range(60)}
LABELS = sorted(plan(EmbeddingConfig(recipe="auto"), SMALL).tried)
Gains = Mapping[str, float]
"""Label of an alternative -> how much better each question is than with the settings as written."""


class Trainings:
    """Stands for the run: writes down what was trained, and gives each label its values.

    Args:
        gains: By label; what is not named changes nothing.
    """

    def __init__(self, root: Path, gains: Gains, stop_at: int = 1000, error: Exception | None = None) -> None:
        self.asked: list[Variant] = []
        self.notes: list[Mapping[str, Any]] = []
        self._root, self._gains, self._stop_at, self._error = root, gains, stop_at, error

    def train(self, variant: Variant) -> Artifact:
        """An artifact as a stage leaves it."""
        self.asked.append(variant)
        if len(self.asked) > self._stop_at:
            raise self._error or KeyboardInterrupt
        folder = self._root / str(len(self.asked))
        folder.mkdir(parents=True, exist_ok=True)
        value = {"chosen": "step 4", "candidates": [], "settings": {}, "history": []}
        (folder / "training.json").write_text(json.dumps(value))
        return Artifact("embedding", variant.label, folder, 1.5, cached=False)

    def values(self, trial: Trial) -> DevValues:
        """A gain is that of what the label names, whatever was taken before."""
        label = trial.variant.label.removeprefix("embedding (recipe: ").removesuffix(")")
        return [{name: 0.5 + self._gains.get(label, 0.0) for name in DOCUMENT_OF}]

    def search(self, size: Size = SMALL, display: Progress | None = None, **written: Any) -> RecipeSearch:
        """A search over these trainings."""
        config = EmbeddingConfig.model_validate({"recipe": "auto", **written})
        training = Training(self.train, self.values, self.notes.append)
        return RecipeSearch(config, size, Judge(DOCUMENT_OF, 1), training, display or Progress(quiet=True))


def every_alternative(size: Size, **written: Any) -> list[tuple[str, Any]]:
    config = EmbeddingConfig.model_validate({"recipe": "auto", **written})
    return [(name, each) for name, found in ingredients().items() for each in found.alternatives(config, size)]


@pytest.mark.parametrize("size", [SMALL, LARGE, Size(1, 0)])
@pytest.mark.parametrize(
    "written",
    [
        {},
        {"learning_rate": 1e-4, "batch_size": 8, "epochs": 2},
        {"strategies": ["lora"], "learning_rate": 1e-3},
        {"strategies": ["l2_sp"], "objective": "gist", "hard_negatives": 3},
    ],
)
def test_every_alternative_is_a_sound_section_that_differs(size: Size, written: dict[str, Any]) -> None:
    config = EmbeddingConfig.model_validate({"recipe": "auto", **written})
    labels = []
    for _, alternative in every_alternative(size, **written):
        labels.append(alternative.label)
        changed = config.model_copy(update=dict(alternative.update))
        again = config_from_dict({"data": {"documents": "d"}, "embedding": changed.model_dump(mode="json")}).embedding
        assert again == changed, alternative.label
        assert not check_specs("embedding", changed.strategies)
        assert not check_objective("embedding", changed.objective)
        assert set(alternative.update) <= set(EmbeddingConfig.model_fields) - WHICH
    assert len(labels) == len(set(labels)) == len(every_alternative(SMALL))


def test_an_ingredient_is_named_by_the_key_that_it_changes() -> None:
    for name, alternative in every_alternative(SMALL):
        assert name in alternative.update
    assert next(iter(ingredients())) == "learning_rate"


def test_the_amount_of_data_decides_what_is_worth_a_training() -> None:
    config = EmbeddingConfig(recipe="auto")
    few, many = plan(config, SMALL), plan(config, LARGE)
    assert few.left_out == {"batches of 128": "it takes 1024 questions, and there are 300"}
    assert "batches of 128" in many.tried
    assert set(many.left_out) == {"30% inverse clozes", "lora", "top_layers"}


def test_the_bound_is_kept_and_what_lies_beyond_it_named(tmp_path: Path) -> None:
    trainings, said = Trainings(tmp_path, {}), io.StringIO()
    _, record = trainings.search(display=Progress(stream=said), recipe_trials=3).run()
    assert len(trainings.asked) == 1 + 3
    assert {row["why"] for row in record["left_out"]} >= {"recipe_trials is 3"}
    assert "recipe: at most 3 trainings beside the one with the settings as written" in said.getvalue()
    assert said.getvalue().index("at most 3") < said.getvalue().index("p <= 0.1, corrected for 3 trials")


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, dict.fromkeys(("a guide (gist)", "lora"), 0.2))
    kept, record = trainings.search(learning_rate=1e-4, batch_size=16, objective="gist").run()
    assert {(v.config.learning_rate, v.config.batch_size, v.config.objective.name) for v in trainings.asked} == {
        (1e-4, 16, "gist")
    }
    why = {row["tried"]: row["why"] for row in record["left_out"]}
    assert why["learning rate 0.0003"] == "embedding.learning_rate stays as written"
    assert why["lora"] == "embedding.learning_rate stays as written"
    assert why["a guide (gist)"] == "embedding.objective stays as written"
    assert record["taken"] == []
    assert kept.artifact.key == "embedding (recipe: as written)"


def test_a_list_names_what_may_change_whatever_it_stands_at(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, {"learning rate 0.0003": 0.2})
    kept, record = trainings.search(recipe=["learning_rate"], learning_rate=1e-4).run()
    assert [v.config.learning_rate for v in trainings.asked] == [1e-4, 3e-4, 3.3e-5]
    assert kept.variant.config.learning_rate == 3e-4
    assert record["settings"] == {"learning_rate": 3e-4}


def test_later_trials_stand_on_what_was_taken(tmp_path: Path) -> None:
    gains = {"learning rate 0.00018": 0.1, "2 hard negatives": 0.2, "lora": 0.15}
    trainings = Trainings(tmp_path, gains)
    kept, record = trainings.search().run()
    assert record["taken"] == ["learning rate 0.00018", "2 hard negatives"]
    last = trainings.asked[-1].config
    assert isinstance(last, EmbeddingConfig)
    assert (last.strategies[0].name, last.hard_negatives) == ("top_layers", 2)
    assert last.learning_rate == pytest.approx(3e-4), "three times its own rate, as it was with all parameters"
    assert kept.variant.config.learning_rate == 1.8e-4
    assert record["settings"] == {"learning_rate": 1.8e-4, "hard_negatives": 2}
    against = {row["tried"]: row["against"] for row in record["trials"]}
    assert against["learning rate 2e-05"] == "as written"
    assert against["2 hard negatives"] == "learning rate 0.00018"
    assert against["lora"] == "2 hard negatives"
    assert [row["tried"] for row in record["trials"] if row["kept"]] == record["taken"]


def test_of_an_ingredient_the_best_is_taken_and_of_equals_the_first(tmp_path: Path) -> None:
    gains = {"learning rate 0.00018": 0.1, "learning rate 2e-05": 0.15, "lora": 0.3, "top_layers": 0.3}
    _, record = Trainings(tmp_path, gains).search().run()
    assert record["taken"] == ["learning rate 2e-05", "lora"]


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from(sorted(plan(EmbeddingConfig(recipe="auto"), SMALL).tried)), st.floats(-0.4, 0.4))
)
def test_the_end_is_never_below_the_start_and_ties_leave_it(
    tmp_path_factory: pytest.TempPathFactory, gains: dict[str, float]
) -> None:
    trainings = Trainings(tmp_path_factory.mktemp("search"), gains)
    kept, record = trainings.search().run()
    end = mean(trainings.values(kept))
    assert end is not None
    assert end >= 0.5
    assert (end > 0.5) == bool(record["taken"])
    if not any(gain > 0 for gain in gains.values()):
        assert kept.variant is trainings.asked[0]


def test_too_few_questions_try_nothing_and_say_so(tmp_path: Path) -> None:
    trainings, said = Trainings(tmp_path, {"lora": 0.4}), io.StringIO()
    trainings.values = lambda trial: [{f"q{n}": 0.5 for n in range(12)}]  # type: ignore[method-assign]
    kept, record = trainings.search(display=Progress(stream=said)).run()
    assert [kept.variant] == trainings.asked
    assert "12 development questions are too few to choose by: it takes 20; the settings stay as written" in (
        said.getvalue()
    )
    assert {row["tried"] for row in record["left_out"]} >= {"lora", "2 hard negatives"}


def test_a_search_that_was_interrupted_ends_the_same(tmp_path: Path) -> None:
    gains = {"learning rate 0.00018": 0.1, "a guide (gist)": 0.2}
    whole, first, second = (Trainings(tmp_path / str(n), gains, stop) for n, stop in enumerate((1000, 5, 1000)))
    expected = whole.search().run()[1]
    with pytest.raises(KeyboardInterrupt):
        first.search().run()
    assert first.notes[-1]["taken"] == ["learning rate 0.00018"], "what was decided before it is known"
    assert second.search().run()[1] == expected
    assert second.asked == whole.asked
    assert second.notes[-1] == expected


def test_what_cannot_be_trained_is_passed_over_and_told(tmp_path: Path) -> None:
    said = io.StringIO()

    class Refusing(Trainings):
        def train(self, variant: Variant) -> Artifact:
            if "gist" in variant.label:
                raise UserError("gist cannot train this embedding model.", "It looks up words in a table.")
            return super().train(variant)

    trainings = Refusing(tmp_path, {"lora": 0.3})
    _, record = trainings.search(display=Progress(stream=said)).run()
    assert record["taken"] == ["lora"]
    why = {row["tried"]: row["why"] for row in record["left_out"]}
    assert why["a guide (gist)"] == (
        "it cannot be trained here: gist cannot train this embedding model. It looks up words in a table."
    )
    assert "gist cannot train this embedding model" in said.getvalue()


@pytest.mark.parametrize(("stop", "error"), [(2, DiskError("full")), (0, UserError("no such model"))])
def test_what_is_not_about_an_alternative_ends_the_run(stop: int, error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        Trainings(tmp_path, {}, stop, error).search().run()


def test_a_list_lets_go_of_all_that_an_ingredient_changes() -> None:
    config = EmbeddingConfig(recipe=["strategies"], learning_rate=2e-5)
    assert plan(config, SMALL).tried
    assert not plan(config.model_copy(update={"recipe": "auto"}), SMALL).tried.keys() & plan(config, SMALL).tried.keys()


def test_an_ingredient_with_nothing_left_changes_nothing(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, {})
    _, record = trainings.search(LARGE, recipe=["strategies"]).run()
    assert len(trainings.asked) == 1
    assert (record["planned"], record["taken"]) == (0, [])
