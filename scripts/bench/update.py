"""What `raglift index update` costs against the share of documents that changed, and against building anew.

Documents of one passage each, of words drawn with a seed from the built-in Python reference. A run's own stages read,
cut and index them, with no question and no training, so that the base and the tuned model are one. Then a share of the
documents gets another text, and the run is updated, share after share. What building anew takes are the seconds of the
stages, the models loaded, in a workspace that knows no vector. The last line printed is JSON: seconds and texts encoded
for every size and share, seconds fitted as fixed + each * share, and the exponents of the seconds over the sizes.

    python scripts/bench/update.py --sizes 1000,4000 --shares 0,0.01,0.1,0.5,1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from raglift.config import config_from_dict
from raglift.corpus import python_reference
from raglift.pipeline_retrieval import RetrievalStages
from raglift.progress import Progress
from raglift.runner import Runner
from raglift.serve.result import RunResult
from raglift.training.outcome import read_outcome, write_outcome

QUIET = Progress(quiet=True)
WORDS = 60
"""Of a document."""


class Indexed(RetrievalStages):
    """A run up to its indexes, whose trainings chose the base."""

    def index(self, runner: Runner) -> RunResult:
        """Run the stages; a finished run."""
        self._runner = runner
        corpus = self._corpus()
        self._index("base", corpus)
        self._words(corpus)
        for target in ("embedding", "llm"):
            base = self._models.base(target)
            artifact = runner.stage(
                target, 1, {}, {}, lambda job, t=target, b=base: write_outcome(job.out, t, b, [], None, None)
            )
            self._models.add(read_outcome(artifact.path, artifact.key))
        self._index("tuned", corpus)
        runner.finish()
        return RunResult(runner.folder)


def indexed(documents: Path, workspace: Path, dtype: str) -> RunResult:
    """A run over the documents in a workspace."""
    values = {
        "run": "bench",
        "workspace": str(workspace),
        "data": {"documents": str(documents)},
        "corpus": {"near_duplicate": 1.0},
        "runtime": {"dtype": dtype},
    }
    config = config_from_dict(values)
    pipeline = Indexed(config, QUIET, None)
    with Runner(config, QUIET) as runner:
        return pipeline.index(runner)


def write(folder: Path, number: int, edition: int, words: list[str]) -> None:
    """A document whose text its number and edition decide."""
    drawn = random.Random(f"{number} {edition}").choices(words, k=WORDS)
    (folder / f"{number:06}.txt").write_text(" ".join(drawn) + ".\n", encoding="utf-8")


def measure(size: int, shares: list[float], dtype: str, root: Path) -> dict[str, Any]:
    """Seconds of building and of an update for every share."""
    words = sorted({word for text in python_reference.texts().values() for word in text.split() if word.isalpha()})
    documents = root / "documents"
    documents.mkdir(parents=True)
    for number in range(size):
        write(documents, number, 0, words)
    indexed(documents, root / "warm", dtype)  # the models' libraries are loaded, and the files read, before the clock
    run = indexed(documents, root / "indexes", dtype)
    built = sum(stage["seconds"] for stage in run.state["stages"])
    rows = []
    for edition, share in enumerate(shares, 1):
        for number in random.Random(edition).sample(range(size), round(share * size)):
            write(documents, number, edition, words)
        start = time.perf_counter()
        account = run.update(display=QUIET)
        seconds = time.perf_counter() - start
        assert account.documents.changed == round(share * size)
        rows.append({"share": share, "seconds": round(seconds, 3), "encoded": account.vectors.encoded})
        print({"size": size, **rows[-1]}, flush=True)
    each, fixed = np.polyfit([row["share"] for row in rows], [row["seconds"] for row in rows], 1).tolist()
    fitted = {"fixed_seconds": round(fixed, 3), "seconds_a_share_of_1": round(each, 3)}
    return {"documents": size, "build_seconds": round(built, 3), "updates": rows, "fitted": fitted}


def exponents(found: list[dict[str, Any]], shares: list[float]) -> dict[str, float]:
    """Of the seconds over the sizes, by share; 1 is in proportion."""
    sizes = np.log([each["documents"] for each in found])
    seconds = {str(share): [each["updates"][place]["seconds"] for each in found] for place, share in enumerate(shares)}
    seconds["build"] = [each["build_seconds"] for each in found]
    return {name: round(float(np.polyfit(sizes, np.log(times), 1)[0]), 2) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,4000", help="documents, separated by commas")
    parser.add_argument("--shares", default="0,0.01,0.1,0.5,1", help="of documents that change, separated by commas")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    shares = [float(share) for share in arguments.shares.split(",")]
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as root:
            found.append(measure(size, shares, arguments.dtype, Path(root)))
    result: dict[str, Any] = {"bench": "update", "cores": os.cpu_count(), "sizes": found}
    if len(sizes) > 1:
        result["exponents_over_sizes"] = exponents(found, shares)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
