"use strict";
// Sorting and filtering of the table of runs; without JavaScript the page shows all runs, best first.
(() => {
  const table = document.getElementById("runs-table");
  if (!table) return;
  const body = table.tBodies[0], rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const value = (row, i) => {
    const text = row.cells[i].textContent, number = Number(text.replaceAll(",", ""));
    return text === "" || text === "nan" ? null : text === "inf" ? Infinity : text === "-inf" ? -Infinity : isNaN(number) ? text : number;
  };
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
      const keyed = rows.map((row, at) => [value(row, i), at, row]);
      // what is no value stays at the end, equals keep their rank
      keyed.sort(([a, x], [b, y]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)) || x - y);
      body.append(...keyed.map((k) => k[2]));
    });
  });
  const form = document.getElementById("filters"), count = document.getElementById("count");
  const chosen = Array.from(form.querySelectorAll("select")), search = form.querySelector("input");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      const keep = chosen.every((s) => s.value === "" || row.cells[s.dataset.column].textContent === s.value) && words.every((w) => text.includes(w));
      row.hidden = !keep;
      shown += keep;
    }
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} run${rows.length === 1 ? "" : "s"} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
})();
