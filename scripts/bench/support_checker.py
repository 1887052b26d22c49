"""How well a support checker tells claims that a passage supports from the same made false by machine.

For each set in BEIR layout: claims about its documents (sentences, and people's questions with their answers where the
set has answers), each with one that a corruption made of it. The checker learns from the claims about 60% of the
documents, is calibrated on 20% and judged on the other 20%, which it has never seen. With `--never-shown` it is trained
once more for each kind of corruption, without that kind, and judged on that kind alone. Beside it stands the lexical
checker, which learns nothing. The last line printed is JSON: sensitivity, specificity and balanced accuracy.

    python scripts/bench/support_checker.py --beir DIR [DIR ...] --work FOLDER --never-shown number negation
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from documents import Documents

from raglift.config import config_from_dict
from raglift.grounding.checker import LexicalChecker
from raglift.grounding.claims import claims_of
from raglift.grounding.health import health_of
from raglift.grounding.stage import Claims, build, told, without
from raglift.job import Job
from raglift.models.find import find_model
from raglift.progress import Progress

MODEL = "all-MiniLM-L6-v2"
SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}


class Bench(Documents):
    """One set: its claims, and the checkers that learn from them."""

    def __init__(self, beir: str, arguments: argparse.Namespace) -> None:
        self.name = Path(beir).name
        settings: dict[str, Any] = {"data": {"beir": beir}, "seed": arguments.seed, "corpus": SPLITS}
        settings["runtime"] = {"threads": arguments.threads}
        super().__init__(config_from_dict(settings), arguments.work, arguments.work / self.name)
        questions = [question for question in self.corpus.human if question.answers]
        most = {"train": arguments.claims, "dev": arguments.claims // 4, "test": arguments.claims // 4}
        found = {
            split: claims_of(self.corpus, questions, split, arguments.seed, most[split])  # type: ignore[arg-type]
            for split in SPLITS
        }
        self.claims = Claims(**found)

    def measured(self, claims: Claims, name: str) -> dict[str, Any]:
        """A checker trained on claims, and what it does with those of the test documents."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        start = time.perf_counter()
        health = build(claims, find_model(MODEL), self.runtime, Job(out, self.config.seed, Progress()))
        return {**told(health), "claims": len(claims.train), "seconds": round(time.perf_counter() - start)}


def main() -> None:
    """Measure the sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="where intermediate results are kept")
    parser.add_argument("--claims", type=int, default=2000, help="most supported claims to learn from")
    parser.add_argument("--never-shown", nargs="*", default=[], help="corruptions that are left out of a training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets: dict[str, Any] = {}
    for beir in arguments.beir:
        bench = Bench(beir, arguments)
        lexical = health_of(bench.claims.test, LexicalChecker().supported(bench.claims.test))
        found: dict[str, Any] = {"lexical": told(lexical), "trained": bench.measured(bench.claims, "all")}
        for kind in arguments.never_shown:
            found[f"never shown {kind}"] = bench.measured(without(bench.claims, kind), f"without-{kind}")
        sets[bench.name] = found
        for name, each in found.items():
            print(bench.name, name, json.dumps(each), flush=True)
    print(json.dumps({"bench": "support_checker", "model": MODEL, "seed": arguments.seed, "sets": sets}))


if __name__ == "__main__":
    main()
