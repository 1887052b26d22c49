"""The run's schema: what a configuration file may say, section by section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from raglift import plugins
from raglift.config_evaluation import EvaluationConfig
from raglift.config_fields import (
    AutoBackend,
    AutoFloat,
    AutoIndexKind,
    AutoInt,
    AutoPart,
    Chunker,
    Count,
    Curve,
    Ingredients,
    Language,
    Name,
    NotNegative,
    NotNegativeInt,
    Part,
    PathName,
    Positive,
    PositiveShare,
    Prompt,
    RunName,
    Section,
    Seed,
    Share,
    Spec,
    Sweep,
    Tokens,
    wrong,
)
from raglift.config_synthesis import SynthesisConfig


class DataConfig(Section):
    """What the pipeline is built for: exactly one of `documents` and `beir`."""

    documents: PathName | None = None
    """"python-reference" (shipped with raglift), a folder of files, or a .urls file (an address a line)."""
    network: bool = False
    """Whether the addresses of a .urls file may be fetched."""
    beir: PathName | None = None
    """A folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels/."""
    questions: PathName | None = None
    """JSON Lines of human questions: id, question, answer, topics, quotes."""
    dev_share: Part | None = None
    """Share of the human questions, whole document groups at a time, that is used for choosing and never for the
    verdict. Left out: 1/3 with `documents`, 0 with `beir`."""

    @property
    def dev_share_or_default(self) -> float:
        """`dev_share`, or what it means when it is left out."""
        if self.dev_share is not None:
            return self.dev_share
        return 0.0 if self.beir is not None else 1 / 3

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        if self.documents is not None and self.beir is not None:
            raise wrong("data.documents and data.beir exclude each other: set one of them to null", "documents", "beir")
        if self.documents is None and self.beir is None:
            raise wrong(
                "data.documents is missing: name a folder, or 'python-reference' (or set data.beir)",
                "documents",
                "beir",
            )
        return self


class ReadingConfig(Section):
    """What parsing one file may cost; a file that costs more is left out with its reason, and the others go on."""

    seconds: Positive = 120.0
    """Wall-clock time for one file."""
    memory_mb: Count = 1024
    """Megabytes of memory of the process that parses; it needs about 100 for itself."""
    file_mb: Count = 64
    """Largest file, and most that is unpacked from one, in megabytes."""
    characters: Count = 20_000_000
    """Most text that one file may give."""
    documents: Count = 1_000_000
    """Most documents that one file may give (rows of a table, lines of JSON)."""


class CorpusConfig(Section):
    """How documents become passages, and which documents may be trained on."""

    chunker: Chunker = "sentence"
    """Where documents are cut: at the end of a "sentence", at any "token", at "markdown" headings, or where the
    "semantic" distance of neighbouring sentences is greatest."""
    chunk_tokens: Tokens = 160
    """Longest passage, in tokens as LlamaIndex counts them; 160 of them fit the window of small embedding models."""
    chunk_overlap: NotNegativeInt = 0
    """Tokens that neighbouring passages share where a text is cut for its length; less than `chunk_tokens`."""
    near_duplicate: PositiveShare = 0.8
    """Two documents share a group when this share of the smaller one's word 5-grams also stands in the larger."""
    train: Share = 0.7
    """Share of the document groups whose questions train the models."""
    dev: Share = 0.1
    """Share whose questions choose the checkpoint and the mix with the base."""
    test: Share = 0.2
    """Share whose questions are only ever scored. The three sum to 1."""

    audit_ngrams: Share = 0.25
    """Largest share of a held-out split's different word 8-grams that may also stand in another split's documents; a
    run with more of them stops. 1 never stops."""
    audit_similarity: Share = 0.95
    """Cosine, by the base embedding model, from which on two questions are asked alike."""
    audit_questions: Share = 0.2
    """Largest share of the development or test questions that may be asked alike in training; a run with more of them
    stops. 1 never stops."""

    @model_validator(mode="after")
    def _consistent(self) -> CorpusConfig:
        if self.chunk_overlap >= self.chunk_tokens:
            raise wrong(
                f"corpus.chunk_overlap ({self.chunk_overlap}) must be less than chunk_tokens ({self.chunk_tokens})",
                "chunk_tokens",
                "chunk_overlap",
            )
        total = self.train + self.dev + self.test
        if abs(total - 1) > 1e-6:
            raise wrong(f"corpus.train, dev and test must sum to 1, not {total:.6g}", "train", "dev", "test")
        return self


class TuningConfig(Section):
    """What the two trainings have in common."""

    model: Name
    """The base: a known name or a folder."""
    strategies: list[Spec]
    """At most one an axis; each a name, or `name: {hyper-parameter: value}`. An empty list leaves the base untuned."""
    objective: Spec
    """The loss; a name, or `name: {hyper-parameter: value}`."""
    epochs: AutoFloat = "auto"
    """Passes over the training set, or "auto"."""
    learning_rate: AutoFloat = "auto"
    """AdamW's peak learning rate, or "auto"."""
    batch_size: Count
    """Training examples a step."""
    weight_decay: NotNegative
    """AdamW's weight decay."""
    warmup: Part = 0.1
    """Share of the steps over which the learning rate rises from 0."""
    evaluations: Count
    """Times that the development split is scored during training."""
    accumulation: Count = 1
    """Batches whose gradients make one step."""
    patience: Count | None = None
    """Scorings in a row without a new best after which training ends; null: never early."""
    sweep: Sweep = None
    """Learning rates that are tried in the place of `learning_rate`, each a training of its own, among which the
    development split chooses; "auto": a third of it, itself and three times as much."""
    learning_curve: Curve = False
    """Shares of the training set that are trained on too, to see whether more data would pay; true: 0.25 and 0.5."""

    @property
    def curve_shares(self) -> tuple[float, ...]:
        """The shares of the learning curve, rising and without the whole; none where no curve is wanted."""
        if isinstance(self.learning_curve, bool):
            return (0.25, 0.5) if self.learning_curve else ()
        return tuple(sorted(share for share in self.learning_curve if share < 1))


_ABOUT = {name: field.description for name, field in TuningConfig.model_fields.items()}


class EmbeddingConfig(TuningConfig):
    """Training of the embedding model."""

    model: Name = Field(default="all-MiniLM-L6-v2", description=_ABOUT["model"])
    strategies: list[Spec] = Field(
        default=["full", "weight_interpolation"], validate_default=True, description=_ABOUT["strategies"]
    )
    objective: Spec = Field(default="multiple_negatives", validate_default=True, description=_ABOUT["objective"])
    pairs: PathName | None = None
    """Questions with their passages, of these or of other documents, to train on: JSON Lines of `query`, `passage` and
    `negatives`, a .json file of LlamaIndex's EmbeddingQAFinetuneDataset, or a folder in BEIR layout."""
    train_on: Literal["both", "pairs", "synthetic"] = "both"
    """Whether the training pairs are those of `pairs`, those of the synthetic questions, or both; without `pairs` there
    are only synthetic ones. The development split chooses by its own questions in any case."""
    batch_size: Count = 32
    """Questions a step; with in-batch negatives it decides how many negatives each has."""
    weight_decay: NotNegative = Field(default=0.01, description=_ABOUT["weight_decay"])
    evaluations: Count = Field(default=4, description=_ABOUT["evaluations"])
    inverse_cloze: Part = 0.0
    """Share of the training pairs that are inverse clozes: a sentence of a passage as the query for the rest of it."""
    hard_negatives: NotNegativeInt = 0
    """Most wrong passages trained against for each question, from the ranks past its own in the base index; 0: none."""
    hard_negative_ceiling: PositiveShare = 0.95
    """Share of the own passage's score above which another passage is too likely right to be taken for wrong."""
    recipe: Ingredients = None
    """Keys of this section that may become otherwise where trainings show it to be better on the development split:
    "auto" for all that it knows and that stand at their defaults, or a list of them; null: the settings as written."""
    recipe_trials: Count = 12
    """Most trainings of the recipe, beside the one with the settings as written."""

    @property
    def learned_pairs(self) -> str | None:
        """`pairs` where they train; None where there are none or only synthetic questions are to train."""
        return None if self.train_on == "synthetic" else self.pairs

    @model_validator(mode="after")
    def _consistent(self) -> EmbeddingConfig:
        if self.train_on == "pairs" and self.pairs is None:
            raise wrong("embedding.train_on is 'pairs', and embedding.pairs names none", "train_on")
        return self


class LLMConfig(TuningConfig):
    """Training of the language model, and how it answers."""

    model: Name = Field(default="SmolLM2-135M-Instruct", description=_ABOUT["model"])
    strategies: list[Spec] = Field(default=["lora"], validate_default=True, description=_ABOUT["strategies"])
    objective: Spec = Field(default="answer_only", validate_default=True, description=_ABOUT["objective"])
    batch_size: Count = Field(default=4, description=_ABOUT["batch_size"])
    weight_decay: NotNegative = Field(default=0.0, description=_ABOUT["weight_decay"])
    evaluations: Count = Field(default=2, description=_ABOUT["evaluations"])
    prompt: Prompt = "grounded"
    """How question and passages are put to the model, in training and in serving: "grounded" for the answer alone,
    "quoted" for the sentence that tells it and then the answer."""
    max_examples: Count | None = None
    """Most training examples; null: all."""
    absent: Part = 0.05
    """Share of the training examples whose evidence is withheld, so that the model learns to abstain."""
    cloze: Part = 0.0
    """Share of the training examples that are clozes: sentences of the documents with a span taken out."""
    closed_book: Part = 0.0
    """Share of the training examples without any passage, so that the model stays used to answering from memory;
    together with `absent` less than 1."""
    max_new_tokens: Count = 32
    """Longest answer, in tokens; a quote before it has room of its own."""

    @property
    def new_tokens(self) -> int:
        """Tokens that the model may write: `max_new_tokens`, and the prompt approach's room for a quote."""
        return self.max_new_tokens + int(plugins.load("prompt", self.prompt).quote_tokens)

    @model_validator(mode="after")
    def _consistent(self) -> LLMConfig:
        if self.absent + self.closed_book >= 1:
            raise wrong(
                f"llm.absent and closed_book ({self.absent} and {self.closed_book}) must sum to less than 1",
                "absent",
                "closed_book",
            )
        return self


class RerankConfig(TuningConfig):
    """Training of the reranker, which puts the passages that were found in order."""

    model: Name = Field(
        default="all-MiniLM-L6-v2",
        description="A cross-encoder, an embedding model to make one of, or a language model, taken as it comes.",
    )
    strategies: list[Spec] = Field(default=["full"], validate_default=True, description=_ABOUT["strategies"])
    objective: Spec = Field(default="localized_contrastive", validate_default=True, description=_ABOUT["objective"])
    batch_size: Count = 8
    """Questions a step, each with its right passage and its wrong ones."""
    weight_decay: NotNegative = Field(default=0.01, description=_ABOUT["weight_decay"])
    evaluations: Count = Field(default=3, description=_ABOUT["evaluations"])
    first_stage: Literal["dense", "hybrid"] = "hybrid"
    """What finds the passages: the tuned embedding model, or its fusion with BM25."""
    depth: Count = 30
    """Passages of a question that are put in order; at least `retrieval.top_k`."""
    first_stage_share: AutoPart = "auto"
    """Weight that the first stage's scores keep in the order; "auto": the development questions choose."""
    dev_questions: Count | None = 100
    """Most questions of each development set that a scoring takes; null: all."""
    hard_negatives: NotNegativeInt = 4
    """Most wrong passages a question from what the first stage finds."""
    hard_negative_ceiling: PositiveShare = 0.95
    """Share of the own passage's cosine above which another passage is too likely right to be taken for wrong."""
    random_negatives: NotNegativeInt = 1
    """Wrong passages a question that are drawn from all documents that may be trained on."""

    @model_validator(mode="after")
    def _consistent(self) -> RerankConfig:
        if not self.hard_negatives and not self.random_negatives:
            raise wrong(
                "rerank.hard_negatives and random_negatives are both 0: a reranker learns from wrong passages",
                "hard_negatives",
                "random_negatives",
            )
        return self


class IndexConfig(Section):
    """The vector index."""

    kind: AutoIndexKind = "auto"
    """How vectors are searched: "flat" is exact; "hnsw", "ivf_flat", "scalar", "ivf_pq" and "binary" find candidates
    whose exact cosines are then compared; "auto" is exact up to 100,000 passages that fit `memory_mb`, and otherwise
    takes the first kind that fits."""
    memory_mb: Count | None = None
    """Most megabytes that "auto" lets the part take which every search reads; null: any number."""
    recall: PositiveShare = 0.95
    """Share of the exact best ten that an index which is not exact must find when it is built."""
    backend: AutoBackend = "torch"
    """What encodes the passages: "torch", or "onnx", "onnx_int8", "openvino", "openvino_int8" on the processor, whose
    vectors are compared with float32's first; "auto" is the fastest that is installed and agrees. Questions: torch."""
    nudge: Literal["M", "N"] | None = None
    """Whether passages' vectors in the tuned index move toward the training questions that they answer: by at most a
    distance ("M"), or keeping unit length ("N"); the development split chooses how far. null: they stay."""


class RetrievalConfig(Section):
    """How passages are found."""

    top_k: Count = 3
    """Passages that the language model reads."""
    depth: Count = 100
    """Length of the ranking that is scored; at least `top_k`."""
    fusion: Spec = Field(default="auto", validate_default=True)
    """How a dense ranking and BM25's become one: "rrf" (ranks) or "convex" (scores); `name: {parameter: value}` fixes
    its parameters. What is left open the development questions choose, with "auto" the fusion too."""
    transforms: list[Spec] = Field(default=[])
    """Ways to put a question in other words before it is searched for ("rewriting", "multi_query", "hyde"), each an
    arm of its own beside `tuned_hybrid`; the base language model writes."""
    language: Language = "english"
    """Of the words that BM25 compares, stemmed by Snowball; "any": words as they stand."""

    @model_validator(mode="after")
    def _consistent(self) -> RetrievalConfig:
        if self.depth < self.top_k:
            raise wrong(
                f"retrieval.depth ({self.depth}) must be at least retrieval.top_k ({self.top_k})", "top_k", "depth"
            )
        names = [spec.name for spec in self.transforms]
        if len(set(names)) < len(names):
            raise wrong(f"retrieval.transforms names one of them twice: {', '.join(names)}", "transforms")
        return self


class RuntimeConfig(Section):
    """Where and how fast. Nothing here reaches an artifact's key: changing it rebuilds nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the models run."""
    threads: AutoInt = "auto"
    """CPU threads."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the matrix products; "auto" probes which is faster."""
    checkpoint_seconds: Positive = 30.0
    """Time between checkpoints of a training, in seconds."""
    batch_tokens: AutoInt = "auto"
    """Tokens encoded at once outside of training; "auto" goes by the device."""
    trackers: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = Field(default=["tensorboard"])
    """Where trainings are logged; TensorBoard's files lie in the workspace's `logs`. An empty list logs nowhere."""
    forecast: bool = True
    """Whether a training tries two steps first, to say how long it will take and to refuse what memory cannot hold."""
    vector_cache: bool = True
    """Whether the vectors of passages are kept in the workspace's `vectors`, so that no text is encoded twice."""


class Config(Section):
    """A run of raglift, from documents to a scored pipeline."""

    run: RunName = "run"
    """The run's name: letters, digits, dot, dash and underscore."""
    workspace: PathName = "indexes"
    """Folder that holds the artifacts and the runs."""
    seed: Seed = 0
    """Seed of everything random."""
    data: DataConfig
    reading: ReadingConfig = ReadingConfig()
    corpus: CorpusConfig = CorpusConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    llm: LLMConfig = LLMConfig()
    rerank: RerankConfig | None = None
    """A cross-encoder that puts the passages that were found in order; null: none."""
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.rerank is not None and self.rerank.depth < self.retrieval.top_k:
            depth, top_k = self.rerank.depth, self.retrieval.top_k
            raise wrong(f"rerank.depth ({depth}) must be at least retrieval.top_k ({top_k})", "rerank", "retrieval")
        if self.rerank is not None and self.rerank.depth > self.retrieval.depth:
            found, ranked = self.rerank.depth, self.retrieval.depth
            raise wrong(f"rerank.depth ({found}) must be at most retrieval.depth ({ranked})", "rerank", "retrieval")
        return self
