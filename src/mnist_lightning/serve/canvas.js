"use strict";
// The paper: strokes by pointer and by keyboard, kept as lines in a square of 280, so that they are drawn anew in any size
// and colour. `drawing` is what page.js uses.
const drawing = (() => {
  const side = 280, width = 22, step = 14, fine = 4;
  const canvas = document.getElementById("canvas"), told = document.getElementById("pen");
  const listeners = [];
  let strokes = [], pointer = null;
  const pen = { x: side / 2, y: side / 2, down: false, shown: false };

  const paint = (target, scale, ink) => {
    target.setTransform(scale, 0, 0, scale, 0, 0);
    Object.assign(target, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: ink });
    for (const stroke of strokes) {
      target.beginPath();
      target.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : [[stroke[0][0] + 0.01, stroke[0][1]]]) target.lineTo(...point);
      target.stroke();
    }
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const draw = () => {
    const pixels = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const target = canvas.getContext("2d"), scale = pixels / side;
    target.setTransform(1, 0, 0, 1, 0, 0);
    target.clearRect(0, 0, pixels, pixels);
    paint(target, scale, colour("--pen"));
    if (!pen.shown) return;
    target.beginPath();
    target.arc(pen.x, pen.y, width / 2, 0, 2 * Math.PI);
    Object.assign(target, { lineWidth: 2, strokeStyle: colour("--link"), fillStyle: colour("--link") });
    pen.down ? target.fill() : target.stroke();
  };
  const changed = () => {
    draw();
    listeners.forEach((listener) => listener());
  };

  const inside = (value) => Math.min(side, Math.max(0, value));
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [inside(((event.clientX - box.left) / box.width) * side), inside(((event.clientY - box.top) / box.height) * side)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || (event.pointerType === "mouse" && event.button !== 0)) return;  // a second finger, another button
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    Object.assign(pen, { down: false, shown: false });
    strokes.push([at(event)]);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const several = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1)?.push(...(several.length ? several : [event]).map(at));
    changed();
  });
  const lift = (event) => {
    if (event.pointerId === pointer) pointer = null;
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);

  const say = (text) => (told.textContent = text);
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in moves) {
      const by = event.shiftKey ? fine : step;
      pen.x = inside(pen.x + by * moves[event.key][0]);
      pen.y = inside(pen.y + by * moves[event.key][1]);
      pen.shown = true;
      if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
      pen.down ? changed() : draw();
    } else if (event.key === " ") {
      if (!event.repeat) {
        Object.assign(pen, { down: !pen.down, shown: true });
        if (pen.down) strokes.push([[pen.x, pen.y]]);
        say(pen.down ? "Pen down" : "Pen up");
        changed();
      }
    } else if (event.key === "Escape") clear();
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => {
    Object.assign(pen, { down: false, shown: false });
    draw();
  });
  const clear = () => {
    strokes = [];
    pointer = null;
    Object.assign(pen, { x: side / 2, y: side / 2, down: false, shown: false });
    say("");
    changed();
  };
  document.getElementById("clear").addEventListener("click", clear);
  document.getElementById("undo").addEventListener("click", () => {
    strokes.pop();
    pen.down = false;
    changed();
  });
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Always black on white, 280 x 280, whatever the screen is
  const png = () => {
    const sheet = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const target = sheet.getContext("2d");
    target.fillStyle = "#fff";
    target.fillRect(0, 0, side, side);
    paint(target, 1, "#000");
    return new Promise((done) => sheet.toBlob(done, "image/png"));
  };
  return { png, clear, isEmpty: () => !strokes.length, onChange: (listener) => listeners.push(listener) };
})();
