"use strict";
// Asks for the state of the sweep, shows it without losing focus or ticks, and has the drawing read by the chosen runs.
(() => {
  const id = (name) => document.getElementById(name);
  const element = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);
  const put = (node, text) => node.textContent !== text && (node.textContent = text);
  const show = (node, text) => { put(node, text); node.hidden = !text; };
  const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6d00", "#777777"];
  const symbols = ["circle", "rect", "triangle", "diamond", "pin", "arrow", "roundRect", "emptyCircle"];
  const marks = { best: "b", collapsed: "c", "not yet learned": "n", unclear: "u", diverged: "d", failed: "f" };
  const MOST = 8, EVERY = 1500, PATIENCE = 60;
  let state = { rows: [], running: [], curves: [] };
  let ticked = null;  // the names of runs, once the reader has chosen; before that it is the best one

  // Rows by name: those that stay keep their elements, so that neither focus nor ticks nor the scroll position are lost
  function sync(body, items, make, update) {
    const there = new Map([...body.rows].map((row) => [row.dataset.id, row]));
    items.forEach((item, at) => {
      let row = there.get(item.id);
      row ??= make(item);
      row.dataset.id = item.id;
      there.delete(item.id);
      update(row, item);
      if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
    });
    there.forEach((row) => row.remove());
  }

  const known = () => new Map([...state.rows, ...state.running].filter((run) => run.drawable).map((run) => [run.id, run]));
  function chosen() {
    const runs = known();
    if (ticked) return [...ticked].filter((name) => runs.has(name));
    const first = [state.best, ...state.rows.map((run) => run.id), ...state.running.map((run) => run.id)].find((name) => runs.has(name));
    return first ? [first] : [];
  }
  function box(run) {
    const cell = element("td", "", { className: "t" });
    const input = element("input", "", { type: "checkbox" });
    input.addEventListener("change", () => {
      ticked = new Set(chosen());
      input.checked ? ticked.add(run.id) : ticked.delete(run.id);
      mark();
      read();
    });
    cell.append(input);
    return cell;
  }
  function mark() {
    const now = new Set(chosen()), full = now.size >= MOST;
    document.querySelectorAll("#runs-table tbody tr, #running-table tbody tr").forEach((row) => {
      const input = row.querySelector("input"), isOn = now.has(row.dataset.id);
      if (input.checked !== isOn) input.checked = isOn;
      input.disabled = row.dataset.drawable !== "true" || (full && !isOn);
      row.classList.toggle("drawn", isOn);
    });
    put(id("choice"), full ? `${MOST} runs read what you draw; untick one to choose another.`
      : ticked ? `${now.size} run${now.size === 1 ? " reads" : "s read"} what you draw. Tick up to ${MOST}.`
      : now.size ? "The best run reads what you draw. Tick up to 8 runs to see them side by side." : "No run has a network to draw for yet.");
  }
  const identify = (row, run, name) => {
    row.dataset.drawable = String(run.drawable);
    const input = row.querySelector("input");
    input.setAttribute("aria-label", `draw for ${name}`);
    input.title = run.drawable ? "" : "has no checkpoint";
  };

  function showRuns() {
    const head = id("runs-table").tHead.rows[0], columns = state.columns;
    const names = JSON.stringify(columns);
    if (head.dataset.names !== names) {
      head.dataset.names = names;
      id("runs-table").tBodies[0].replaceChildren();
      head.replaceChildren(...(columns.length ? [element("th", "draw", { className: "t", scope: "col" })] : []),
        ...columns.map((c) => element("th", c.name, { className: c.classes, title: c.about, scope: "col" })));
    }
    sync(id("runs-table").tBodies[0], state.rows, (run) => {
      const row = element("tr");
      row.append(box(run), ...columns.map((c) => element("td", "", { className: c.classes })));
      return row;
    }, (row, run) => {
      identify(row, run, `${run.cells[0] ? `rank ${run.cells[0]}, ` : ""}${run.label}`);
      row.className = marks[run.mark] ?? "";
      run.cells.forEach((text, i) => put(row.cells[i + 1], text));
    });
    id("runs-region").hidden = !state.rows.length;
    put(id("rule"), state.rows.length ? state.rule : "No run has a record yet.");
    put(id("more"), state.more ? `The first ${state.rows.length.toLocaleString("en")}; ${state.more.toLocaleString("en")} more are in report.html.` : "");
  }

  function showRunning() {
    id("running-section").hidden = !state.running.length;
    sync(id("running-table").tBodies[0], state.running, (run) => {
      const row = element("tr");
      row.append(box(run), ...["t", "t", "t", "t", ""].map((className) => element("td", "", { className })));
      row.cells[3].append(element("progress", "", { max: 1 }), element("span"));
      return row;
    }, (row, run) => {
      identify(row, run, run.label);
      put(row.cells[1], run.label + (run.together > 1 ? ` (${run.together} together)` : ""));
      put(row.cells[2], run.how_far);
      const bar = row.cells[3].firstChild;
      bar.setAttribute("aria-label", `${run.label} done`);
      bar.hidden = run.fraction === null;
      bar.value = run.fraction ?? 0;
      put(row.cells[3].lastChild, run.fraction === null ? "" : `${Math.floor(100 * run.fraction)} %`);
      put(row.cells[4], run.left);
      put(row.cells[5], run.accuracy === null ? "" : run.accuracy.toFixed(4));
    });
  }

  function showFailures() {
    id("failures-section").hidden = !state.failures.length;
    sync(id("failures-table").tBodies[0], state.failures.map((f, i) => ({ ...f, id: `${i} ${f.label}` })), () => {
      const row = element("tr");
      row.append(...["t", "t", "wide"].map((className) => element("td", "", { className })));
      return row;
    }, (row, f) => [f.label, f.what, f.why].forEach((text, i) => put(row.cells[i], text)));
    put(id("more-failures"), state.more_failures ? `and ${state.more_failures.toLocaleString("en")} more, see report.html` : "");
  }

  let chart = null;
  const looks = new Map();  // a run keeps its colour and symbol while it is shown
  function giveLooks(names) {
    [...looks.keys()].filter((name) => !names.includes(name)).forEach((name) => looks.delete(name));
    for (const name of names) {
      const taken = new Set(looks.values());
      if (!looks.has(name)) looks.set(name, [...Array(names.length).keys()].find((i) => !taken.has(i)) ?? taken.size);
    }
  }
  const look = (name) => {
    const at = looks.get(name);
    return { color: palette[at % palette.length], symbol: symbols[(at + Math.floor(at / palette.length)) % symbols.length] };
  };
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function showCurves() {
    const { curves } = state;
    id("no-curves").hidden = curves.length > 0;
    id("chart").hidden = id("legend").hidden = !curves.length;
    if (!curves.length) return;
    giveLooks(curves.map((c) => c.id));
    chart ??= echarts.init(id("chart"));
    chart.resize();
    const lines = { axisLine: { onZero: false, lineStyle: { color: style("--faint") } }, axisLabel: { color: style("--ink"), hideOverlap: true },
      nameTextStyle: { color: style("--ink") }, splitLine: { lineStyle: { color: style("--line") } } };
    const last = Math.max(2, ...curves.map((c) => c.points.at(-1)[0]));
    chart.setOption({ animation: false, grid: { left: 62, right: 16, top: 30, bottom: 48 },
      xAxis: { ...lines, type: "value", min: 1, max: last, minInterval: 1, splitLine: { show: false }, name: "epoch", nameLocation: "middle", nameGap: 30 },
      yAxis: { ...lines, type: "value", scale: true, name: "validation accuracy", nameTextStyle: { color: style("--ink"), align: "left" } },
      tooltip: { trigger: "item", confine: true, backgroundColor: style("--card"), borderColor: style("--line"), textStyle: { color: style("--ink") },
        formatter: (p) => {
          const tip = element("div");
          tip.append(element("strong", curves[p.seriesIndex].label), element("div", `epoch ${p.value[0]}: ${p.value[1].toFixed(4)}`));
          return tip;
        } },
      series: curves.map((c) => ({ type: "line", ...look(c.id), symbolSize: 7, showAllSymbol: c.points.length < 60, triggerLineEvent: true,
        lineStyle: { type: c.running ? "dashed" : "solid", width: 2 }, data: c.points })) }, { notMerge: true });
    id("legend").replaceChildren(...curves.map((c) => {
      const item = element("span", `${c.label}${c.running ? " (running)" : ""}`);
      const key = element("i", c.running ? "╍" : "━");
      key.style.color = look(c.id).color;
      item.prepend(key);
      return item;
    }));
  }

  function showState() {
    const gone = state.state === "gone";
    show(id("problem"), state.problem ?? "");
    put(id("directory"), state.directory);
    put(id("clock"), { running: "at work", finished: "finished", incomplete: "nobody is at work" }[state.state] ?? "");
    if (gone) return;  // what was there stays to be read
    put(id("counts"), state.counts);
    document.title = state.planned ? `${state.done} of ${state.planned} · mnist_lightning` : "mnist_lightning";
    id("progress").hidden = !state.planned;
    id("progress").value = state.planned ? state.done / state.planned : 0;
    id("notices").replaceChildren(...state.notices.map((text) => element("p", text, { className: "notice" })));
    showRuns();
    showRunning();
    showFailures();
    showCurves();
    const before = asked;
    mark();
    if (before !== null && before !== chosen().join()) read();  // another run is the best now
  }

  let tag = "", lost = 0;
  async function poll() {
    try {
      const reply = await fetch("/state", { headers: tag ? { "If-None-Match": tag } : {} });
      if (reply.status === 200) {
        const told = await reply.json();
        state = told.state === "gone" ? { ...state, state: "gone", problem: told.problem, directory: told.directory } : told;
        showState();
        tag = reply.headers.get("ETag");
      } else if (reply.status !== 304) throw new Error((await reply.text()).trim());
      else if (lost) showState();
      lost = 0;
    } catch (error) {
      lost += 1;
      if (lost > 1) show(id("problem"), "The server does not answer; it was ended, or is busy. What is shown is what it told last.");
    }
    if (!document.hidden) setTimeout(poll, lost ? Math.min(EVERY * lost, 10000) : EVERY);
    else waiting = true;
  }
  let waiting = false;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !waiting) return;
    waiting = false;
    poll();
  });

  // One drawing is under way; while it is, only the newest waits
  let underway = false, again = false, asked = null, timer = 0;
  const loaded = new Set();  // runs whose networks have answered
  const percent = (p) => p.toFixed(2);
  function read() {
    clearTimeout(timer);
    timer = setTimeout(ask, PATIENCE);
  }
  async function ask() {
    if (drawing.isEmpty()) return forget();
    if (underway) return void (again = true);
    underway = true;
    again = false;
    const runs = chosen(), names = known();
    asked = runs.join();
    const slow = runs.every((name) => loaded.has(name)) ? 0 : setTimeout(() => put(id("said"), "Loading the network ..."), 400);
    try {
      const reply = await fetch(`/answer?runs=${asked}`, { method: "POST", body: await drawing.png(), headers: { "Content-Type": "image/png" } });
      if (reply.status === 409) again = true;
      else if (!reply.ok) throw new Error((await reply.text()).trim());
      else {
        const told = await reply.json();
        runs.forEach((name) => loaded.add(name));
        if (!drawing.isEmpty()) tell(told, runs.map((name) => names.get(name)?.label ?? ""));
      }
    } catch (error) {
      show(id("wrong"), error instanceof TypeError ? "The server does not answer." : error.message);
    }
    clearTimeout(slow);
    underway = false;
    if (again) timer = setTimeout(ask, PATIENCE);
    else if (drawing.isEmpty()) forget();
  }
  function forget() {
    asked = null;
    id("seen").hidden = id("answers").hidden = true;
    show(id("wrong"), "");
    put(id("said"), "");
  }
  function tell(told, labels) {
    show(id("wrong"), "");
    id("seen").hidden = !told.seen;
    if (told.seen) id("seen-image").src = told.seen;
    const answers = told.answers.map((answer, i) => ({ ...answer, label: labels[i] }));
    answers.forEach((a) => a.probabilities && (a.digit = a.probabilities.indexOf(Math.max(...a.probabilities))));
    const said = answers.map((a) => (answers.length > 1 ? `${a.label}: ` : "") + (a.problem ?? `${a.digit}, ${percent(a.probabilities?.[a.digit] ?? 0)}`));
    id("said").classList.toggle("short", answers.length < 2);
    put(id("said"), !told.seen ? "No digit is in it yet." : answers.length ? said.join("; ") : "No run has a network yet that could read it.");
    id("answers").hidden = !told.seen || !answers.length;
    if (id("answers").hidden) return;
    const table = id("answers").querySelector("table");
    table.tHead.rows[0].replaceChildren(element("th", "digit", { className: "t", scope: "col" }), ...answers.map((a) => element("th", a.label, { scope: "col" })));
    table.tBodies[0].replaceChildren(...[...Array(10).keys()].map((digit) => {
      const row = element("tr");
      row.append(element("th", String(digit), { className: "t", scope: "row" }));
      answers.forEach((a) => {
        if (!a.probabilities) {
          if (!digit) row.append(element("td", a.problem, { className: "lost", rowSpan: 10 }));
          return;
        }
        const cell = element("td", percent(a.probabilities[digit]), { className: digit === a.digit ? "top" : "" });
        const bar = element("i");
        bar.style.width = `${(4 * a.probabilities[digit]).toFixed(3)}rem`;
        cell.append(bar);
        row.append(cell);
      });
      return row;
    }));
  }
  drawing.onChange(read);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showCurves);
  new ResizeObserver(() => chart?.resize()).observe(id("chart"));
  window.mnistLightning = { chart: () => chart };  // for tests and for the console
  poll();
})();
