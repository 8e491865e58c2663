"use strict";
// The section Explore: charts of the runs which the filters leave, and the runs that are ticked side by side.
// It reads the table of runs and the curves that lie beside it; without JavaScript the section is not there.
(() => {
  const section = document.getElementById("explore-runs");
  if (!section || !runs) return;
  const { rows, heads } = runs;
  const id = (name) => document.getElementById(`explore-${name}`);
  const curves = JSON.parse(id("curves").textContent);  // of each row: validation accuracy by epoch, in 1/10,000
  const columns = heads.map((head, at) => ({ at, name: head.textContent, kind: head.dataset.kind })).filter((c) => c.kind);
  const keys = columns.filter((c) => c.kind === "key"), results = columns.filter((c) => c.kind === "result");
  const accuracy = results.find((c) => c.name === "test accuracy");
  const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6d00", "#777777"];
  const symbols = ["circle", "rect", "triangle", "diamond", "pin", "arrow", "roundRect", "emptyCircle"];
  const label = (at) => keys.map((c) => [c, runs.texts(c.at)[at]]).filter(([, text]) => text)
    .map(([c, text]) => (["optimizer", "loss", "learning rate", "further keys"].includes(c.name) ? text : `${c.name} ${text}`)).join(" ");
  const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  // A column's distinct values in their order, and the place of each row's among them
  const kept = new Map();
  const scale = (column) => {
    if (!kept.has(column)) {
      const values = runs.values(column.at), texts = runs.texts(column.at), first = new Map();
      texts.forEach((text, at) => first.has(text) || first.set(text, values[at]));
      const names = [...first.keys()].sort((a, b) => runs.compare(first.get(a) ?? "", first.get(b) ?? ""));
      const place = new Map(names.map((name, i) => [name, i]));
      const isNumber = values.every((v) => v === null || Number.isFinite(v));
      kept.set(column, { names, isContinuous: isNumber && (column.kind === "result" || names.length > 30),
        values, places: texts.map((text) => place.get(text)) });
    }
    return kept.get(column);
  };

  const select = (name, choices, chosen) => {
    const list = id(name);
    choices.forEach((c) => list.append(element("option", c.name, { value: String(c.at), selected: c === chosen })));
    list.addEventListener("change", draw);
    return () => columns.find((c) => String(c.at) === list.value);
  };
  const varying = keys.filter((c) => scale(c).names.length > 1);
  const across = select("x", [...varying, ...results.filter((c) => c !== accuracy)], varying.find((c) => c.name === "learning rate") || varying[0]);
  const up = select("y", results.filter((c) => scale(c).isContinuous), accuracy);
  const by = select("colour", varying.filter((c) => scale(c).names.length <= 30), varying[0]);

  const charts = {};
  const chart = (name) => (charts[name] ??= echarts.init(id(name)));
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lines = () => ({ axisLine: { onZero: false, lineStyle: { color: style("--faint") } }, axisLabel: { color: style("--ink"), hideOverlap: true },
    nameTextStyle: { color: style("--ink") }, splitLine: { lineStyle: { color: style("--line") } } });
  // Elements, not texts of markup: a name can hold anything
  const told = (at, ...more) => {
    const box = element("div", "");
    box.append(element("strong", label(at)), ...more.map((text) => element("div", text)));
    return box;
  };
  const tooltip = (tell) => ({ trigger: "item", confine: true, backgroundColor: style("--card"), borderColor: style("--line"),
    textStyle: { color: style("--ink") }, extraCssText: "white-space:normal;max-width:20rem", formatter: tell });

  const axis = (column, more) => {
    const { names, isContinuous, values } = scale(column);
    const common = { ...lines(), name: column.name, ...more };
    if (!isContinuous)
      return { ...common, type: "value", min: -0.5, max: names.length - 0.5, interval: 0.5, splitLine: { show: false }, axisTick: { show: false },
        axisLabel: { ...common.axisLabel, formatter: (v) => names[v] ?? "" } };
    const some = values.filter(Number.isFinite), low = Math.min(...some), high = Math.max(...some);
    return { ...common, type: low > 0 && high / low > 50 ? "log" : "value", scale: true };
  };
  const at = (column, row, jitter) => {
    const { isContinuous, values, places } = scale(column);
    return isContinuous ? values[row] : places[row] + jitter * (((row * 0.618034) % 1) - 0.5);
  };

  function drawPoints() {
    const x = across(), y = up(), colour = by(), groups = colour ? scale(colour) : null;
    const series = (groups ? groups.names : [""]).map((name, i) => ({
      type: "scatter", name, symbol: symbols[i % symbols.length], symbolSize: rows.length > 2000 ? 5 : 9, data: [],
      itemStyle: { color: palette[i % palette.length], opacity: 0.8 } }));
    runs.shown().forEach((keep, row) => {
      const point = [at(x, row, 0.4), at(y, row, 0)];
      if (keep && point.every((v) => v !== null && Number.isFinite(v))) series[groups ? groups.places[row] : 0].data.push([...point, row]);
    });
    chart("points").setOption({ animation: false, grid: { left: 62, right: 16, top: 30, bottom: 48 }, series,
      xAxis: axis(x, { nameLocation: "middle", nameGap: 30 }), yAxis: axis(y, { nameTextStyle: { color: style("--ink"), align: "left" } }),
      tooltip: tooltip((p) => told(p.value[2], `${y.name} ${runs.texts(y.at)[p.value[2]]}`, `${x.name} ${runs.texts(x.at)[p.value[2]]}`)) },
      { notMerge: true });
    const legend = series.map((s, i) => {
      const item = element("span", s.name || "runs");
      item.prepend(Object.assign(element("i", ["●", "■", "▲", "◆"][i] ?? "●"), { style: `color:${palette[i % palette.length]}` }));
      return item;
    });
    id("legend").replaceChildren(...(groups && legend.length <= 30 ? legend : []));
  }

  function drawLines() {
    const axes = [...varying.slice(0, 9), accuracy].map((column, dim) => {
      const { names, isContinuous } = scale(column);
      return { dim, name: column.name, ...lines(), nameTextStyle: { color: style("--ink"), fontSize: 11 },
        axisLabel: { color: style("--ink"), textBorderColor: style("--paper"), textBorderWidth: 4 },  // legible across lines
        ...(isContinuous ? { type: "value", scale: true } : { type: "category", data: names }) };
    });
    const colour = by(), data = [];
    runs.byForm().forEach((keep, row) => {
      if (!keep) return;
      const value = axes.map(({ dim }) => {
        const { isContinuous, values, places } = scale(dim < axes.length - 1 ? varying[dim] : accuracy);
        return isContinuous ? values[row] ?? "-" : places[row];
      });
      data.push({ value, row, lineStyle: { color: palette[(colour ? scale(colour).places[row] : 0) % palette.length] } });
    });
    chart("lines").setOption({ animation: false, parallel: { left: 40, right: 60, top: 40, bottom: 24 }, parallelAxis: axes,
      tooltip: tooltip((p) => (p.data ? told(p.data.row, `${accuracy.name} ${runs.texts(accuracy.at)[p.data.row]}`) : "")),
      series: [{ type: "parallel", lineStyle: { width: rows.length > 500 ? 0.6 : 1.4, opacity: rows.length > 500 ? 0.3 : 0.6 }, inactiveOpacity: 0.03, data }] });
    linesData = data;
  }
  let linesData = [];

  const ticked = new Set();
  function drawTicked() {
    const chosen = [...ticked].sort((a, b) => a - b), stored = chosen.filter((row) => curves[row]?.length);
    id("hint").hidden = chosen.length > 0;
    id("ticked").hidden = !chosen.length;
    id("curve").hidden = !stored.length;
    id("no-curve").textContent = chosen.length > stored.length ? `${chosen.length - stored.length} of them without a learning curve here.` : "";
    if (stored.length) {
      chart("curve").resize();
      chart("curve").setOption({ animation: false, grid: { left: 62, right: 16, top: 30, bottom: 48 },
        xAxis: { ...lines(), type: "value", min: 1, max: Math.max(2, ...stored.map((row) => curves[row].length)), minInterval: 1, splitLine: { show: false }, name: "epoch", nameLocation: "middle", nameGap: 30 },
        yAxis: { ...lines(), type: "value", scale: true, name: "validation accuracy", nameTextStyle: { color: style("--ink"), align: "left" } },
        tooltip: tooltip((p) => told(stored[p.seriesIndex], `epoch ${p.value[0]}: ${p.value[1].toFixed(4)}`)),
        series: stored.map((row) => ({ type: "line", symbol: symbols[chosen.indexOf(row) % symbols.length], symbolSize: 7, showAllSymbol: true,
          lineStyle: { type: ["solid", "dashed", "dotted"][Math.floor(chosen.indexOf(row) / palette.length) % 3] },
          color: palette[chosen.indexOf(row) % palette.length], triggerLineEvent: true,
          data: curves[row].map((v, i) => [i + 1, v === null ? null : v / 10000]) })) }, { notMerge: true });
    }
    const head = document.createElement("tr");
    head.append(element("th", "", { className: "t", scope: "col" }), ...chosen.map((row, i) => {
      const cell = element("th", "", { scope: "col" });
      const key = Object.assign(element("i", "■ "), { style: `color:${palette[i % palette.length]}` });
      const away = element("button", "×", { type: "button", title: `untick ${label(row)}` });
      away.addEventListener("click", () => tick(row, false));
      cell.append(key, `${runs.texts(0)[row] ? `rank ${runs.texts(0)[row]} ` : ""}`, away);
      return cell;
    }));
    const lines_ = columns.map((column) => ({ column, texts: chosen.map((row) => runs.texts(column.at)[row]) }))
      .map((line) => ({ ...line, differs: new Set(line.texts).size > 1 }));
    const body = [...lines_.filter((l) => l.differs || l.column.kind === "result" || chosen.length === 1)].map(({ column, texts, differs }) => {
      const row = document.createElement("tr");
      row.append(element("th", column.name, { className: "t", scope: "row" }), ...texts.map((text) => element("td", text, { className: differs ? "" : "same" })));
      return row;
    });
    id("compared").tHead.replaceChildren(head);
    id("compared").tBodies[0].replaceChildren(...body);
    id("same").textContent = chosen.length > 1 ? lines_.filter((l) => !l.differs && l.column.kind === "key" && l.texts[0]).map((l) => `${l.column.name} ${l.texts[0]}`).join(", ") : "";
    id("same").parentElement.hidden = !id("same").textContent;
  }
  function tick(row, on) {
    on ? ticked.add(row) : ticked.delete(row);
    rows[row].cells[0].querySelector("input").checked = on;
    drawTicked();
  }
  rows.forEach((row, at) => {
    const box = element("input", "", { type: "checkbox" });
    box.setAttribute("aria-label", `compare run ${at + 1}`);
    row.cells[0].prepend(box);
  });
  runs.table.addEventListener("change", (event) => {
    const row = event.target.closest("tr");
    if (event.target.type === "checkbox" && row) tick(rows.indexOf(row), event.target.checked);
  });
  id("untick").addEventListener("click", () => [...ticked].forEach((row) => tick(row, false)));

  // Quotes what CSV needs quoted; what a spreadsheet would take for a formula is kept from being one
  const field = (text) => {
    const inert = /^[=+\-@\t\r]/.test(text) && isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
  };
  const csv = () => {
    const named = heads.map((head, i) => i).filter((i) => heads[i].textContent && heads[i].textContent !== "files");
    const line = (texts) => texts.map(field).join(",");
    const numbers = (text) => (/^-?[\d,]+$/.test(text) ? text.replaceAll(",", "") : text);
    const kept_ = rows.map((_, at) => at).filter((at) => runs.shown()[at]);
    return [line(named.map((i) => heads[i].textContent)), ...kept_.map((at) => line(named.map((i) => numbers(runs.texts(i)[at]))))].join("\r\n") + "\r\n";
  };
  id("csv").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    element("a", "", { href: address, download: "runs.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  function draw() {
    drawPoints();
    drawLines();
    drawTicked();
  }
  section.hidden = false;
  document.querySelectorAll("nav a[hidden]").forEach((link) => (link.hidden = false));
  draw();
  chart("points").on("click", (p) => tick(p.value[2], !ticked.has(p.value[2])));
  chart("lines").on("axisareaselected", () => {
    const model = chart("lines").getModel().getSeries()[0];
    const active = model.getRawIndicesByActiveState("active"), inactive = model.getRawIndicesByActiveState("inactive");
    brushing = true;
    runs.narrow(active.length || inactive.length ? new Set(active.map((i) => linesData[i].row)) : null);
    brushing = false;
  });
  let brushing = false;
  runs.onChange(() => {
    drawPoints();
    if (!brushing) drawLines();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => Object.values(charts).forEach((c) => c.resize())).observe(section);
  window.mnistLightning = { csv, charts };  // for tests and for the console
})();
