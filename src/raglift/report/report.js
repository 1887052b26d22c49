"use strict";
// The side-by-side view of the questions. Every text is set as text, never as markup: it comes from documents and
// models, which are not trusted.
(() => {
  const BASE = "base";
  const PAGE = 50; // questions listed at a time
  const island = document.getElementById("question-data");
  const form = document.getElementById("question-filter");
  const list = document.getElementById("question-list");

  // Folded parts do not print; open all but the questions, which are opened one by one on purpose.
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not(#question-list details)")) part.open = true;
  });
  if (!island || !form || !list) return;

  const data = JSON.parse(island.textContent);
  const set = form.elements.namedItem("set");
  const arm = form.elements.namedItem("arm");
  const show = form.elements.namedItem("show");
  const search = form.elements.namedItem("search");
  const count = document.getElementById("question-count");
  const more = document.getElementById("question-more");
  let limit = PAGE;

  const element = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const option = (value, label) => {
    const node = element("option", "", label);
    node.value = value;
    return node;
  };
  const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
  const tidy = (text) => text.replace(/\s+/gu, " ").trim();

  // Names of arms come from the data, so one may equal the name of something that every object inherits.
  const found = (question, name) => (Object.hasOwn(question.arms, name) ? question.arms[name] : null);

  // How an arm differs from the base on one question; a part that either of them lacks is no difference.
  const compare = (question, name) => {
    const before = found(question, BASE);
    const after = found(question, name);
    const result = { answer: false, ranking: false, score: () => null };
    if (!before || !after || name === BASE) return result;
    if (typeof before.answer === "string" && typeof after.answer === "string") {
      result.answer = tidy(before.answer) !== tidy(after.answer);
    }
    if (before.passages.length && after.passages.length) {
      const order = (result) => result.passages.map((passage) => passage[0]).join();
      result.ranking = order(before) !== order(after);
    }
    result.score = (metric) => {
      const [old, now] = [before.scores[metric], after.scores[metric]];
      return typeof old === "number" && typeof now === "number" ? [old, now] : null;
    };
    return result;
  };

  const scored = new Set();
  for (const question of data.questions) {
    for (const result of Object.values(question.arms)) Object.keys(result.scores).forEach((metric) => scored.add(metric));
  }
  const first = (...names) => names.find((name) => scored.has(name));
  const telling = [first("token_f1", "exact_match", "rouge_l"), first("nDCG@10", "RR@10", "AP")].filter(Boolean);

  const tests = {
    changed: ["answer or ranking changed", (change) => change.answer || change.ranking],
    answer: ["answer changed", (change) => change.answer],
    ranking: ["ranking changed", (change) => change.ranking],
  };
  for (const metric of telling) {
    const test = (holds) => (change) => {
      const pair = change.score(metric);
      return pair !== null && holds(...pair);
    };
    tests[`${metric} higher`] = [`${metric} higher than base`, test((old, now) => now > old + 1e-9)];
    tests[`${metric} lower`] = [`${metric} lower than base`, test((old, now) => now < old - 1e-9)];
  }

  // The reference answers, marked where a passage holds them word for word.
  const marked = (text, answers) => {
    const wanted = (answers || []).filter((answer) => answer.trim().length > 2);
    if (!wanted.length) return [text];
    const longestFirst = wanted.sort((a, b) => b.length - a.length);
    const escaped = longestFirst.map((answer) => answer.replace(/[.*+?^${}()|[\]\\\/]/gu, "\\$&"));
    const parts = text.split(new RegExp(`(${escaped.join("|")})`, "iu"));
    return parts.map((part, at) => (at % 2 ? element("mark", "", part) : part));
  };

  const passageItem = (question, passage, rank, before) => {
    const [place, score, relevant] = passage;
    const [, source, text] = data.passages[place];
    const old = before ? before.findIndex((other) => other[0] === place) : rank;
    let moved = null;
    if (old < 0) moved = element("span", "move", "not in base");
    else if (old !== rank) moved = element("span", "move", `${old > rank ? "up" : "down"} from ${old + 1}`);
    const head = element(
      "span", "head", element("b", "", `${rank + 1}.`),
      relevant ? element("span", "relevant", "✓ relevant") : null, moved,
      element("span", "source", source), element("span", "score", number(score)),
    );
    const summary = element("summary", "", head, element("span", "preview", ...marked(text.slice(0, 240), question.answers)));
    const whole = element("details", "passage", summary, element("p", "text", ...marked(text, question.answers)));
    return element("li", "", whole);
  };

  const armColumn = (question, name) => {
    const result = found(question, name);
    const change = compare(question, name);
    const title = element("h4", "", name, name === data.chosen ? element("small", "", " chosen") : null);
    const answered = typeof result.answer === "string";
    const said = answered ? result.answer || "(empty answer)" : "No answer: this arm only ranks, or writing failed.";
    const answer = element("p", answered ? "answer" : "answer none", said);
    const scores = element("dl", "scores");
    for (const [metric, value] of Object.entries(result.scores)) {
      scores.append(element("div", "", element("dt", "", metric), element("dd", "", number(value))));
    }
    const base = name === BASE ? null : found(question, BASE);
    const before = base && base.passages.length ? base.passages : null;
    const passages = element("ol", "", ...result.passages.map((passage, rank) => passageItem(question, passage, rank, before)));
    const badges = [change.answer ? "answer changed" : "", change.ranking ? "ranking changed" : ""].filter(Boolean);
    return element(
      "section", name === data.chosen ? "arm chosen" : "arm", title,
      element("p", "badges", ...badges.map((text) => element("span", "badge", text))), answer, scores,
      result.passages.length ? passages : element("p", "none", "No passages."),
    );
  };

  const shownArms = () => Array.from(form.querySelectorAll("fieldset input:checked"), (box) => box.value);

  const fill = (entry) => {
    const { question, node } = entry;
    const references = element("p", "reference");
    if (question.answerable === false) references.append("The documents do not answer this question: declining is right.");
    else if (question.answers && question.answers.length) {
      references.append(element("b", "", "Reference: "), question.answers.join(" · "));
    } else references.append("There is no reference answer.");
    const columns = element("div", "columns scroll");
    columns.tabIndex = 0;
    columns.setAttribute("role", "region");
    columns.setAttribute("aria-label", "Arms side by side");
    columns.append(...shownArms().filter((name) => found(question, name)).map((name) => armColumn(question, name)));
    if (!columns.childElementCount) columns.append(element("p", "none", "None of the arms shown met this question."));
    node.replaceChildren(node.firstElementChild, references, columns);
  };

  const entries = data.questions.map((question) => {
    const badges = element("span", "badges");
    const labels = [question.question_set, question.kind, question.answerable === false ? "unanswerable" : ""].filter(Boolean);
    const summary = element("summary", "", element("span", "question", question.question || "(empty question)"), badges);
    const entry = { question, labels, badges, node: element("details", "question", summary) };
    const answers = Object.values(question.arms).map((result) => result.answer || "");
    entry.haystack = [question.id, question.question, ...(question.answers || []), ...answers].join("\n").toLowerCase();
    entry.node.addEventListener("toggle", (event) => {
      if (event.target === entry.node && entry.node.open) fill(entry);
    });
    return entry;
  });

  const refresh = () => {
    const needle = search.value.trim().toLowerCase();
    let matching = 0;
    for (const entry of entries) {
      const change = compare(entry.question, arm.value);
      const keep =
        (!set.value || entry.question.question_set === set.value) &&
        (!show.value || tests[show.value][1](change)) &&
        (!needle || entry.haystack.includes(needle));
      if (keep) matching += 1;
      entry.node.hidden = !keep || matching > limit;
      if (entry.node.hidden) continue;
      const badges = entry.labels.map((label) => element("span", "badge plain", label));
      if (change.answer) badges.push(element("span", "badge", "answer changed"));
      if (change.ranking) badges.push(element("span", "badge", "ranking changed"));
      for (const metric of telling) {
        const pair = change.score(metric);
        if (!pair || Math.abs(pair[0] - pair[1]) < 5e-4) continue;
        badges.push(element("span", "badge score", `${metric} ${number(pair[0])} → ${number(pair[1])}`));
      }
      entry.badges.replaceChildren(...badges);
    }
    const cut = matching > limit ? `, the first ${limit} listed` : "";
    count.textContent = `${matching} of ${entries.length} questions${matching ? cut : ": loosen the filters to see some"}`;
    more.hidden = !cut;
  };

  // By default what fits beside each other: the base, the chosen arm, and the first others.
  const wanted = new Set([BASE, data.chosen, ...data.arms].filter((name) => data.arms.includes(name)));
  const shown = new Set([...wanted].slice(0, 4));
  for (const name of data.arms) {
    const box = element("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = shown.has(name);
    form.querySelector("fieldset").append(element("label", "", box, ` ${name}`));
    if (name !== BASE) arm.append(option(name, name));
  }
  const sets = [...new Set(data.questions.map((question) => question.question_set))].sort();
  set.append(...sets.map((name) => option(name, name)));
  show.append(...Object.entries(tests).map(([key, [label]]) => option(key, label)));
  if (data.chosen !== BASE && data.arms.includes(data.chosen)) arm.value = data.chosen;

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.type === "checkbox") entries.filter((entry) => entry.node.open).forEach(fill);
    else {
      limit = PAGE;
      refresh();
    }
  });
  more.addEventListener("click", () => {
    limit += PAGE;
    refresh();
  });
  list.append(...entries.map((entry) => entry.node));
  form.hidden = false;
  refresh();
})();
