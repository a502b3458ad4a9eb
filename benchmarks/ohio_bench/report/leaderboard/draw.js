"use strict";
// What page.js draws with: elements, numbers as text, and plots. Text becomes text nodes and attributes, never markup.

const at = (id) => document.getElementById(id);

const build = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
};
const html = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const known = (value) => value !== null && value !== undefined;
const fixed = (value, digits = 1) => (known(value) ? value.toFixed(digits) : "");
const signed = (value) => (known(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1) : "");
const grouped = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "");
const short = (value) => (Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-2) ? value.toExponential(1) : String(+value.toPrecision(3)));
const rich = (text) => text.split("`").map((part, i) => (i % 2 ? html("code", {}, part) : part)); // as in Markdown
const range = ([low, high], digits = 1) => (known(low) ? `${fixed(low, digits)} to ${fixed(high, digits)}` : "");
const between = (of, digits = 1) => (of ? fixed(of[0], digits) + (known(of[1]) ? ` (${range(of.slice(1), digits)})` : "") : "");

// --- Plots ---

const color = (i) => `var(--c${i % 8})`;
const dashes = ["", "6 3", "2 3", "8 3 2 3"];
const dash = (i) => dashes[Math.floor(i / 8 + i) % 4];

/** Round numbers from low to high, about `count` of them. */
function ticks(low, high, count = 4) {
  const raw = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((k) => k * unit >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/** A line chart. lines: {x, y, low, high, color, dash}; label: what a screen reader says. */
function chart({ lines, label, across, log = false, floor = null, ceiling = null, width = 460, height = 250 }) {
  const [left, right, top, bottom] = [50, 20, 8, 36];
  const all = (key) => lines.flatMap((line) => line[key] || []);
  const heights = [...all("y"), ...all("low"), ...all("high")];
  let [low, high] = [floor ?? Math.min(...heights), ceiling ?? Math.max(...heights)];
  if (low === high) [low, high] = [low - 1, high + 1];
  const scale = log ? Math.log2 : (value) => value;
  const [first, last] = [scale(Math.min(...all("x"))), scale(Math.max(...all("x")))];
  const px = (value) => left + ((scale(value) - first) / (last - first || 1)) * (width - left - right);
  const py = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const points = (xs, ys) => xs.map((value, i) => `${px(value).toFixed(1)},${py(ys[i]).toFixed(1)}`);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const value of ticks(low, high)) {
    drawn.append(svg("path", { class: "axis", d: `M${left} ${py(value)}H${width - right}` }));
    drawn.append(svg("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, short(value)));
  }
  const marks = log ? [...Array(Math.floor(last) + 1).keys()].map((i) => 2 ** i) : ticks(first, last);
  for (const value of marks) drawn.append(svg("text", { x: px(value), y: height - bottom + 16, "text-anchor": "middle" }, short(value)));
  drawn.append(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, across));
  for (const line of lines) {
    if (!line.low) continue;
    const outline = [...points(line.x, line.high), ...points(line.x, line.low).reverse()];
    drawn.append(svg("polygon", { class: "band", points: outline.join(" "), fill: line.color }));
  }
  for (const line of lines) {
    const more = { stroke: line.color, "stroke-dasharray": line.dash || null };
    drawn.append(svg("polyline", { class: "line", points: points(line.x, line.y).join(" "), ...more }));
  }
  return drawn;
}

function legend(names) {
  const key = (i) =>
    svg("svg", { width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" },
      svg("path", { class: "line", d: "M0 4H26", stroke: color(i), "stroke-dasharray": dash(i) || null }));
  return html("ul", { class: "legend" }, ...names.map((name, i) => html("li", {}, key(i), name)));
}

/** Every run over the interval of their mean, and the paper's score, between 0 and 110; the numbers stand in the next columns. */
function whisker(cell) {
  const px = (value) => (4 + 152 * Math.min(1, Math.max(0, value / 110))).toFixed(1);
  const drawn = svg("svg", { viewBox: "0 0 160 14", width: 160, height: 14, "aria-hidden": "true" });
  for (const value of [0, 50, 100]) drawn.append(svg("path", { class: "axis", d: `M${px(value)} 0V14` }));
  if (known(cell.interval[0])) drawn.append(svg("path", { class: "bar", d: `M${px(cell.interval[0])} 7H${px(cell.interval[1])}` }));
  drawn.append(svg("path", { class: "mark", d: `M${px(cell.score)} 2V12` }));
  if (!cell.scripted) for (const run of cell.runs) drawn.append(svg("circle", { class: "run", cx: px(run), cy: 7, r: 2 }));
  if (cell.paper) drawn.append(svg("circle", { class: "paper", cx: px(cell.paper[0]), cy: 7, r: 4.6 }));
  return drawn;
}
