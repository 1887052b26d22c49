"""How fast an evaluation is: raglift against LlamaIndex's RetrieverEvaluator and BatchEvalRunner.

The same passages with the same vectors, the same questions, the same models in the same precision, each library in a
process of its own, taking turns. The first part ranks: LlamaIndex's evaluator over the retriever of its FAISS store
with HuggingFaceEmbedding, six of its metrics at ten; raglift.evaluate over a dense LiftRetriever with the six that
answer to them, and their intervals. The second part answers and judges: LlamaIndex's query engine with HuggingFaceLLM,
and its runner with the evaluators of faithfulness and relevancy; raglift's query engine, its response metrics, and its
judge on faithfulness and answer relevance. Both read three passages and write 48 tokens at most, and the model judges
itself: the figure is one of speed. The test of a judge's health, which is made once a judge, is not in it.

The last line printed is JSON: medians of questions a second, the ratio turn by turn, and what both say of the ranking.

    pip install llama-index-llms-huggingface
    python scripts/bench/evaluation.py --beir DIR --questions 300 --judged 24 --repeats 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import take_turns

EMBEDDING, LLM = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"
DEPTH, READ, WRITTEN = 10, 3, 48
METRICS = {
    "hit_rate": "Success@10",
    "mrr": "RR@10",
    "precision": "P@10",
    "recall": "R@10",
    "ap": "AP@10",
    "ndcg": "nDCG@10",
}
SIDES = ("llama_index", "raglift")
Work = Callable[[], dict[str, Any]]


def prepare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The job, and the passages' vectors beside it."""
    import numpy as np

    from raglift.corpus.judged import read_beir
    from raglift.models.device import probe_dtype
    from raglift.models.find import find_model

    documents, questions = read_beir(arguments.beir)
    chosen = [q for q in questions if q.answerable and q.sources][: arguments.questions]
    job = {
        "embedding": str(find_model(EMBEDDING).path),
        "llm": str(find_model(LLM).path),
        "dtype": probe_dtype().dtype,
        "threads": arguments.threads,
        "passages": [(document.source, document.text) for document in documents],
        "questions": [
            {"id": q.id, "question": q.question, "topics": sorted(q.sources), "answer": list(q.answers) or ["unknown"]}
            for q in chosen
        ],
        "judged": arguments.judged,
    }
    np.save(folder / "vectors.npy", encoder(job).encode([text for _, text in job["passages"]], "passage"))
    return job


def encoder(job: dict[str, Any]) -> Any:
    """raglift's."""
    from raglift.models.encoder import Encoder, load_encoder

    return Encoder(load_encoder(Path(job["embedding"]), runtime(job)), runtime(job))


def runtime(job: dict[str, Any]) -> Any:
    """This machine's processor in the job's precision."""
    import torch

    from raglift.models.device import Runtime

    torch.set_num_threads(job["threads"])
    return Runtime(torch.device("cpu"), getattr(torch, job["dtype"]), job["threads"])


def nodes(job: dict[str, Any], vectors: Any) -> list[Any]:
    """LlamaIndex's, with their vectors."""
    from llama_index.core.schema import TextNode

    rows = zip(job["passages"], vectors.tolist(), strict=True)
    return [TextNode(id_=name, text=text, embedding=vector) for (name, text), vector in rows]


def llama_index_index(job: dict[str, Any], vectors: Any) -> Any:
    """Its FAISS store, its embedding."""
    import faiss
    import torch
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.vector_stores.faiss import FaissVectorStore

    torch.set_num_threads(job["threads"])
    kwargs = {"dtype": getattr(torch, job["dtype"])}
    embedding = HuggingFaceEmbedding(model_name=job["embedding"], device="cpu", model_kwargs=kwargs)
    store = FaissVectorStore(faiss_index=faiss.IndexFlatIP(vectors.shape[1]))
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(nodes(job, vectors), storage_context=context, embed_model=embedding)


def llama_index_ranking(job: dict[str, Any], vectors: Any) -> Work:
    """Its evaluator, question by question as its `aevaluate_dataset` put them."""
    from llama_index.core.evaluation import RetrieverEvaluator

    retriever = llama_index_index(job, vectors).as_retriever(similarity_top_k=DEPTH)
    evaluator = RetrieverEvaluator.from_metric_names(list(METRICS), retriever=retriever)

    async def every() -> list[Any]:
        return await asyncio.gather(*(evaluator.aevaluate(q["question"], q["topics"]) for q in job["questions"]))

    def work() -> dict[str, Any]:
        results = [result.metric_vals_dict for result in asyncio.run(every())]
        return {METRICS[name]: statistics.mean(result[name] for result in results) for name in METRICS}

    return work


def raglift_retriever(job: dict[str, Any], vectors: Any, top_k: int) -> Any:
    """Dense, with nothing kept from one turn to the next."""
    from raglift.index.dense import Dense
    from raglift.index.first_stage import FirstStage
    from raglift.index.retriever import LiftRetriever
    from raglift.index.store import FaissStore

    store, held = FaissStore(dimension=vectors.shape[1]), nodes(job, vectors)
    store.add_vectors(held, vectors)
    first = FirstStage(Dense.of_store(encoder(job), store), None, DEPTH)
    return LiftRetriever(first, {node.node_id: node for node in held}, top_k)


def raglift_ranking(job: dict[str, Any], vectors: Any) -> Work:
    """`raglift.evaluate` over a retriever."""
    import raglift

    retriever, settings = raglift_retriever(job, vectors, DEPTH), {"retrieval": list(METRICS.values())}

    def work() -> dict[str, Any]:
        found = raglift.evaluate(retriever, job["questions"], settings=settings, quiet=True)
        cells = found.as_dict()["retrieval"]["questions"]["engine"]
        return {name: cells[name]["value"] for name in METRICS.values()}

    return work


def llama_index_answers(job: dict[str, Any], vectors: Any) -> Work:
    """Its query engine, and its runner with two evaluators."""
    import torch
    from llama_index.core.evaluation import BatchEvalRunner, FaithfulnessEvaluator, RelevancyEvaluator
    from llama_index.llms.huggingface import HuggingFaceLLM

    from raglift.models.llm import load_causal_lm, load_tokenizer

    torch.set_num_threads(job["threads"])
    tokenizer = load_tokenizer(Path(job["llm"]))
    llm = HuggingFaceLLM(
        model=load_causal_lm(Path(job["llm"]), runtime(job)),
        tokenizer=tokenizer,
        context_window=2048,
        max_new_tokens=WRITTEN,
        generate_kwargs={"do_sample": False, "pad_token_id": tokenizer.pad_token_id},
        is_chat_model=True,
    )
    engine = llama_index_index(job, vectors).as_query_engine(llm=llm, similarity_top_k=READ)
    asked = [question["question"] for question in job["questions"][: job["judged"]]]
    evaluators = {"faithfulness": FaithfulnessEvaluator(llm=llm), "relevancy": RelevancyEvaluator(llm=llm)}

    def work() -> dict[str, Any]:
        runner = BatchEvalRunner(evaluators, workers=2)
        found = asyncio.run(runner.aevaluate_queries(engine, asked))
        return {name: sum(result.score or 0.0 for result in found[name]) for name in evaluators}

    return work


def raglift_answers(job: dict[str, Any], vectors: Any) -> Work:
    """Its query engine, its response metrics, and its judge on two questions."""
    import raglift
    from raglift import plugins
    from raglift.judging.items import Item
    from raglift.judging.judge import Judge
    from raglift.models.fused import quicken
    from raglift.models.generation import Generator
    from raglift.models.llm import LiftLLM, load_causal_lm, load_tokenizer
    from raglift.serve.engine import LiftQueryEngine

    model = quicken(load_causal_lm(Path(job["llm"]), runtime(job)))
    llm = LiftLLM(Generator(model, load_tokenizer(Path(job["llm"]))), name=LLM, max_new_tokens=WRITTEN)
    prompt = plugins.load("prompt", "grounded")
    engine = LiftQueryEngine(retriever=raglift_retriever(job, vectors, READ), llm=llm, prompt=prompt)
    asked, judge = job["questions"][: job["judged"]], Judge(llm)
    questions = {name: plugins.load("judge question", name)() for name in ("faithfulness", "answer_relevance")}
    settings = {"retrieval": ["Success@5"], "response": ["exact_match", "token_f1", "rouge_l", "abstention"]}
    texts = {question["id"]: question["question"] for question in asked}

    def work() -> dict[str, Any]:
        found = raglift.evaluate(engine, asked, settings=settings, quiet=True)
        items = [Item(a.qa_id, texts[a.qa_id], a.answer, (), tuple(a.contexts)) for a in found.answered]
        said = {name: judge.judge(question, items) for name, question in questions.items()}
        return {name: sum(each.value or 0.0 for each in judgements) for name, judgements in said.items()}

    return work


WORKERS = {
    "ranking": {"llama_index": llama_index_ranking, "raglift": raglift_ranking},
    "answers": {"llama_index": llama_index_answers, "raglift": raglift_answers},
}


def worker(side: str, folder: Path) -> None:
    """Evaluates on every line of standard input; when that ends, leaves what it found."""
    import numpy as np

    job = json.loads((folder / "job.json").read_text("utf-8"))
    if side == "raglift":
        from raglift.models.device import keep_freed_memory

        keep_freed_memory()
    work = WORKERS[job["part"]][side](job, np.load(folder / "vectors.npy"))
    found = work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        found = work()
        print(time.perf_counter() - start, flush=True)
    (folder / f"{job['part']}-{side}.json").write_text(json.dumps(found), "utf-8")


def measure(part: str, job: dict[str, Any], count: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Both libraries on one part, in turns."""
    (folder / "job.json").write_text(json.dumps({**job, "part": part}), "utf-8")
    seconds = take_turns(__file__, folder, SIDES, None, job["threads"], repeats)
    ratios = [theirs / ours for theirs, ours in zip(seconds["llama_index"], seconds["raglift"], strict=True)]
    return {
        "questions": count,
        "questions_a_second": {side: round(count / statistics.median(seconds[side]), 2) for side in SIDES},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_least": round(min(ratios), 2),
        "ratio_most": round(max(ratios), 2),
        "found": {side: json.loads((folder / f"{part}-{side}.json").read_text("utf-8")) for side in SIDES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beir", help="a folder in BEIR layout")
    parser.add_argument("--questions", type=int, default=300, help="that are ranked")
    parser.add_argument("--judged", type=int, default=24, help="that are answered and judged")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepare(arguments, folder)
        counts = {"ranking": len(job["questions"]), "answers": min(arguments.judged, len(job["questions"]))}
        found = {part: measure(part, job, count, folder, arguments.repeats) for part, count in counts.items()}
        print(json.dumps({"dtype": job["dtype"], "threads": job["threads"], "passages": len(job["passages"]), **found}))


if __name__ == "__main__":
    main()
