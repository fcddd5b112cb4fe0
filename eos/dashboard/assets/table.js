/* Tables that sort, fold, group and export. A column is
   {key, title, value(row)} and, where wanted, text(row) as written, show(row) as drawn, csv, numeric, drawn (a picture only), hint. */

// Rows that were unfolded stay so while the page is open.
const unfolded = new Set();

function sortOf(name, standard) {
  const found = state.sort.find((item) => item.startsWith(`${name}:`));
  const text = found ? found.slice(name.length + 1) : standard;
  if (!text) return null;
  return { key: text.replace(/^-/, ""), down: text.startsWith("-") };
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

// Stable, and what is missing comes last in both directions.
function sortedRows(rows, columns, sort) {
  const column = sort && columns.find((candidate) => candidate.key === sort.key);
  if (!column) return rows;
  const missing = (value) => value === null || value === undefined || value === "";
  const keyed = rows.map((row) => ({ row, value: column.value(row) }));
  const order = (a, b) => {
    if (missing(a.value) || missing(b.value)) return missing(a.value) - missing(b.value);
    return compareValues(a.value, b.value) * (sort.down ? -1 : 1);
  };
  return keyed.sort(order).map((entry) => entry.row);
}

// {name, caption, columns, rows, sort, children, rowKey, rowName, rowClass, shiftClick, group, best, note}
function dataTable(spec) {
  const { name, columns } = spec;
  const sort = sortOf(name, spec.sort);
  const rows = sortedRows(spec.rows, columns, sort);
  const seen = () => {
    const exported = rows.flatMap((row) => [row, ...(spec.exportChildren ? spec.children(row) : [])]);
    return { columns, rows: exported, caption: spec.caption, best: spec.best?.(rows) };
  };
  const heads = columns.map((column) => headCell(name, column, sort, spec.sort));
  const table = h(
    "table",
    { class: spec.class ?? "" },
    h("caption", { class: "unseen" }, spec.caption),
    h("thead", {}, h("tr", {}, heads)),
    bodies(spec, rows),
  );
  return h(
    "section",
    { class: "tablebox", "data-table": name },
    h(
      "div",
      { class: "tools" },
      spec.tools ?? null,
      h("span", { class: "grow" }, spec.note ?? plural(rows.length, "row")),
      tableMenu(fileName(name, state.task, state.metric), seen),
    ),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": spec.caption }, table),
  );
}

function headCell(name, column, sort, standard) {
  const direction = sort?.key === column.key ? (sort.down ? "descending" : "ascending") : null;
  const title = h(
    "span",
    {},
    column.title,
    direction ? h("span", { "aria-hidden": "true" }, sort.down ? " ▾" : " ▴") : null,
  );
  const click = () => {
    const down = direction === null ? Boolean(column.numeric) : direction === "ascending";
    const wanted = `${down ? "-" : ""}${column.key}`;
    const others = state.sort.filter((item) => !item.startsWith(`${name}:`));
    setState({ sort: wanted === standard ? others : [...others, `${name}:${wanted}`] }, { part: "page" });
    announce(`Sorted by ${column.title}, ${down ? "largest first" : "smallest first"}`);
  };
  const inner = column.drawn
    ? h("span", {}, column.show ? (column.head ?? column.title) : column.title)
    : button(title, `sort ${name} ${column.key}`, click, { title: column.hint });
  return h("th", { scope: "col", class: column.numeric ? "number" : column.class, "aria-sort": direction }, inner);
}

// Rows that are drawn at once; the others follow after the frame, so that a sort of hundreds answers at once. Far down
// the page all are drawn, or the scroll would jump.
const AT_ONCE = 100;

function bodyOf(spec, rows) {
  const first = scrollY > 1000 ? rows.length : AT_ONCE;
  const body = h(
    "tbody",
    {},
    rows.slice(0, first).map((row) => bodyRows(spec, row)),
  );
  const more = (from) => {
    if (from >= rows.length || !body.isConnected) return;
    body.append(...rows.slice(from, from + AT_ONCE).flatMap((row) => bodyRows(spec, row)));
    setTimeout(more, 0, from + AT_ONCE);
  };
  // The table joins the page after it is made, so the first look at it waits for that.
  setTimeout(more, 0, first);
  return body;
}

function bodies(spec, rows) {
  if (!spec.group) return bodyOf(spec, rows);
  const groups = new Map();
  for (const row of rows) {
    const word = spec.group(row);
    if (!groups.has(word)) groups.set(word, []);
    groups.get(word).push(row);
  }
  return [...groups].map(([word, members]) =>
    h(
      "tbody",
      {},
      h(
        "tr",
        { class: "grouphead" },
        h(
          "th",
          { scope: "rowgroup", colspan: spec.columns.length },
          named(word),
          ` · ${plural(members.length, "row")}`,
        ),
      ),
      members.map((row) => bodyRows(spec, row)),
    ),
  );
}

function bodyRows(spec, row) {
  const key = spec.rowKey ? `${spec.name} ${spec.rowKey(row)}` : null;
  const open = key !== null && unfolded.has(key);
  const children = spec.children && open ? spec.children(row) : [];
  return [bodyRow(spec, row, key, open), ...children.map((child) => bodyRow(spec, child, null, false, "child"))];
}

function bodyRow(spec, row, key, open, extra = "") {
  const cells = spec.columns.map((column, place) => {
    const content = column.show ? column.show(row) : columnText(column, row);
    const fold = place === 0 && spec.children && key !== null ? foldButton(spec, row, key, open) : null;
    const shown = content instanceof Node || Array.isArray(content) ? content : named(content);
    const attributes = { class: column.numeric ? "number" : column.class };
    return place === 0
      ? h("th", { scope: "row", ...attributes }, h("div", { class: "first" }, fold, shown))
      : h("td", attributes, shown);
  });
  const marks = [spec.rowClass?.(row), extra].filter(Boolean).join(" ") || null;
  return h("tr", { class: marks, ...(spec.shiftClick && key !== null ? shiftEvents(() => spec.shiftClick(row)) : {}) }, cells);
}

// A click with Shift selects no text here.
function shiftEvents(act) {
  return {
    mousedown: (event) => event.shiftKey && event.preventDefault(),
    click: (event) => event.shiftKey && !event.target.closest("button, a") && act(),
  };
}

function foldButton(spec, row, key, open) {
  const click = () => {
    if (open) unfolded.delete(key);
    else unfolded.add(key);
    draw("page");
  };
  return button(open ? "▾" : "▸", `fold ${key}`, click, {
    class: "icon",
    "aria-expanded": String(open),
    "aria-label": `Seeds of ${spec.rowName(row)}`,
  });
}
