"""A finished run on disk whose tuning gained as a whole and hurt one kind of question, made without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raglift.artifacts import Store, write_json
from raglift.config import Config, config_from_dict
from raglift.records import Answered, Chunk, Document, Evidence, QAPair, Score, write_jsonl
from raglift.serve.result import RunResult
from raglift.workspace import RUNS, STATE

ARMS = ("base", "tuned_embedding", "tuned_llm", "tuned_both", "tuned_hybrid", "bm25")
DOCUMENTS, EACH = 24, 5
HURT = "keyword"


def sliced_run(root: Path, name: str = "demo") -> RunResult:
    """120 questions about 24 documents; where the tuned embedding model retrieves, keyword questions lose 0.2 of
    nDCG@10 and the other four in five gain 0.2; answers stay as they are, some of BM25's rankings are right."""
    rng = np.random.default_rng(7)
    texts = [f"Ferry {d} sails at {d} o'clock. It carries {d + 10} cars to the pier." for d in range(DOCUMENTS)]
    documents = [Document(f"d{d}", f"ferries/{d}.md", text, split="test") for d, text in enumerate(texts)]
    chunks = [Chunk(f"c{d}", f"d{d}", text, 0, len(text)) for d, text in enumerate(texts)]
    questions, answered, scores = [], [], []
    for place in range(DOCUMENTS * EACH):
        d, kind = place // EACH, HURT if place % EACH == 0 else "factoid"
        asked = f"ferry {d}" if kind == HURT else "When does that boat leave" + " again" * (place % 3) + "?"
        evidence = (Evidence(f"d{d}", f"c{d}", 0, texts[d].index(".")),)
        questions.append(QAPair(f"q{place}", asked, (f"{d}",), evidence, kind, "test", "synthetic"))
        base = rng.uniform(0.4, 0.6)
        moved = base + (-0.2 if kind == HURT else 0.2) + rng.normal(0, 0.05)
        for arm in ARMS:
            tuned = arm in ("tuned_embedding", "tuned_both", "tuned_hybrid")
            scores.append(Score("nDCG@10", f"q{place}", arm, float(np.clip(moved if tuned else base, 0, 1))))
            if arm in ARMS[:4]:
                scores.append(Score("token_f1", f"q{place}", arm, 0.5))
            found = f"c{d if place % 2 else (d + 1) % DOCUMENTS}"
            text = f"At {d} o'clock." if arm in ARMS[:4] else None
            answered.append(Answered(f"q{place}", arm, ((found, 1.0),), (texts[d],), text, 0.1))

    def corpus(out: Path) -> None:
        for file, records in (("documents", documents), ("chunks", chunks), ("human", [])):
            write_jsonl(out / f"{file}.jsonl", records)

    def evaluation(out: Path) -> None:
        for file, records in (("questions", questions), ("answered", answered), ("scores", scores)):
            write_jsonl(out / f"synthetic-{file}.jsonl", records)
        write_json(out / "summary.json", {})

    settings = {"run": name, "data": {"documents": "d"}, "evaluation": {"resamples": 300}}
    config: Config = config_from_dict(settings)
    Store(root).build("corpus", "corpus", corpus)
    Store(root).build("evaluation", "evaluation", evaluation)
    stages = [{"name": stage, "key": stage} for stage in ("corpus", "evaluation")]
    state = {"run": name, "state": "done", "stages": stages, "config": config.model_dump(mode="json")}
    write_json(root / RUNS / name / STATE, state)
    chosen = {"arm": "tuned_both", "beat_base": True, "embedding": "tuned", "llm": "tuned", "why": "It was best."}
    sets = {"synthetic": {"origin": "synthetic", "questions": len(questions), "documents": DOCUMENTS}}
    report = {"run": name, "verdict": "Tuning was worth it.", "chosen": chosen, "question_sets": sets}
    write_json(root / RUNS / name / "report.json", report)
    return RunResult(root / RUNS / name)
