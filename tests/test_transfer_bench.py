"""The benchmark of tuning on another collection's pairs asks for a run that trains on these alone."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path

import pytest

from raglift.config import config_from_dict

BENCH = Path(__file__).parents[1] / "scripts" / "bench"


@pytest.mark.parametrize("whole", [False, True])
def test_all_documents_are_held_out_and_the_other_set_trains(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    bench = importlib.import_module("transfer")
    given = Namespace(train="a", test="sets/b", work=Path("w"), whole=whole, questions=5, model=None, threads=1, seed=3)
    config = config_from_dict(bench.config(given))
    assert (config.embedding.pairs, config.embedding.train_on) == ("a", "pairs")
    assert (config.data.beir, config.data.dev_share_or_default) == ("sets/b", 0.0)
    assert (config.corpus.train, config.corpus.chunk_tokens == bench.WHOLE) == (0.0, whole)
    assert config.run == ("b-whole" if whole else "b"), "both ways have a run of their own in one workspace"
