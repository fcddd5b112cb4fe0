/* Tables as CSV and Markdown, and files to save. A table is {columns, rows, caption}; what is seen is what is saved. */

// A spreadsheet runs text that starts with these as a formula.
const FORMULA = /^[=+\-@\t\r]/;

function csvField(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = visible(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

// A column may stand for several in CSV, at full precision: `csv` is [[heading, value of a row], …].
function csvColumns(columns) {
  return columns.flatMap((column) => column.csv ?? [[column.title, column.value]]);
}

function toCsv({ columns, rows }) {
  const parts = csvColumns(columns);
  const lines = [
    parts.map(([heading]) => csvField(heading)),
    ...rows.map((row) => parts.map(([, value]) => csvField(value(row)))),
  ];
  return lines.map((line) => line.join(",") + "\r\n").join("");
}

function columnText(column, row) {
  if (column.text) return column.text(row);
  const value = column.value(row);
  return value === null || value === undefined ? "" : String(value);
}

function written(columns) {
  return columns.filter((column) => !column.drawn);
}

function markdownField(text) {
  return visible(text)
    .replace(/\s+/g, " ")
    .replace(/\\/g, "\\\\")
    .replace(/[|`<>*_[\]]/g, "\\$&");
}

function toMarkdown({ columns, rows, caption }) {
  const shown = written(columns);
  const line = (fields) => `| ${fields.join(" | ")} |\n`;
  const head = line(shown.map((column) => markdownField(column.title)));
  const rule = line(shown.map((column) => (column.numeric ? "---:" : "---")));
  const body = rows.map((row) => line(shown.map((column) => markdownField(columnText(column, row))))).join("");
  return `${head}${rule}${body}\n${markdownField(caption)}\n`;
}

function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  announce(`Saved ${name}`);
}

async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard's permission (a page from a file): the older way.
    const area = h("textarea", { class: "unseen", value: text, "aria-label": "text to copy" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce(`${what} copied`);
  showNote(`${what} copied`);
}

function fileName(...parts) {
  return parts
    .filter(Boolean)
    .join("-")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 100);
}

const FORMATS = {
  csv: ["CSV", toCsv, "text/csv"],
  md: ["Markdown", toMarkdown, "text/markdown"],
  tex: ["LaTeX", toLatex, "text/x-tex"],
};

// Buttons that copy and save a table; `take` gives it as it is seen at that moment.
function tableMenu(name, take) {
  const rows = Object.entries(FORMATS).map(([ending, [title, write, type]]) =>
    h(
      "div",
      { class: "pair" },
      h("span", {}, title),
      button("Copy", `copy ${name} ${ending}`, () => copyText(write(take()), `${title} table`), {
        "aria-label": `Copy as ${title}`,
      }),
      button("Save", `save ${name} ${ending}`, () => save(`${fileName(name)}.${ending}`, write(take()), type), {
        "aria-label": `Save as ${title}`,
      }),
    ),
  );
  return dropdown("Export table", `export ${name}`, rows);
}
