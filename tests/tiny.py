"""Models of a few thousand parameters with tokenizers trained on the spot; equal bytes at every call."""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_lowercase, digits
from tempfile import TemporaryDirectory

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from tokenizers.trainers import BpeTrainer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SENTENCES = (
    "The lighthouse keeper writes the name of every ship into a blue book.",
    "A tide table lists the hours of high and low water for each harbour.",
    "The red kite hunts over open fields and builds its nest in tall oaks.",
    "Bakers in the old town begin to knead their dough at three in the morning.",
    "The clockmaker keeps brass gears, steel springs and glass in small drawers.",
    "Snow closes the mountain pass from November until the middle of May.",
    "The glass works on the river melt sand, soda and lime at great heat.",
    "Every apple tree in the abbey garden carries a lead label with its name.",
    "Answer the question in a few words, taken from the passages.",
    "If the passages do not hold the answer, say: The documents do not say.",
)
QUESTIONS = (
    ("Where does the keeper write the names of ships?", "a blue book"),
    ("What lists the hours of high water?", "a tide table"),
    ("Which bird builds its nest in tall oaks?", "the red kite"),
    ("When do the bakers begin to knead?", "three in the morning"),
    ("Who keeps brass gears in drawers?", "the clockmaker"),
    ("What closes the mountain pass?", "snow"),
    ("Where is sand melted at great heat?", "the glass works"),
    ("What does every apple tree carry?", "a lead label"),
)
"""Question `i` and its answer belong to sentence `i`."""

CHAT_TEMPLATE = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
"""SmolLM2's."""


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with SmolLM2's special tokens and chat template."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *(text for pair in QUESTIONS for text in pair)], trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_llm(folder: Path, seed: int = 0) -> Path:
    """A two-layer Llama of width 32 with random weights, in `folder`."""
    tokenizer = chat_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=1024,
                tie_word_embeddings=True,
                initializer_range=0.2,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def word_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece over the words of the texts, with BERT's special tokens."""
    # Not trained: the WordPiece trainer orders the vocabulary anew at every call.
    texts = [*SENTENCES, *(text for pair in QUESTIONS for text in pair)]
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    pieces = [*ascii_lowercase, *digits, *(f"##{character}" for character in ascii_lowercase + digits)]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *words])
    tokenizer = Tokenizer(
        tokenizer_models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", cls), ("[SEP]", sep)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def _bert(vocabulary: int) -> BertConfig:
    """Two layers of width 32."""
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
        hidden_dropout_prob=0.02,  # at the usual tenth a model of this width learns by luck
    )


def build_cross_encoder(folder: Path, seed: int = 0) -> Path:
    """A two-layer BERT of width 32 with a pooler and one score, with random weights, in `folder`."""
    tokenizer = word_tokenizer()
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as inner:
        torch.manual_seed(seed)
        config = _bert(len(tokenizer))
        config.num_labels = 1
        BertForSequenceClassification(config).save_pretrained(inner)
        tokenizer.save_pretrained(inner)
        CrossEncoder(inner, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def build_embedding(folder: Path, seed: int = 0, prompts: dict[str, str] | None = None) -> Path:
    """A two-layer BERT of width 32 with random weights, mean pooling and normalisation, in `folder`."""
    tokenizer = word_tokenizer()
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as inner:
        torch.manual_seed(seed)
        model = BertModel(_bert(len(tokenizer)))
        model.save_pretrained(inner)
        tokenizer.save_pretrained(inner)
        modules = [Transformer(inner, max_seq_length=48), Pooling(32, "mean"), Normalize()]
        whole = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
        whole.save_pretrained(str(folder), create_model_card=False)
    return folder
