"use strict";
// Everything on the page is drawn from the JSON of #data. Text of run files becomes text nodes and attributes, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
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
const between = (of, digits = 1) => (of ? `${fixed(of[0], digits)} (${fixed(of[1], digits)} to ${fixed(of[2], digits)})` : "");
const address = (cell) => `#cell/${encodeURIComponent(cell.id)}`;
const title = (cell) => `${cell.method} on ${cell.row}`;

// --- Plots ---

const colour = (i) => `var(--c${i % 8})`;
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

/** A line chart. lines: {x, y, low, high, colour, dash}; label: what a screen reader says. */
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
    drawn.append(svg("polygon", { class: "band", points: outline.join(" "), fill: line.colour }));
  }
  for (const line of lines) {
    const more = { stroke: line.colour, "stroke-dasharray": line.dash || null };
    drawn.append(svg("polyline", { class: "line", points: points(line.x, line.y).join(" "), ...more }));
  }
  return drawn;
}

function legend(names) {
  const key = (i) =>
    svg("svg", { width: 26, height: 8, viewBox: "0 0 26 8", "aria-hidden": "true" },
      svg("path", { class: "line", d: "M0 4H26", stroke: colour(i), "stroke-dasharray": dash(i) || null }));
  return html("ul", { class: "legend" }, ...names.map((name, i) => html("li", {}, key(i), name)));
}

/** The interval of a score, and the paper's figure, between 0 and 110. The numbers stand beside it. */
function whisker(cell) {
  const px = (value) => (4 + 152 * Math.min(1, Math.max(0, value / 110))).toFixed(1);
  const drawn = svg("svg", { viewBox: "0 0 160 14", width: 160, height: 14, "aria-hidden": "true" });
  for (const value of [0, 50, 100]) drawn.append(svg("path", { class: "axis", d: `M${px(value)} 0V14` }));
  drawn.append(svg("path", { class: "bar", d: `M${px(cell.interval[0])} 7H${px(cell.interval[1])}` }));
  drawn.append(svg("circle", { class: "mark", cx: px(cell.score), cy: 7, r: 3.4 }));
  if (cell.paper) drawn.append(svg("circle", { class: "paper", cx: px(cell.paper[0]), cy: 7, r: 4.6 }));
  return drawn;
}

// --- The board ---

const name = (cell) => html("span", {}, html("a", { href: address(cell) }, cell.method), cell.author ? html("span", { class: "tag" }, "submitted") : null);
const score = (cell) => html("span", cell.best ? { class: "best" } : {}, `${fixed(cell.score)} ± ${fixed(cell.spread)}${cell.best ? " ★" : ""}`);
const rank = (cell) => (cell.rank ? (cell.rank[0] === cell.rank[1] ? `${cell.rank[0]}` : `${cell.rank[0]} to ${cell.rank[1]}`) : "");

// head, value to sort by, what is shown (the value itself if left out), whether it is a number
const columns = [
  { head: "Method", value: (cell) => cell.method, show: name },
  { head: "Data set", value: (cell) => cell.row },
  { head: "Score", value: (cell) => cell.score, show: score, number: true },
  { head: "Interval on 0 to 110", plot: true, show: whisker },
  { head: "95 % interval", value: (cell) => cell.interval[0], show: (cell) => `${fixed(cell.interval[0])} to ${fixed(cell.interval[1])}`, number: true },
  { head: "Rank", value: (cell) => (cell.rank ? -cell.rank[0] - cell.rank[1] / 1e4 : null), show: rank, number: true },
  { head: "Paper", value: (cell) => cell.paper && cell.paper[0], show: (cell) => cell.paper_text, number: true },
  { head: "Ours − paper", value: (cell) => cell.difference, show: (cell) => signed(cell.difference), number: true },
  { head: "Low level", value: (cell) => cell.low },
  { head: "Inverse", value: (cell) => cell.inverse },
  { head: "Learner", value: (cell) => cell.learner },
  { head: "Return", value: (cell) => cell.mean_return, show: (cell) => grouped(cell.mean_return), number: true },
  { head: "Of bound, %", value: (cell) => cell.of_bound, show: (cell) => fixed(cell.of_bound), number: true },
  { head: "Seeds", value: (cell) => cell.seeds, show: (cell) => (cell.scripted ? "" : cell.seeds + (cell.few ? " *" : "")), number: true },
  { head: "Training, s", value: (cell) => cell.train, show: (cell) => grouped(cell.train), number: true },
  { head: "Hardware", value: (cell) => cell.hardware },
];
const filters = {
  Task: (cell) => cell.task,
  "Data set": (cell) => cell.row,
  "Low level": (cell) => cell.low,
  Inverse: (cell) => cell.inverse,
  Learner: (cell) => cell.learner,
  Budget: (cell) => cell.preset,
  Source: (cell) => (cell.author ? "submitted" : "ours"),
};
const chosen = {};
const sorting = { column: null, down: false };
let words = [];

function matches(cell) {
  const text = `${cell.method} ${cell.row} ${cell.task} ${cell.low} ${cell.inverse} ${cell.author || ""}`.toLowerCase();
  return Object.keys(chosen).every((key) => filters[key](cell) === chosen[key]) && words.every((word) => text.includes(word));
}

/** Unknown values come last either way; equal ones keep the tables' own order. */
function order(cells) {
  if (!sorting.column) return cells;
  const { value } = sorting.column;
  const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const unknown = (cell) => !known(value(cell)) || value(cell) === "";
  return [...cells].sort((a, b) => unknown(a) - unknown(b) || (unknown(a) ? 0 : compare(value(a), value(b)) * (sorting.down ? -1 : 1)));
}

function line(cell) {
  const row = html("tr", { "data-id": cell.id });
  columns.forEach((column, i) => {
    const kind = column.plot ? "plot" : column.number ? "n" : null;
    const shown = (column.show || column.value)(cell);
    row.append(html(i ? "td" : "th", { class: kind, "data-label": column.head, scope: i ? null : "row" }, shown));
  });
  return row;
}

function board() {
  const cells = order(data.cells.filter(matches));
  at("cells").tBodies[0].replaceChildren(...cells.map(line));
  at("count").textContent = `${cells.length} of ${data.cells.length} results` + (sorting.column ? `, by ${sorting.column.head}` : "");
}

function sort(column, head) {
  sorting.down = sorting.column === column ? !sorting.down : Boolean(column.number);
  sorting.column = column;
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
  board();
}

function heads() {
  const row = html("tr");
  for (const column of columns) {
    const head = html("th", { scope: "col", class: column.plot ? "plot" : column.number ? "n" : null });
    if (column.plot) head.append(column.head);
    else {
      const button = html("button", { type: "button" }, column.head);
      button.addEventListener("click", () => sort(column, head));
      head.append(button);
    }
    row.append(head);
  }
  at("cells").tHead.append(row);
}

function controls() {
  const form = at("filters");
  const search = html("input", { type: "search", name: "search", autocomplete: "off" });
  search.addEventListener("input", () => {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    board();
  });
  form.append(html("label", {}, "Search", search));
  for (const [label, value] of Object.entries(filters)) {
    const values = [...new Set(data.cells.map(value))].filter(Boolean).sort();
    if (values.length < 2) continue;
    const select = html("select", { name: label }, html("option", { value: "" }, "all"), ...values.map((text) => html("option", {}, text)));
    select.addEventListener("change", () => {
      if (select.selectedIndex) chosen[label] = select.value;
      else delete chosen[label];
      board();
    });
    form.append(html("label", {}, label, select));
  }
  const reset = html("button", { type: "reset" }, "Show all");
  form.append(reset);
  form.addEventListener("reset", () => {
    words = [];
    for (const key of Object.keys(chosen)) delete chosen[key];
    board();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

// --- Over all data ---

const ticked = data.tables.map((table) => {
  const flat = table.aggregates.filter((of) => of.flat);
  const best = table.aggregates.filter((of) => !of.flat).slice(0, 3);
  return new Set([...best, ...flat.slice(0, 3)].map((of) => of.name));
});

function plots(table, shown) {
  const drawn = shown.map((of, i) => ({ x: table.thresholds, y: of.profile[0], low: of.profile[1], high: of.profile[2], colour: colour(i), dash: dash(i) }));
  const label = `Performance profiles of ${shown.map((of) => `${of.name}, interquartile mean ${fixed(of.iqm[0])}`).join("; ")}`;
  const empty = html("p", { class: "note" }, "Tick a method above.");
  at("profile").replaceChildren(...(shown.length ? [chart({ lines: drawn, label, across: "score", floor: 0, ceiling: 1 }), legend(shown.map((of) => of.name))] : [empty]));
  const index = shown.map((of) => table.aggregates.indexOf(of));
  const head = html("tr", {}, html("td"), ...shown.map((_, i) => html("th", { scope: "col", class: "n" }, String(i + 1))));
  const lines = shown.map((of, i) =>
    html("tr", {}, html("th", { scope: "row" }, `${i + 1}. ${of.name}`),
      ...index.map((j, k) => html("td", { class: "n" }, k === i ? "" : fixed(table.improvement[index[i]][j], 2)))));
  at("improvement").replaceChildren(html("table", {}, html("thead", {}, head), html("tbody", {}, ...lines)));
}

function overall(which) {
  const table = data.tables[which];
  at("about").replaceChildren(...rich(table.note));
  const heads = ["Method", "Low level", "IQM", "Median", "Mean", "Gap", "P"];
  const show = () => plots(table, table.aggregates.filter((of) => ticked[which].has(of.name)));
  at("aggregates").tHead.replaceChildren(html("tr", {}, ...heads.map((text, i) => html("th", { scope: "col", class: i > 1 ? "n" : null }, text))));
  const lines = table.aggregates.map((of) => {
    const box = html("input", { type: "checkbox" });
    box.checked = ticked[which].has(of.name);
    box.addEventListener("change", () => {
      if (box.checked) ticked[which].add(of.name);
      else ticked[which].delete(of.name);
      show();
    });
    const numbers = [between(of.iqm), between(of.median), between(of.mean), between(of.gap), between(of.better, 2)];
    return html("tr", {}, html("th", { scope: "row" }, html("label", {}, box, ` ${of.name}`)), html("td", {}, of.low), ...numbers.map((text) => html("td", { class: "n" }, text)));
  });
  at("aggregates").tBodies[0].replaceChildren(...lines);
  show();
  const rows = [...new Set(table.choices.map((of) => of.row))];
  const figures = rows.map((row) => {
    const found = table.choices.filter((of) => of.row === row);
    const drawn = found.map((of, i) => ({ x: table.pulls, y: of.value, colour: colour(i), dash: dash(i) }));
    const said = found.map((of) => `${of.space} from ${fixed(of.value[0])} to ${fixed(of.value.at(-1))}`).join("; ");
    return html("figure", {}, html("figcaption", {}, row), chart({ lines: drawn, label: `Score on ${row}: ${said}`, across: "episodes tried", log: true }), legend(found.map((of) => `${of.space} (${of.arms} policies)`)));
  });
  at("choices").replaceChildren(...figures);
}

// --- Data sets ---

const facts = (pairs) => html("dl", {}, ...pairs.filter(([, value]) => known(value) && value !== "").flatMap(([term, value]) => [html("dt", {}, term), html("dd", {}, value)]));

function card(set) {
  const source = set.source_sha256 ? html("code", {}, set.source_sha256.slice(0, 16)) : "";
  return html("div", { class: "card" },
    html("h3", {}, set.row),
    facts([
      ["Task", set.task], ["Settings", set.settings], ["Behaviour", set.behaviour], ["Episodes", grouped(set.episodes)],
      ["Return", `${grouped(set.return_mean)} ± ${grouped(set.return_std)}`], ["Quality", known(set.quality) ? fixed(set.quality, 3) : ""],
      ["Coverage", known(set.coverage) ? fixed(set.coverage, 3) : ""], ["Score 0 and 100", html("span", {}, ...rich(set.reference))], ["Logs' SHA-256", source],
    ]),
    html("pre", { class: "wrap" }, set.command));
}

// --- One cell ---

function curves(cell) {
  return Object.entries(cell.curve).map(([name, [y, low, high]]) => {
    const x = y.map((_, i) => ((i + 1) / y.length) * cell.updates);
    const label = `${name} from ${short(y[0])} to ${short(y.at(-1))}`;
    return html("figure", {}, html("figcaption", {}, name), chart({ lines: [{ x, y, low, high, colour: colour(0) }], label, across: "updates", width: 320, height: 190 }));
  });
}

function open(cell) {
  const source = cell.source && cell.source.startsWith("https://") ? html("a", { href: cell.source, rel: "noopener noreferrer nofollow" }, cell.source) : "";
  const json = (value) => html("pre", {}, JSON.stringify(value, null, 1));
  const heading = html("h2", { tabindex: "-1" }, title(cell));
  const from = cell.provenance;
  at("cell").replaceChildren(
    html("p", {}, html("a", { href: "#board" }, "← Board")),
    heading,
    facts([
      ["Score", score(cell)], ["95 % interval", between([cell.score, ...cell.interval])], ["Rank on these data", rank(cell)],
      ["Paper", cell.paper_text], ["Ours − paper", signed(cell.difference)],
      ["Return", grouped(cell.mean_return)], ["Of the bound", known(cell.of_bound) ? `${fixed(cell.of_bound)} %` : ""],
      ...cell.metrics.map(([label, value]) => [label, grouped(value)]),
      ["Each seed", cell.scripted ? "" : cell.runs.map((value) => fixed(value)).join(", ")], ["Test episodes", `${cell.episodes}${cell.scripted ? "" : " a seed"}`],
      ["Task", cell.task], ["Low level", cell.low], ["Action space", cell.space], ["Inverse", cell.inverse], ["Weights", cell.weights], ["Learner", cell.learner], ["Budget", cell.preset],
      ["Author", cell.author], ["Source", source],
    ]),
    html("h3", {}, "Do it again"),
    html("pre", { class: "wrap" }, (from.revision ? `git checkout ${from.revision}\n` : "") + cell.command),
    html("h3", {}, "Where it ran"),
    facts([
      ["Hardware", cell.hardware], ["Time", from.time], ["Revision", from.revision ? from.revision + (from.dirty ? " with changes" : "") : ""],
      ["Versions", Object.entries(from.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
      ["Seconds", Object.entries(cell.seconds).map(([name, value]) => `${name} ${value < 10 ? fixed(value, 2) : grouped(value)}`).join(", ")],
    ]));
  if (Object.keys(cell.curve).length)
    at("cell").append(html("h3", {}, "Learning curves"), html("p", { class: "note" }, "Mean over seeds; the band holds all of them."), html("div", { class: "plots small" }, ...curves(cell)));
  const part = (text, value) => (value ? html("div", {}, html("h3", {}, text), json(value)) : null);
  at("cell").append(html("div", { class: "plots" }, part("Configuration", cell.config), part("What it learned from", cell.data)));
  return heading;
}

let opened = null;
function route() {
  const cell = location.hash.startsWith("#cell/") ? data.cells.find((one) => address(one) === location.hash) : null;
  at("overview").hidden = Boolean(cell);
  at("cell").hidden = !cell;
  document.title = cell ? `${title(cell)} – ohio_jax leaderboard` : "ohio_jax leaderboard";
  if (cell) {
    opened = cell.id;
    open(cell).focus();
    scrollTo(0, 0);
  } else if (opened !== null) {
    const link = [...at("cells").tBodies[0].rows].find((row) => row.dataset.id === opened)?.querySelector("a");
    opened = null;
    if (link && location.hash === "#board") link.focus();
    else at(location.hash.slice(1) || "board")?.scrollIntoView();
  }
}

// --- Start ---

heads();
controls();
board();
data.tables.forEach((table, i) => at("which").append(html("option", { value: i }, `${table.title}, ${table.preset}`)));
at("which").addEventListener("change", (event) => overall(Number(event.target.value)));
if (data.tables.length) overall(0);
at("cards").append(...data.sets.map(card));
addEventListener("hashchange", route);
route();

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = at("theme");
const isDark = () => (document.documentElement.style.colorScheme || (dark.matches ? "dark" : "light")) === "dark";
const offer = () => (theme.textContent = isDark() ? "Light" : "Dark");
theme.addEventListener("click", () => {
  document.documentElement.style.colorScheme = isDark() ? "light" : "dark";
  offer();
});
dark.addEventListener("change", offer);
offer();
