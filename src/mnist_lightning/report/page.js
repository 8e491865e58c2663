"use strict";
// Sorting and filtering of the table of runs; without JavaScript the page shows all runs, best first.
// `runs` is what explore.js builds on: rows in their first order, values by column, and which rows are shown.
const runs = (() => {
  const table = document.getElementById("runs-table");
  if (!table) return null;
  const body = table.tBodies[0], rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const kept = new Map();
  const texts = (i) => {
    if (!kept.has(i)) kept.set(i, rows.map((row) => row.cells[i].textContent));
    return kept.get(i);
  };
  const value = (text) => {
    const number = Number(text.replaceAll(",", ""));
    return text === "" || text === "nan" ? null : text === "inf" ? Infinity : text === "-inf" ? -Infinity : isNaN(number) ? text : number;
  };
  const values = (i) => texts(i).map(value);
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  heads.forEach((head, i) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      // what is better stands first: accuracies begin with the highest
      const start = head.dataset.first || "ascending", other = start === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === start ? other : start;
      heads.forEach((h) => h.querySelector("button") && h.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const keyed = values(i).map((v, at) => [v, at]);
      // what is no value stays at the end, equals keep their rank
      keyed.sort(([a, x], [b, y]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)) || x - y);
      order = keyed.map(([, at]) => at);
      body.append(...order.map((at) => rows[at]));
      list();
    });
  });
  const form = document.getElementById("filters"), count = document.getElementById("count");
  const chosen = Array.from(form.querySelectorAll("select")), search = form.querySelector("input");
  const listeners = [];
  let most = 1000;  // rows that are listed at once: laying out ten thousand takes seconds
  let order = rows.map((_, at) => at);
  let narrowed = null;  // rows that a chart leaves, by number; null for all
  let whole = null;
  const asked = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = chosen.filter((s) => s.value !== "").map((s) => [texts(s.dataset.column), s.value]);
    if (words.length && !whole) whole = rows.map((row) => row.textContent.toLowerCase());
    return rows.map((_, at) => wanted.every(([column, text]) => column[at] === text) && words.every((w) => whole[at].includes(w)));
  };
  let byForm = rows.map(() => true), shown = byForm;
  const apply = (event) => {
    if (event) byForm = asked();
    shown = narrowed ? byForm.map((keep, at) => keep && narrowed.has(at)) : byForm;
    list();
    listeners.forEach((listener) => listener());
  };
  const all = document.createElement("button");
  const list = () => {
    let number = 0;
    for (const at of order) {
      number += shown[at];
      const keep = shown[at] && number <= most;
      if (rows[at].hidden === keep) rows[at].hidden = !keep;
    }
    const figure = (n) => n.toLocaleString("en");
    count.textContent = `${figure(number)} of ${figure(rows.length)} run${rows.length === 1 ? "" : "s"} shown`;
    if (number > most) count.textContent += `, the first ${figure(most)} listed`;
    all.hidden = number <= most;
  };
  const listAll = () => {
    most = Infinity;
    list();
  };
  Object.assign(all, { type: "button", textContent: "List all", hidden: true });
  all.addEventListener("click", listAll);
  count.after(all);
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  if (rows.length > most) list();
  window.addEventListener("beforeprint", listAll);
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  const narrow = (some) => {
    narrowed = some;
    apply();
  };
  return { table, rows, heads, texts, values, compare, narrow, onChange: (listener) => listeners.push(listener), byForm: () => byForm, shown: () => shown };
})();
