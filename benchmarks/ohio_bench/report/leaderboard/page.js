// Draws the page from the JSON of #data, with draw.js.

const data = JSON.parse(at("data").textContent);
const address = (cell) => `#cell/${encodeURIComponent(cell.id)}`;
const title = (cell) => `${cell.method} on ${cell.row}`;

// --- Columns and filters ---

const name = (cell) => html("span", {}, html("a", { href: address(cell) }, cell.method), cell.author ? html("span", { class: "tag" }, "submitted") : null);
const score = (cell) => html("span", cell.best ? { class: "best" } : {}, `${fixed(cell.score)} ± ${fixed(cell.spread)}${cell.marks}${cell.best ? " ★" : ""}`);
const same = (cell) => html("span", {}, "= ", html("a", { href: address(cell.same) }, cell.same.text));
/** What a column shows of a cell whose policy and outcome another cell has: nothing that is printed there. */
const once = (show) => (cell) => (cell.same ? "" : show(cell));
const rank = (cell) => (cell.rank ? (cell.rank[0] === cell.rank[1] ? `${cell.rank[0]}` : `${cell.rank[0]} to ${cell.rank[1]}`) : "");

// head, value to sort by, what is shown (the value itself if left out), whether it is a number, whether its text may wrap
const columns = [
  { head: "Method", value: (cell) => cell.method, show: name },
  { head: "Data set", value: (cell) => cell.row },
  { head: "Score", value: (cell) => cell.score, show: (cell) => (cell.same ? same(cell) : score(cell)), number: true },
  { head: "Success, %", value: (cell) => cell.success, show: once((cell) => grouped(cell.success)), number: true },
  { head: "Runs and interval on 0 to 110", plot: true, show: once(whisker) },
  { head: "95 % interval", value: (cell) => cell.interval[0], show: once((cell) => range(cell.interval)), number: true },
  { head: "Rank", value: (cell) => (cell.rank ? -cell.rank[0] - cell.rank[1] / 1e4 : null), show: rank, number: true },
  { head: "Paper", value: (cell) => cell.paper && cell.paper[0], show: (cell) => cell.paper_text, number: true },
  { head: "Ours − paper", value: (cell) => cell.difference, show: (cell) => signed(cell.difference), number: true },
  { head: "Low level", value: (cell) => cell.low, wrap: true },
  { head: "Inverse", value: (cell) => cell.inverse },
  { head: "Learner", value: (cell) => cell.learner },
  { head: "% of upper bound", value: (cell) => cell.of_bound, show: (cell) => fixed(cell.of_bound), number: true },
  { head: "Runs", value: (cell) => cell.seeds, show: (cell) => (cell.scripted ? "" : String(cell.seeds)), number: true },
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

// --- The address ---
// Filters, order and table are its query, the part of the page or the cell its hash: a reload, a link and the back button restore them.

let asked = new URLSearchParams(location.search);
const parameter = (label) => label.toLowerCase().match(/[a-z0-9]+/g).join("-");

/** Changes parameters of the address; an empty value removes one. step: whether the back button undoes it. */
function ask(changes, step = true) {
  const before = String(asked);
  for (const [name, value] of Object.entries(changes)) {
    if (value) asked.set(name, value);
    else asked.delete(name);
  }
  const query = String(asked);
  if (query === before) return;
  const target = location.pathname + (query && `?${query}`) + location.hash;
  if (step) history.pushState(null, "", target);
  else history.replaceState(null, "", target);
}

/** Draws what the address asks for; values that the page does not have are ignored. */
function restore() {
  for (const name of ["search", ...Object.keys(filters).map(parameter)]) {
    const field = at("filters").elements.namedItem(name);
    const value = asked.get(name) ?? "";
    if (field) field.value = value;
    if (field?.value === value) continue;
    asked.delete(name);
    if (field) field.value = "";
  }
  board();
  overall();
}

function matches(cell) {
  const text = `${cell.method} ${cell.row} ${cell.task} ${cell.low} ${cell.inverse} ${cell.author || ""}`.toLowerCase();
  const words = (asked.get("search") ?? "").toLowerCase().split(/\s+/);
  const same = ([label, value]) => [null, value(cell)].includes(asked.get(parameter(label)));
  return Object.entries(filters).every(same) && words.every((word) => text.includes(word));
}

/** The column that the board is sorted by, undefined for none; "-" before its name: downwards. */
function sorting() {
  const name = asked.get("sort") ?? "";
  const column = columns.find((one) => one.value && parameter(one.head) === name.replace(/^-/, ""));
  return { column, down: name.startsWith("-") };
}

// --- The board ---

/** Unknown values come last either way; equal ones keep the tables' own order. */
function order(cells, { column, down }) {
  if (!column) return cells;
  const { value } = column;
  const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const unknown = (cell) => !known(value(cell)) || value(cell) === "";
  return [...cells].sort((a, b) => unknown(a) - unknown(b) || (unknown(a) ? 0 : compare(value(a), value(b)) * (down ? -1 : 1)));
}

function line(cell) {
  const row = html("tr", { "data-id": cell.id });
  columns.forEach((column, i) => {
    const kind = column.plot ? "plot" : column.number ? "n" : column.wrap ? "wrap" : null;
    const shown = (column.show || column.value)(cell);
    row.append(html(i ? "td" : "th", { class: kind, "data-label": column.head, scope: i ? null : "row" }, shown));
  });
  return row;
}

function board() {
  const sorted = sorting();
  const cells = order(data.cells.filter(matches), sorted);
  at("cells").tBodies[0].replaceChildren(...cells.map(line));
  at("count").textContent = `${cells.length} of ${data.cells.length} results` + (sorted.column ? `, by ${sorted.column.head}` : "");
  [...at("cells").tHead.rows[0].cells].forEach((head, i) => {
    if (columns[i] === sorted.column) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function sort(column) {
  const now = sorting();
  const down = now.column === column ? !now.down : Boolean(column.number);
  ask({ sort: (down ? "-" : "") + parameter(column.head) });
  board();
}

function heads() {
  const row = html("tr");
  for (const column of columns) {
    const head = html("th", { scope: "col", class: column.plot ? "plot" : column.number ? "n" : null });
    if (column.plot) head.append(column.head);
    else {
      const button = html("button", { type: "button" }, column.head);
      button.addEventListener("click", () => sort(column));
      head.append(button);
    }
    row.append(head);
  }
  at("cells").tHead.append(row);
}

function controls() {
  const form = at("filters");
  form.append(html("label", {}, "Search", html("input", { type: "search", name: "search", autocomplete: "off" })));
  for (const [label, value] of Object.entries(filters)) {
    const values = [...new Set(data.cells.map(value))].filter(Boolean).sort();
    if (values.length < 2) continue;
    const options = values.map((text) => html("option", {}, text));
    form.append(html("label", {}, label, html("select", { name: parameter(label) }, html("option", { value: "" }, "all"), ...options)));
  }
  const all = html("button", { type: "button" }, "Show all");
  form.append(all);
  form.addEventListener("input", ({ target }) => {
    ask({ [target.name]: target.value }, target.name !== "search"); // not a step of the back button for each letter
    board();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  all.addEventListener("click", () => {
    ask(Object.fromEntries([...form.querySelectorAll("[name]")].map((field) => [field.name, ""])));
    restore();
  });
}

// --- Tables: aggregates over data sets, or fine-tuning ---

const ticked = new Map(data.tables.map((table) => {
  const flat = table.aggregates.filter((of) => of.flat).slice(0, 3);
  const best = table.aggregates.filter((of) => !of.flat).slice(0, 3);
  return [table, new Set([...best, ...flat].map((of) => of.name))];
}));

function plots(table, shown) {
  const drawn = shown.map((of, i) => ({ x: table.thresholds, y: of.profile[0], low: of.profile[1], high: of.profile[2], color: color(i), dash: dash(i) }));
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

function aggregated(table) {
  const heads = ["Method", "Low level", "Policies on data sets", "IQM", "Median", "Mean", "Gap", "P"];
  const draw = () => plots(table, table.aggregates.filter((of) => ticked.get(table).has(of.name)));
  const lines = table.aggregates.map((of) => {
    const box = html("input", { type: "checkbox" });
    box.checked = ticked.get(table).has(of.name);
    box.addEventListener("change", () => {
      if (box.checked) ticked.get(table).add(of.name);
      else ticked.get(table).delete(of.name);
      draw();
    });
    const numbers = [of.policies, between(of.iqm), between(of.median), between(of.mean), between(of.gap), between(of.better, 2)];
    return html("tr", {}, html("th", { scope: "row" }, html("label", {}, box, ` ${of.name}`)), html("td", {}, of.low), ...numbers.map((text) => html("td", { class: "n" }, text)));
  });
  fill(at("aggregates"), heads, 2, lines);
  draw();
  const rows = [...new Set(table.choices.map((of) => of.row))];
  const figures = rows.map((row) => {
    const found = table.choices.filter((of) => of.row === row);
    const drawn = found.map((of, i) => ({ x: table.pulls, y: of.value, color: color(i), dash: dash(i) }));
    const said = found.map((of) => `${of.interface} from ${fixed(of.value[0])} to ${fixed(of.value.at(-1))}`).join("; ");
    return html("figure", {}, html("figcaption", {}, row), chart({ lines: drawn, label: `Score on ${row}: ${said}`, across: "episodes tried", log: true }), legend(found.map((of) => `${of.interface} (${of.arms} policies)`)));
  });
  at("choices").replaceChildren(...figures);
}

function finetuned({ runs, files }) {
  const violations = [...new Set(runs.flatMap((run) => Object.keys(run.violations)))];
  const heads = ["Data set", "Method", "Behavior policy", "Updates", "Before", "While learning, last tenth", "After", ...violations];
  const lines = runs.map((run) => {
    const numbers = [fixed(run.behavior_policy), grouped(run.updates), between(run.before), between(run.during), between(run.after)];
    numbers.push(...violations.map((name) => fixed(run.violations[name])));
    return html("tr", {}, html("th", { scope: "row" }, run.domain), html("td", {}, run.method), ...numbers.map((text) => html("td", { class: "n" }, text)));
  });
  fill(at("finetuned"), heads, 2, lines);
  at("files").replaceChildren(...files.flatMap(([text, name], i) => [i ? ", " : "", html("a", { href: name }, text)]));
}

/** A table's heads, of which the first `texts` are of text and the others of numbers, and its lines. */
function fill(table, heads, texts, lines) {
  table.tHead.replaceChildren(html("tr", {}, ...heads.map((text, i) => html("th", { scope: "col", class: i < texts ? null : "n" }, text))));
  table.tBodies[0].replaceChildren(...lines);
}

/** The table that the address asks for, else the first. */
function overall() {
  const listed = [...data.tables, ...data.finetuned];
  const table = listed.find((one) => one.key === asked.get("table")) ?? listed[0];
  if (!table) return;
  at("which").value = table.key;
  at("about").replaceChildren(...rich(table.note));
  at("over-sets").hidden = !table.aggregates;
  at("finetuning").hidden = Boolean(table.aggregates);
  if (table.aggregates) aggregated(table);
  else finetuned(table);
}

// --- Data sets ---

const facts = (pairs) => html("dl", {}, ...pairs.filter(([, value]) => known(value) && value !== "").flatMap(([term, value]) => [html("dt", {}, term), html("dd", {}, value)]));

function card(set) {
  const source = set.source_sha256 ? html("code", {}, set.source_sha256.slice(0, 16)) : "";
  return html("div", { class: "card" },
    html("h3", {}, set.row),
    facts([
      ["Task", set.task], ["Settings", set.settings], ["Behavior", set.behavior_policy], ["Episodes", grouped(set.episodes)],
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
    return html("figure", {}, html("figcaption", {}, name), chart({ lines: [{ x, y, low, high, color: color(0) }], label, across: "updates", width: 320, height: 190 }));
  });
}

const commands = (lines) => html("pre", { class: "commands" }, ...lines.map((text) => html("code", {}, text)));

function open(cell) {
  const source = cell.source && cell.source.startsWith("https://") ? html("a", { href: cell.source, rel: "noopener noreferrer nofollow" }, cell.source) : "";
  const json = (value) => html("pre", {}, JSON.stringify(value, null, 1));
  const heading = html("h2", { tabindex: "-1" }, title(cell));
  const from = cell.provenance;
  const [command, ...steps] = cell.command.split("\n");
  at("cell").replaceChildren(
    html("p", {}, html("a", { href: "#board" }, "← Board")),
    heading,
    facts([
      ["Score", score(cell)], ["The same policy as", cell.same ? same(cell) : ""], ["95 % interval", between([cell.score, ...cell.interval])],
      ["Rank on these data", rank(cell)],
      ["Paper", cell.paper_text], ["Ours − paper", signed(cell.difference)],
      ["Return", grouped(cell.mean_return)], ["% of the upper bound", fixed(cell.of_bound)],
      ...cell.metrics.map(([label, value]) => [label, grouped(value)]),
      ["Each run", cell.scripted ? "" : cell.runs.map((value, i) => fixed(value) + (cell.collapsed[i] ? " (collapsed)" : "")).join(", ")],
      ["Test episodes", `${cell.episodes}${cell.scripted ? "" : " a run"}`],
      ["Task", cell.task], ["Low level", cell.low], ["Action interface", cell.interface], ["Inverse", cell.inverse], ["Weights", cell.weights], ["Learner", cell.learner], ["Budget", cell.preset],
      ["Author", cell.author], ["Source", source],
    ]),
    html("h3", {}, "Run this cell again"),
    commands([command]),
    ...(steps.length ? [html("h3", {}, "The same step by step"), commands(steps)] : []),
    html("h3", {}, "Where it ran"),
    facts([
      ["Hardware", cell.hardware], ["Time", from.time], ["Revision", from.revision ? from.revision + (from.dirty ? " with changes" : "") : ""],
      ["Versions", Object.entries(from.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
      ["Seconds", Object.entries(cell.seconds).map(([name, value]) => `${name} ${value < 10 ? fixed(value, 2) : grouped(value)}`).join(", ")],
    ]));
  if (Object.keys(cell.curve).length)
    at("cell").append(html("h3", {}, "Learning curves"), html("p", { class: "note" }, "Mean over runs; the band holds all of them."), html("div", { class: "plots small" }, ...curves(cell)));
  const part = (text, value) => (value ? html("div", {}, html("h3", {}, text), json(value)) : null);
  at("cell").append(html("div", { class: "plots" }, part("Configuration", cell.config), part("What it learned from", cell.data.length ? cell.data : null)));
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
    if (link && ["", "#board"].includes(location.hash)) link.focus();
    else at(location.hash.slice(1) || "board")?.scrollIntoView();
  }
}

// --- Start ---

for (const { title: name, text } of data.claims) at("lines").append(html("li", {}, html("strong", {}, `${name}. `), text));
at("claims").hidden = !data.claims.length;
heads();
controls();
for (const { key, title: name, preset } of [...data.tables, ...data.finetuned]) at("which").append(html("option", { value: key }, `${name}, ${preset}`));
at("which").addEventListener("change", ({ target }) => {
  ask({ table: target.value });
  overall();
});
at("cards").append(...data.sets.map(card));
at("collapse").textContent = data.collapse.map(([runs, percent]) => `${percent} % of cells of ${runs} runs`).join(", ");
restore();
addEventListener("hashchange", route);
addEventListener("popstate", () => {
  const found = new URLSearchParams(location.search);
  if (String(found) === String(asked)) return;
  asked = found;
  restore();
});
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
