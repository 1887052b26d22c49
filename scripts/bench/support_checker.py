"""How well a support checker tells claims that a passage supports from the same made false by machine.

For each set in BEIR layout: claims about its documents (sentences, and people's questions with their answers where the
set has answers), each with one that a corruption made of it. The checker learns from the claims about 60% of the
documents, is calibrated on 20% and judged on the other 20%, which it has never seen. It is trained
once more for each kind of corruption, without that kind, and judged on that kind alone. Beside it stands the lexical
checker, which learns nothing, and as a guard a classifier that sees claims without their passages: as far as it is
better than a coin, corruptions show by themselves. `by_source` says how the claims do that were made of the passages'
own sentences, of reworded ones and of people's answers. `--cross-encoder` adds a trained cross-encoder, which takes
minutes. The last line printed is JSON: sensitivity, specificity and balanced accuracy.

    python scripts/bench/support_checker.py --beir DIR [DIR ...] --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from documents import Documents
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from raglift.config import config_from_dict
from raglift.grounding.checker import LexicalChecker, open_checker
from raglift.grounding.claims import Claim, claims_of
from raglift.grounding.health import health_of
from raglift.grounding.stage import Claims, Reader, build, told, without
from raglift.job import Job
from raglift.models.find import find_model
from raglift.progress import Progress

MODEL = "all-MiniLM-L6-v2"
FEWEST = 20
"""Test claims of a kind from which on a checker is measured on that kind alone."""
SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}


class Bench(Documents):
    """One set: its claims, and the checkers that learn from them."""

    def __init__(self, beir: str, arguments: argparse.Namespace) -> None:
        self.name = Path(beir).name
        settings: dict[str, Any] = {"data": {"beir": beir}, "seed": arguments.seed, "corpus": SPLITS}
        settings["runtime"] = {"threads": arguments.threads}
        super().__init__(config_from_dict(settings), arguments.work, arguments.work / self.name)
        questions = [question for question in self.corpus.human if question.answers]
        most = {"train": arguments.claims, "dev": arguments.claims // 4, "test": arguments.claims // 2}
        found = {
            split: claims_of(self.corpus, questions, split, arguments.seed, most[split])  # type: ignore[arg-type]
            for split in SPLITS
        }
        self.claims = Claims(**found)

    def measured(self, claims: Claims, name: str, reads: bool = False) -> dict[str, Any]:
        """A checker trained on claims, and what it does with those of the test documents.

        Args:
            reads: With a cross-encoder.
        """
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        start = time.perf_counter()
        base = find_model(MODEL) if reads else None
        reader = None if base is None else Reader(base, self.runtime)
        health = build(claims, Job(out, self.config.seed, Progress()), reader)
        seconds = round(time.perf_counter() - start)
        verdicts = open_checker(out, base, self.runtime).supported(claims.test)
        return {**told(health), **by_source(claims.test, verdicts), "claims": len(claims.train), "seconds": seconds}


def by_source(claims: Sequence[Claim], verdicts: NDArray[np.bool_]) -> dict[str, Any]:
    """The balanced accuracy on the pairs of each sort of true claim."""
    found = {}
    sources = np.repeat([claim.kind for claim in claims[::2]], 2)
    for source in sorted(set(sources)):
        own = np.flatnonzero(sources == source)
        health = health_of([claims[row] for row in own], verdicts[own])
        found[str(source)] = {"value": health.balanced_accuracy, "interval": health.interval, "n": len(own)}
    return {"by_source": found}


def claims_alone(claims: Claims) -> dict[str, Any]:
    """A classifier of words and pairs of words that is shown no passage."""
    seen = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, lowercase=False, token_pattern=r"\S+")
    features = seen.fit_transform([claim.text for claim in claims.train])
    fitted = LogisticRegression(C=3.0, max_iter=2000).fit(features, [claim.supported for claim in claims.train])
    return told(health_of(claims.test, fitted.predict(seen.transform([claim.text for claim in claims.test]))))


def main() -> None:
    """Measure the sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--work", type=Path, required=True, help="where intermediate results are kept")
    parser.add_argument("--claims", type=int, default=2000, help="most supported claims to learn from")
    parser.add_argument("--cross-encoder", action="store_true", help="train one beside the words")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets: dict[str, Any] = {}
    for beir in arguments.beir:
        bench = Bench(beir, arguments)
        lexical = health_of(bench.claims.test, LexicalChecker().supported(bench.claims.test))
        found: dict[str, Any] = {"claims alone": claims_alone(bench.claims), "lexical": told(lexical)}
        found["trained"] = bench.measured(bench.claims, "all")
        if arguments.cross_encoder:
            found["cross_encoder"] = bench.measured(bench.claims, "cross-encoder", reads=True)
        kinds = Counter(claim.kind for claim in bench.claims.test[1::2])
        for kind in sorted(kind for kind, count in kinds.items() if count >= FEWEST):
            found[f"never shown {kind}"] = bench.measured(without(bench.claims, kind), f"without-{kind}")
        sets[bench.name] = found
        for name, each in found.items():
            print(bench.name, name, json.dumps(each), flush=True)
    print(json.dumps({"bench": "support_checker", "model": MODEL, "seed": arguments.seed, "sets": sets}))


if __name__ == "__main__":
    main()
