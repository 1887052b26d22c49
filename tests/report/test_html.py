"""The report: safe against hostile text, complete in itself, well formed, and true to its numbers."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from raglift import plugins
from raglift.report.forest import draw_axis, draw_row, fit_axis, panels
from raglift.report.html import embed_json, render

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\"'&amp;]]></title></style>"
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """Parses a page, failing on an unbalanced tag, and keeps its elements and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"repeated attribute in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"{tag} closes itself outside of an SVG"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """What a reader sees, white space collapsed."""
        return " ".join(" ".join(text for tag, text in self.texts if tag not in {"script", "style"}).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def inside(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    def island(self) -> Any:
        return json.loads(self.inside("script")[0])


def verdict(**changes: Any) -> dict[str, Any]:
    row = {"question_set": "human", "metric": "token_f1", "arm": "tuned_both", "against": "base", "delta": 0.25}
    row |= {"ci_low": 0.1875, "ci_high": 0.3125, "p": 0.0004, "detectable": 0.0625, "n": 160, "decision": "better"}
    return row | changes


def cell(value: float | None, **changes: Any) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"value": value, "n": 160, "coverage": 1.0, "ci_low": low, "ci_high": high} | changes


def slices() -> dict[str, Any]:
    """A certain harm of two arms that retrieve alike, a gain, a slice that is too small, and a note."""
    row = {"question_set": "human", "arm": "tuned_both", "against": "base", "metric": "nDCG@10", "dimension": "kind"}
    row |= {"questions": 40, "n": 39, "documents": 12, "p": 0.002, "why": ""}
    harm = row | {"slice": "keyword", "delta": -0.125, "ci_low": -0.1875, "ci_high": -0.0625, "decision": "worse"}
    gain = row | {"slice": "factoid", "delta": 0.25, "ci_low": 0.1875, "ci_high": 0.3125, "decision": "better"}
    small = row | {"slice": "claim", "n": 4, "delta": -0.5, "ci_low": None, "ci_high": None, "p": None}
    small |= {"decision": "not judged", "why": "fewer than 10 questions"}
    note = {"question_set": "human", "note": "no slices by document: it has one", "arm": "", "metric": ""}
    return {
        "rows": [harm, harm | {"arm": "tuned_embedding"}, gain, small],
        "notes": [note, note | {"arm": "tuned_hybrid", "note": "about another arm"}],
        "least": 10,
        "fewest_documents": 6,
        "dimensions": {"kind": "kind of question"},
    }


def judged() -> dict[str, Any]:
    """A judge that is believed for one question and refused for another."""
    rate = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}
    good = {"sensitivity": rate, "specificity": rate, "youden": 0.8, "youden_low": 0.66, "youden_high": 0.87}
    good |= {"unparsed": 3, "believed": True, "refused": ""}
    bad = good | {"youden": 0.01, "believed": False, "refused": "it is not told from chance"}
    cell = {"value": 0.62, "observed": 0.6, "ci_low": 0.5, "ci_high": 0.72, "n": 45, "coverage": 0.9}
    row = {"question_set": "human", "question": "correctness", "arm": "tuned_both", "against": "base", "value": 0.31}
    row |= {"observed": 0.25, "ci_low": 0.11, "ci_high": 0.52, "p": 0.0001, "n": 45, "decision": "better"}
    return {
        "evaluation": "k",
        "judge": {"name": "large", "read_by": "strict parser"},
        "questions": {
            "correctness": {"about": "the answer is right", "health": good},
            "faithfulness": {"about": "the answer is borne out", "health": bad},
        },
        "scores": {"human": {"base": {"correctness": cell}, "tuned_both": {"correctness": cell | {"value": None}}}},
        "differences": [row],
        "own_answers": ["base"],
    }


def supported() -> dict[str, Any]:
    rate = {"value": 0.71, "interval": [0.6, 0.8], "n": 80}
    cell = {"value": 0.55, "ci_low": 0.5, "ci_high": 0.6, "n": 90, "coverage": 0.75}
    return {
        "evaluation": "k",
        "checker": "lexical",
        "health": {
            "sensitivity": rate,
            "specificity": rate | {"value": 0.93},
            "by_kind": {"negation": rate, "swap": rate | {"value": None}},
        },
        "sets": {"human": {"base": cell, "tuned_both": cell}},
        "verdicts": [verdict(metric="support", delta=-0.05, ci_low=-0.09, ci_high=-0.01, decision="worse")],
    }


def sample() -> dict[str, Any]:
    answers = {"base": cell(0.211), "tuned_both": cell(0.461, coverage=0.9), "closed_book": cell(None, n=0)}
    ranks = {"tuned_hybrid": cell(0.733), "base": cell(0.642), "tuned_both": cell(0.691)}
    history = [{"step": step, "loss": 2 - step / 50, "dev": 0.6 + step / 1000} for step in range(0, 50, 10)]
    embedding = {"strategies": ["lora", "l2_sp"], "chosen": "step 40", "history": history, "settings": {"rank": 16}}
    embedding["candidates"] = [{"name": "base", "dev": 0.6}, {"name": "step 40", "dev": 0.64}]
    fusion = {"chosen": "convex, alpha 0.6", "question_set": "human", "questions": 52, "candidates": []}
    fusion["candidates"] = [
        {"name": "convex, alpha 0.8", "dev": 0.7, "behind": 0.05, "error": 0.0125},
        {"name": "convex, alpha 0.6", "dev": 0.75, "behind": 0.0, "error": 0.0},
    ]
    return {
        "run": "quickstart",
        "verdict": "Tuning both models is better.",
        "created": "2026-11-23T00:12:09+00:00",
        "arms": {
            "tuned_both": {"embedding": "tuned", "llm": "tuned", "retrieval": "dense", "description": "Both tuned."},
            "base": {"embedding": "base", "llm": "base", "retrieval": "dense", "description": "As it came."},
        },
        "question_sets": {
            "synthetic": {"origin": "synthetic", "questions": 412, "documents": 38, "answered": 99, "unanswerable": 9},
            "human": {"origin": "human", "questions": 181, "documents": 24, "answered": 180, "unanswerable": 21},
        },
        "retrieval": {"synthetic": {arm: {"nDCG@10": row} for arm, row in ranks.items()}},
        "response": {
            "human": {arm: {"token_f1": row, "seconds": cell(2 - (row["value"] or 0))} for arm, row in answers.items()}
        },
        "metrics": {
            "token_f1": {"low": 0.0, "high": 1.0, "better": "higher"},
            "seconds": {"low": 0.0, "high": None, "better": "lower"},
        },
        "verdicts": [
            verdict(),
            verdict(metric="seconds", delta=-0.31, ci_low=-0.4, ci_high=-0.2, decision="cannot tell"),
            verdict(question_set="synthetic", metric="nDCG@10", delta=-0.07, ci_low=-0.1, decision="worse"),
        ],
        "funnel": [{"stage": "synthesis", "reason": "written", "count": 5210}, {"stage": "", "reason": "", "count": 0}],
        "training": {"embedding": embedding, "llm": {"strategies": ["full"], "chosen": "base", "history": []}},
        "choices": {"fusion_tuned": fusion},
        "slices": slices(),
        "judges": {"large": judged()},
        "support": supported(),
        "left_out": ["judge.json is not shown."],
        "stages": [{"name": "corpus", "key": "00ff", "seconds": 3900.0, "cached": True}],
        "chosen": {"arm": "tuned_both", "embedding": "MiniLM tuned", "llm": "SmolLM2 tuned", "why": "It wins."},
        "settings": {"corpus": {"chunk": {"size": 400}}, "seed": 7},
        "versions": {"raglift": "0.1.0", "torch": "2.9.0"},
    }


def sample_questions() -> list[dict[str, Any]]:
    passages = [
        {"chunk_id": f"c{n}", "source": f"{n}.pdf", "text": f"passage {n}", "relevant": n == 1, "score": 0.5}
        for n in range(3)
    ]
    arms = {
        "base": {"answer": "No.", "passages": passages, "scores": {"token_f1": 0.123456789, "exact_match": None}},
        "tuned_both": {"answer": "Yes.", "passages": passages[::-1], "scores": {"token_f1": math.nan}},
        "bm25": {"answer": None, "passages": passages[:1], "scores": {}},
    }
    one = {"id": "q1", "question_set": "human", "question": "Is it so?", "answers": ["Yes"], "answerable": True}
    return [one | {"kind": "factoid", "arms": arms}]


FREE_NAMES = {
    *("base", "tuned_both", "tuned_hybrid", "closed_book", "bm25"),
    *("nDCG@10", "token_f1", "exact_match", "seconds", "human", "synthetic"),
    *("corpus", "chunk", "size", "seed", "rank", "raglift", "torch"),
}


def poison(value: Any) -> Any:
    """Every string of `value` with hostile text added, and every key that names an arm, a metric, a set, a setting or
    a package."""
    if isinstance(value, dict):
        return {key + HOSTILE if key in FREE_NAMES else key: poison(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poison(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def reverse_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reverse_keys(value[key]) for key in reversed(value)}
    return [reverse_keys(item) for item in value] if isinstance(value, list) else value


def test_page_is_well_formed_with_landmarks_and_labelled_tables() -> None:
    page = Page(render(sample(), sample_questions()))
    assert page.count("h1") == page.count("main") == page.count("nav") == page.count("footer") == 1
    assert page.count("table") == page.count("caption") > 0
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {(attributes["href"] or "")[1:] for tag, attributes in page.elements if tag == "a"}
    assert targets <= set(ids)


def test_page_loads_nothing() -> None:
    html = render(sample(), sample_questions())
    assert not re.search(r"@import|url\(|https?://", html)
    for tag, attributes in Page(html).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_policy_admits_exactly_the_style_and_script_of_the_page() -> None:
    page = Page(render(sample(), sample_questions()))
    policy = next(a["content"] or "" for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    for directive, text in (("style-src", page.inside("style")[0]), ("script-src", page.inside("script")[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert not any("style" in attributes for _, attributes in page.elements)  # the policy would block it


def test_hostile_text_is_shown_as_text_in_every_field() -> None:
    html = render(poison(sample()), poison(sample_questions()))
    page = Page(html)
    assert page.count("script") == 2
    assert page.count("img") == 0
    assert "<!--" not in html
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    shown = page.text()
    for text in ("Tuning both models is better.", "quickstart", "It wins.", "As it came.", "written", "step 40"):
        assert text + HOSTILE in shown
    for name in ("tuned_hybrid", "nDCG@10", "corpus" + HOSTILE + ".chunk" + HOSTILE + ".size", "torch", "0.1.0"):
        pieces = "".join(text for _, text in page.texts)  # a name may hold line break opportunities
        assert name + HOSTILE in pieces
    labels = [a["aria-label"] or "" for _, a in page.elements if "aria-label" in a]
    assert any("human" + HOSTILE in label for label in labels)
    island = page.island()
    assert island["questions"][0]["question"] == "Is it so?" + HOSTILE
    assert island["passages"][0] == ["c0" + HOSTILE, "0.pdf" + HOSTILE, "passage 0" + HOSTILE]


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>", "\u2028\u2029", "&lt;/script&gt;", '"\\'])
def test_embedded_json_cannot_leave_its_element_and_comes_back_whole(text: str) -> None:
    embedded = str(embed_json({text: [text]}))
    assert not set("<>&") & set(embedded)
    assert json.loads(embedded) == {text: [text]}


def test_script_shows_data_as_text_only() -> None:
    script = Page(render(sample(), sample_questions())).inside("script")[1]
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser|fetch\(", script)


def test_text_that_html_or_utf8_cannot_hold_is_replaced() -> None:
    html = render(sample() | {"verdict": "lone \ud800 and \x00 and \x1b[31m"}, [])
    html.encode("utf-8")
    assert "lone ? and \ufffd and \ufffd[31m" in html


def test_headline_release_scores_and_counts_are_shown() -> None:
    page = Page(render(sample(), sample_questions()))
    assert "".join(page.inside("h1")) == "Tuning both models is better."
    shown = page.text()
    for part in ("MiniLM tuned", "It wins.", "2026-11-23 00:12", "5,210", "1 h 05 min"):
        assert part in shown
    assert "0.461 0.411 to 0.511 90% scored" in shown
    assert "corpus.chunk.size 400" in shown
    assert "tuned_both against base, human questions: ▲ 1 better ▼ 0 worse ○ 1 cannot tell" in shown
    assert "+0.250 +0.188 to +0.312 <0.001 ±0.062 160 ▲ better" in shown
    assert "\N{MINUS SIGN}0.070" in shown


def test_the_best_value_is_marked_and_seconds_count_downward() -> None:
    best = re.findall(r'class="num best">.*?</span>(\S+)', render(sample(), []), re.DOTALL)
    assert best == ["0.461", "1.539", "0.733"]  # token_f1, seconds of the same arm, nDCG@10


def scaled() -> dict[str, Any]:
    """A report of metrics that do not lie in [0, 1], or of which less is better."""
    scales = {"answer_length": (0.0, None, None), "readability": (0.0, 100.0, "higher")}
    scales["wrongly_refused"] = (0.0, 1.0, "lower")
    report = sample() | {
        "slices": {},
        "support": None,
        "metrics": {k: dict(zip(("low", "high", "better"), v, strict=True)) for k, v in scales.items()},
    }
    means = {"base": (12.0, 40.0, 0.3), "tuned_both": (3.0, 70.0, 0.1)}
    report["response"] = {"human": {arm: dict(zip(scales, map(cell, row), strict=True)) for arm, row in means.items()}}
    delta = {"delta": 30.0, "ci_low": 25.0, "ci_high": 35.0, "detectable": 6.0}
    report["verdicts"] = [verdict(), verdict(metric="readability", **delta), verdict(metric="wrongly_refused")]
    return report


def test_the_best_value_is_the_metrics_own_and_what_describes_has_none() -> None:
    html = render(scaled(), [])
    best = re.findall(r'class="num best">.*?</span>(\S+)', html, re.DOTALL)
    assert best == ["0.100", "70.000", "0.733"]  # wrongly_refused, readability, nDCG@10
    shown = Page(html).text()
    assert "wrongly_refused lower is better" in shown
    assert "answer_length neither way is better" in shown
    assert "readability lower" not in shown


def test_the_legend_says_what_every_metric_means() -> None:
    named = [*plugins.names("response metric"), "nDCG@10", "SpanRecall@5", "SpanPrecision@5"]
    report = sample() | {"response": {"human": {"base": {name: cell(0.5) for name in named}}}}
    page = Page(render(report, []))
    assert set(named) <= set(page.inside("dt"))
    assert "the evidence's characters that the first 5 hold" in page.text()


def test_a_metric_on_another_scale_has_an_axis_of_its_own() -> None:
    captions = re.findall(r"<caption>([^<]*?), human questions", render(scaled(), []))
    assert captions == ["Response", "Response", "Readability"]  # the scores, then the differences


def test_base_comes_first_and_human_questions_come_first() -> None:
    html = render(sample(), [])
    for table in re.findall(r'<table class="scores">.*?</table>', html, re.DOTALL):
        assert re.findall(r'<th scope="row">([^<]*)', table)[0] == "base"
    captions = re.findall(r"<caption>((?:Retrieval|Response), \w+)", html)
    assert captions == ["Response, human", "Retrieval, synthetic"] * 2


def test_a_missing_score_is_a_dash_and_never_a_number() -> None:
    report = sample()
    report["response"] = {"human": {"base": {"token_f1": cell(None, coverage=0.25, n=0)}}}
    report["verdicts"] = [verdict(delta=None, ci_low=None, ci_high=math.nan, p=None, detectable=None, n=None)]
    shown = Page(render(report, [])).text()
    assert "token_f1 base \N{EN DASH} no score 25% scored" in shown
    assert "tuned_both" + " \N{EN DASH}" * 4 + " ▲ better" in shown


@pytest.mark.parametrize("report", [{}, {"run": "r", "verdict": "v", "verdicts": [], "retrieval": {"human": {}}}])
def test_an_empty_report_says_what_is_missing(report: dict[str, Any]) -> None:
    shown = Page(render(report, [])).text()
    for part in ("Nothing was chosen", "Nothing was scored", "No arm was compared", "No model was trained"):
        assert part in shown
    assert "No questions were kept" in shown


@pytest.mark.parametrize("part", sorted(sample()))
def test_any_part_may_be_absent_or_empty(part: str) -> None:
    without = {key: value for key, value in sample().items() if key != part}
    assert Page(render(without, sample_questions())).count("h1") == 1
    assert Page(render(without | {part: type(sample()[part])()}, sample_questions())).count("h1") == 1


def test_a_passage_is_stored_once_however_many_arms_found_it() -> None:
    html = render(sample(), sample_questions() * 5)
    island = Page(html).island()
    assert html.count("passage 1") == 1
    assert len(island["passages"]) == 3
    arms = island["questions"][0]["arms"]
    assert arms["base"]["passages"] == [[0, 0.5, False], [1, 0.5, True], [2, 0.5, False]]
    assert arms["tuned_both"]["passages"] == arms["base"]["passages"][::-1]
    assert arms["base"]["scores"] == {"exact_match": None, "token_f1": 0.1235}
    assert arms["tuned_both"]["scores"] == {"token_f1": None}
    assert island["arms"] == ["base", "tuned_both", "bm25"]
    assert island["chosen"] == "tuned_both"


def test_the_same_numbers_give_the_same_bytes_in_any_order_of_keys() -> None:
    once = render(sample(), sample_questions())
    assert once == render(reverse_keys(sample()), reverse_keys(sample_questions()))
    assert once == render(json.loads(json.dumps(sample(), sort_keys=True)), sample_questions())


def test_training_curves_fall_with_the_loss_and_mark_the_chosen_step() -> None:
    html = render(sample(), [])
    loss, dev = re.findall(r'points="([^"]*)"', html)
    heights = [float(point.split(",")[1]) for point in loss.split()]
    assert heights == sorted(set(heights))  # y grows downward
    assert [float(point.split(",")[1]) for point in dev.split()] == heights[::-1]
    assert html.count("at step 40</span>") == 2
    assert "no trained candidate beat the base" in Page(html).text()


def test_long_histories_are_thinned_but_keep_their_ends() -> None:
    report = sample()
    report["training"]["embedding"]["history"] = [{"step": n, "loss": 1.0 + n, "dev": None} for n in range(5003)]
    (loss,) = re.findall(r'points="([^"]*)"', render(report, []))
    points = loss.split()
    assert len(points) <= 402
    assert (points[0], points[-1]) == ("2.0,94.0", "98.0,6.0")


def test_learning_rates_and_the_learning_curve_are_shown() -> None:
    report = sample()
    row = {"chosen": "step 40", "loss": 0.5, "seconds": 3.0}
    embedding = report["training"]["embedding"]
    embedding["sweep"] = [
        {"learning_rate": 2e-5, "dev": 0.31, "kept": False, **row},
        {"learning_rate": 6e-5, "dev": 0.42, "kept": True, **row},
    ]
    embedding["curve"] = [
        {"share": 0.25, "examples": 30, "dev": 0.35, **row},
        {"share": 1.0, "examples": 120, "dev": 0.42, **row},
    ]
    cells = {name: {"value": v, "ci_low": v - 0.1, "ci_high": v + 0.1} for name, v in (("base", 0.3), ("0.25", 0.4))}
    cells["1.0"] = {"value": None, "ci_low": None, "ci_high": None}
    embedding["test"] = {"metric": "nDCG@10", "sets": {"human": cells}}
    html = render(report, [])
    text = Page(html).text()
    for shown in ("Learning rates that were tried", "6e-05 kept", "0.420", "Learning curve", "25%", "100%", "120"):
        assert shown in text, shown
    assert (
        'aria-label="nDCG@10, human test questions: 0.300 (0.200 to 0.400) at 0%, 0.400 (0.300 to 0.500) at 25%"'
        in html
    )
    points = re.findall(r'points="([^"]*)"', html)[-1].split()
    assert [float(point.split(",")[0]) for point in points] == [2.0, 26.0]
    assert [float(point.split(",")[1]) for point in points] == [64.67, 35.33]
    assert html.partition("nDCG@10, human test questions:")[2].count('<line class="whisker better"') == 2


def test_a_recipe_is_shown_with_its_evidence() -> None:
    report = sample()
    row = {"chosen": "step 40", "seconds": 3.0, "ingredient": "", "against": "", "kept": False}
    nothing = dict.fromkeys(("delta", "ci_low", "ci_high", "p"))
    report["training"]["embedding"]["recipe"] = {
        "trials": [
            {**row, **nothing, "tried": "as written", "dev": 0.31},
            {
                **row, "tried": "lora", "dev": 0.42, "against": "as written", "delta": 0.11, "ci_low": 0.05,
                "ci_high": 0.18, "p": 0.034, "kept": True,
            },
        ],
        "left_out": [{"tried": "batches of 128", "why": "it takes <1024> questions"}],
        "taken": ["lora"], "settings": {}, "planned": 2, "level": 0.1, "pairs": 300, "questions": 90, "documents": 12,
    }  # fmt: skip
    text = Page(render(report, [])).text()
    for shown in (
        "Recipe: lora, by 90 development questions of 12 documents; 300 questions train.",
        "corrected for 2 trials",
        "lora taken",
        "+0.110 (+0.050 to +0.180)",
        "0.034",
        "not tried: it takes <1024> questions",
    ):
        assert shown in text, shown


def place(svg: str, kind: str, attribute: str) -> list[float]:
    return [float(x) for x in re.findall(rf'class="{kind}[^"]*" (?:[^>]*? )?{attribute}="([-\d.]+)%"', svg)]


def test_positions_in_the_forest_plot_rise_with_the_difference() -> None:
    deltas = [-0.31, -0.3, -0.02, 0.0, 0.001, 0.07, 0.4]
    rows = [verdict(delta=d, ci_low=d - 0.03, ci_high=d + 0.05, detectable=0.1) for d in deltas]
    axis = fit_axis(rows)
    drawn = [str(draw_row(row, axis)) for row in rows]
    marks = [place(svg, "mark", "x")[0] for svg in drawn]
    assert marks == sorted(set(marks))
    assert all(0 < mark < 100 for mark in marks)
    (zero,) = {place(svg, "zero", "x1")[0] for svg in drawn}
    assert marks[3] == zero
    for svg, mark in zip(drawn, marks, strict=True):
        (left,), (right,) = place(svg, "whisker", "x1"), place(svg, "whisker", "x2")
        assert left < mark < right
        assert (mark - left) / (right - mark) == pytest.approx(0.03 / 0.05, rel=0.01)
        (start,), (width,) = place(svg, "band", "x"), place(svg, "band", "width")
        assert start + width / 2 == pytest.approx(zero, abs=0.01)


def test_axis_shows_zero_and_round_ticks_inside_it() -> None:
    axis = fit_axis([verdict(delta=0.2, ci_low=0.17, ci_high=0.23, detectable=0.04)])
    assert axis.low <= -0.04 < 0.23 <= axis.high
    assert any(abs(tick) < 1e-12 for tick in axis.ticks)
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert re.findall(r">([^<>]+)</text>", str(draw_axis(axis))) == ["0", "+0.05", "+0.10", "+0.15", "+0.20"]


def test_an_interval_far_wider_than_the_effects_ends_in_arrows_and_leaves_them_legible() -> None:
    wide = verdict(delta=0.05, ci_low=-1.0, ci_high=1.0, detectable=0.04)
    narrow = verdict(delta=0.03, ci_low=0.01, ci_high=0.05, detectable=0.02)
    axis = fit_axis([wide, narrow])
    assert axis.high - axis.low < 0.3
    assert "M-4,-4 L2,0" in draw_row(wide, axis)
    assert "M4,-4 L-2,0" in draw_row(wide, axis)
    assert "L2,0" not in draw_row(narrow, axis)


def test_decisions_differ_in_shape_and_not_only_in_colour() -> None:
    axis = fit_axis([verdict()])
    drawn = [draw_row(verdict(decision=name), axis) for name in ("better", "worse", "cannot tell")]
    assert len({re.findall(r'd="([^"]+)"', svg)[-1] for svg in drawn}) == 3


def test_a_plot_without_numbers_is_still_drawn() -> None:
    empty = verdict(delta=None, ci_low=None, ci_high=None, detectable=None)
    axis = fit_axis([empty])
    assert axis.low < 0 < axis.high
    svg = str(draw_row(empty, axis))
    assert place(svg, "zero", "x1") == [50.0]
    assert "mark" not in svg
    assert "whisker" not in svg


def test_families_of_metrics_have_panels_of_their_own() -> None:
    rows = [verdict(), verdict(metric="seconds"), verdict(arm="tuned_llm"), verdict(question_set="synthetic")]
    drawn = panels(rows, lambda metric: "time" if metric == "seconds" else "response")
    assert [panel.family for panel in drawn] == ["response", "time", "response"]
    assert [panel.question_set for panel in drawn] == ["human", "human", "synthetic"]
    assert [row.arm for row in drawn[0].groups[0][1]] == ["tuned_both", "tuned_llm"]


def test_what_the_splits_share_is_shown_with_what_is_allowed() -> None:
    row = {"what": HOSTILE, "against": "train documents", "count": 1234, "total": 20000, "share": 0.0617, "limit": 0.25}
    page = Page(render({**sample(), "audit": [row | {"pairs": []}]}, []))
    assert f"{HOSTILE} also in train documents 1,234 20,000 0.062 0.250" in page.text()
    assert "What the splits have in common" not in Page(render(sample(), [])).text()


def test_how_passages_are_found_is_shown_with_all_that_was_tried() -> None:
    page = Page(render(sample(), []))
    words = page.text()
    for said in (
        "Words and the tuned embedding model",
        "by 52 human development questions",
        "convex, alpha 0.8",
        "0.05",
    ):
        assert said in words
    assert "Words and the base" not in words
    few = sample()
    few["choices"]["fusion_tuned"] |= {"question_set": None, "questions": 0}
    assert "too few development questions" in Page(render(few, [])).text()
    assert "Retrieval" in Page(render(few, [])).inside("a")
    assert "Retrieval" not in Page(render(sample() | {"choices": {}}, [])).inside("a")


def test_certain_harms_stand_first_and_arms_that_share_one_share_a_row() -> None:
    page = Page(render(sample(), []))
    shown = page.text()
    assert "Tuning certainly hurt in 2 of the 3 slices that could be judged, over 2 arms." in shown
    harm = (
        "keyword kind of question tuned_both, tuned_embedding against base nDCG@10 human questions \N{MINUS SIGN}0.125"
    )
    assert shown.count(harm) == 1
    assert shown.index(harm) < shown.index("factoid kind of question")
    assert "nDCG@10, human questions (2 judged, 1 too small)" in shown
    assert "claim kind of question \N{MINUS SIGN}0.500 4 12 fewer than 10 questions" in shown
    assert "human: no slices by document: it has one" in shown
    assert "about another arm" not in shown
    assert ("a", {"href": "#slices"}) in page.elements
    other = slices()["rows"][0] | {"question_set": "another"}
    report = sample()
    report["slices"]["rows"].insert(0, other)
    titles = re.findall(r"<summary>(nDCG@10, \w+ questions)", render(report, []))
    assert titles == ["nDCG@10, human questions", "nDCG@10, another questions"]


def test_where_nothing_certainly_hurt_it_is_not_called_proof() -> None:
    report = sample()
    report["slices"]["rows"] = [row for row in report["slices"]["rows"] if row["decision"] != "worse"]
    shown = Page(render(report, [])).text()
    assert "certainly hurt in none of the 1 slices" in shown
    assert "no proof" in shown
    assert "Certain harms" not in shown
    report["slices"]["rows"] = [row for row in report["slices"]["rows"] if row["decision"] == "not judged"]
    assert "No slice could be judged: each has fewer than 10" in Page(render(report, [])).text()


def test_a_judge_is_shown_with_its_health_and_why_it_is_refused() -> None:
    shown = Page(render(sample(), [])).text()
    assert "correctness the answer is right 0.90 0.80 to 0.95, n = 100 0.90 0.80 to 0.95, n = 100 +0.80" in shown
    assert "refused : it is not told from chance" in shown
    assert "base 0.62 0.50 to 0.72 as judged 0.60, n = 45 90% judged tuned_both chosen" not in shown
    assert "base 0.62 0.50 to 0.72 as judged 0.60, n = 45 90% judged tuned_both \N{EN DASH}" in shown
    assert "tuned_both against base correctness human questions +0.31 +0.11 to +0.52 +0.25 <0.001 45 ▲ better" in shown
    assert "It wrote the answers of base itself" in shown


def test_support_stands_below_how_often_its_checker_is_right() -> None:
    shown = Page(render(sample(), [])).text()
    health = shown.index("Unsupported claims that it finds (sensitivity) 0.71 0.60 to 0.80, n = 80")
    table = shown.index("tuned_both 0.550 0.500 to 0.600 75% checked 90 \N{MINUS SIGN}0.050")
    assert health < table
    assert "swap \N{EN DASH}" in shown
    assert "left out of this report: judge.json is not shown." in shown


@pytest.mark.parametrize("part", ["slices", "judges", "support", "left_out"])
def test_what_no_command_left_has_no_section(part: str) -> None:
    page = Page(render({key: value for key, value in sample().items() if key != part}, []))
    assert part not in [attributes.get("id") for _, attributes in page.elements]
    assert "left out of this report" not in page.text() or part != "left_out"
