"""Time and recall of the two searches for near-duplicates on made-up corpora, one thread.

    python scripts/bench/near_duplicates.py [--sizes 1000 10000 50000] [--threshold 0.8]

`ordinary` texts share little but planted copies. `idioms` are made of short set phrases, of which two texts share few;
`phrases` share one longer phrase with hundreds of others, `forms` eight. The exact search takes as many multiplications
as pairs of texts share 5-grams, which is what decides between the two.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import time

import numpy as np

from raglift.corpus import near_duplicates
from raglift.corpus.near_duplicates import SHINGLE, components, containing_pairs
from raglift.corpus.shingles import shingles

PHRASES = {"ordinary": (0, 0), "idioms": (30, 5), "phrases": (1, 10), "forms": (8, 10)}
"""Kind -> set phrases in a text, and words of each."""


def corpus(kind: str, count: int, seed: int = 0) -> list[str]:
    """Texts of 40 to 120 words; one in twenty repeats another with a few words changed, or a section of it."""
    draw = random.Random(seed)
    # As many texts share a phrase as may, before it counts as boilerplate.
    many, length = PHRASES[kind]
    common = [[f"p{n}x{word}" for word in range(length)] for n in range(max(many, count * many // 1500))]
    texts: list[list[str]] = []

    def fresh() -> list[str]:
        words = [f"w{int(draw.paretovariate(0.5)) % 50000}" for _ in range(draw.randint(40, 120))]
        for phrase in draw.sample(common, many):
            at = draw.randrange(len(words))
            words[at:at] = phrase
        return words

    while len(texts) < count:
        words = fresh()
        if texts and draw.random() < 0.05:
            source = list(draw.choice(texts))
            for _ in range(draw.randint(0, 1 + len(source) // 50)):
                source[draw.randrange(len(source))] = "changed"
            begin = draw.choice([0, len(source) // 4])
            words = draw.choice([source, source[begin:], words + source[begin:]])
        texts.append(words)
    return [" ".join(words) for words in texts]


def timed(texts: list[str], threshold: float, work: int) -> tuple[float, list[tuple[int, int]]]:
    """Seconds, and the pairs, with the switch between the searches set to `work`."""
    near_duplicates._WORK = work
    began = time.perf_counter()
    pairs = containing_pairs(texts, threshold)
    return time.perf_counter() - began, pairs


def main() -> None:
    """Print one line a corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000, 50000])
    parser.add_argument("--kinds", nargs="+", choices=sorted(PHRASES), default=list(PHRASES))
    parser.add_argument("--threshold", type=float, default=0.8)
    options = parser.parse_args()
    print("kind      texts   multiplications  exact s  sketches s  recall of pairs  same groups")
    for kind in options.kinds:
        for size in options.sizes:
            texts = corpus(kind, size)
            often = np.asarray(shingles(texts, SHINGLE).matrix().sum(axis=0)).ravel().astype(np.int64)
            work = int((often[often <= near_duplicates._COMMON] ** 2).sum())
            exact_seconds, exact = timed(texts, options.threshold, 2**62)
            seconds, found = timed(texts, options.threshold, -1)
            recall = len(set(found) & set(exact)) / max(1, len(exact))
            same = components(size, found) == components(size, exact)
            row = f"{kind:9} {size:6} {work:16.2g} {exact_seconds:8.1f} {seconds:11.1f} {recall:16.4f}  {same}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
