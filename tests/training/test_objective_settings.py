"""What the config may say about objectives and teachers, and what the page says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raglift.config import config_from_dict, dump_config, load_config
from raglift.errors import UserError


@pytest.mark.parametrize(
    ("target", "objective", "message"),
    [
        ("embedding", {"matryoshka": {"objective": {"gist": {"margn": 1}}}}, "did you mean 'margin'?"),
        ("embedding", {"matryoshka": {"objective": "answer_only"}}, "cannot train the embedding model"),
        ("embedding", {"matryoshka": {"objective": "matryoshka"}}, "another objective than 'matryoshka'"),
        ("embedding", {"matryoshka": {"objective": "gits"}}, "did you mean 'gist'?"),
        ("embedding", {"matryoshka": {"objective": 3}}, "objective must be a name"),
        ("embedding", {"matryoshka": {"dims": [8, 8]}}, "different whole numbers"),
        ("embedding", {"matryoshka": {"dims": []}}, "different whole numbers"),
        ("embedding", {"matryoshka": {"weights": [1.0]}}, "as many as dims"),
        ("embedding", {"listwise": {"teacher": "hybird"}}, "did you mean 'hybrid'?"),
        ("embedding", {"margin_mse": {"teacher": "cross_encoder"}}, "model is missing"),
        ("embedding", {"listwise": {"teacher": {"hybrid": {"share": 2.0}}}}, "less than or equal to 1"),
        ("embedding", {"listwise": {"temperature": 0.0}}, "greater than 0"),
        ("embedding", {"multiple_negatives": {"directions": ["doc_to_query"]}}, "must hold 'query_to_doc'"),
        ("embedding", {"multiple_negatives": {"directions": ["query_to_docs"]}}, "did you mean 'query_to_doc'?"),
        (
            "embedding",
            {"multiple_negatives": {"directions": ["query_to_doc", "doc_to_doc"], "partition_mode": "per_direction"}},
            "hold no right pair",
        ),
        ("embedding", {"multiple_negatives": {"scale": 0.0}}, "greater than 0"),
        ("embedding", {"gist": {"margin_strategy": "rel"}}, "'absolute' or 'relative'"),
        ("embedding", {"cached_multiple_negatives": {"mini_batch_size": 0}}, "greater than or equal to 1"),
        ("embedding", "distillation", "cannot train the embedding model"),
        ("llm", "distillation", "teacher is missing"),
        ("llm", {"distillation": {"teacher": "x", "share": 0.0}}, "greater than 0"),
        ("llm", {"answer_only": {"prompt_weight": 2.0}}, "less than or equal to 1"),
    ],
)
def test_mistakes_in_settings_are_said(target: str, objective: Any, message: str) -> None:
    section: dict[str, Any] = {"objective": objective, **({"hard_negatives": 2} if target == "embedding" else {})}
    with pytest.raises(UserError) as caught:
        config_from_dict({"data": {"documents": "d"}, target: section})
    assert message in str(caught.value)
    assert f"{target}.objective" in str(caught.value)


@pytest.mark.parametrize("name", ["listwise", "margin_mse", "matryoshka"])
def test_what_learns_from_a_teacher_needs_hard_negatives(name: str) -> None:
    objective: Any = {"matryoshka": {"objective": "listwise"}} if name == "matryoshka" else name
    values = {"data": {"documents": "d"}, "embedding": {"objective": objective, "hard_negatives": 0}}
    with pytest.raises(UserError, match=r"set embedding\.hard_negatives to 1 or more"):
        config_from_dict(values)
    values["embedding"]["hard_negatives"] = 1  # type: ignore[index]
    assert config_from_dict(values).embedding.objective.name == name


def test_a_nested_objective_is_written_as_it_is_read(tmp_path: Path) -> None:
    objective = {
        "matryoshka": {"objective": {"margin_mse": {"teacher": {"hybrid": {"share": 0.5}}}}, "dims": [384, 10]}
    }
    values = {"data": {"documents": "d"}, "embedding": {"objective": objective, "hard_negatives": 1}}
    config = config_from_dict(values)
    (tmp_path / "config.yaml").write_text(dump_config(config), "utf-8")
    assert load_config([tmp_path / "config.yaml"]) == config
    assert config.model_dump(mode="json")["embedding"]["objective"] == objective
