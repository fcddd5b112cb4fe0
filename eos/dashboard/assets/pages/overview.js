/* Overview: what has been run, and can it be trusted? */

const pages = {};

pages.overview = {
  missing: () => (store.data.runs.length ? null : "no runs"),
  draw(view) {
    const parts = [h("h2", {}, "Overview")];
    if (view.scope.length === 0) return [...parts, ...noRuns(), troubles(view)];
    return [...parts, comparedText(view), allFailed(view), overviewTable(view), troubles(view)];
  },
};

function comparedText(view) {
  const summary = view.info.summary ? ` ${view.info.summary}` : "";
  const what = `${plural(view.family.length || view.scope.length, "cell")} on ${view.task}, ${view.budget}, ${seedsText({ ...view, family: view.scope })}.`;
  const chance = [
    ["chance", view.info.chance],
    ["floor", view.info.floor],
  ]
    .filter(([, value]) => value !== null && view.metric === view.info.metric)
    .map(
      ([word, value]) =>
        `${word === "chance" ? "Guessing" : `The trivial answer${view.info.trivial ? ` (${view.info.trivial})` : ""}`} gives ${fixed(value, Math.min(3, view.decimals))}.`,
    )
    .join(" ");
  return h(
    "div",
    { class: "answer" },
    para(answerText(view)),
    hint(what, summary ? [" ", summary] : "", chance ? ` ${chance}` : ""),
    elsewhere(view),
  );
}

// Cells of other budgets and tasks are a step away, not missing.
function elsewhere(view) {
  const { cells } = store.data;
  const link = (found, words, changes) =>
    h("a", { href: linkTo(changes) }, plural(found.length, "cell"), words[0], named(words[1]));
  const budgets = view.budgets
    .filter((budget) => budget !== view.budget)
    .map((budget) =>
      link(
        cells.filter((cell) => cell.task === view.task && cell.budget === budget),
        [" with ", budget],
        { ...OTHER_BUDGET, task: view.task, budget },
      ),
    );
  const tasks = view.tasks
    .filter((task) => task !== view.task)
    .map((task) => link(cells.filter((cell) => cell.task === task), [" on ", task], { ...OTHER_TASK, task }));
  const links = [...budgets, ...tasks];
  if (links.length === 0) return null;
  return hint("Also here: ", links.map((one, place) => [place ? ", " : "", one]), ".");
}

// What differs between the cells of this selection: keys of the recipe that are not the same in all.
function varying(view) {
  return remembered(`varying ${view.task} ${view.budget} ${state.trials}`, () => {
    const keys = distinct(view.scope.flatMap((cell) => Object.keys(cell.recipe)));
    return keys.filter(
      (key) => distinct(view.scope.map((cell) => JSON.stringify(cell.recipe[key] ?? null))).length > 1,
    );
  });
}

function stageText(cell, view) {
  if (!cell.levels) return "no single EOS mixer";
  return STAGES.filter((stage) => stage !== "couple" || cell.levels.couple !== null)
    .filter((stage) => distinct(view.scope.map((other) => other.levels?.[stage] ?? null)).length > 1)
    .map((stage) => `${stage[0].toUpperCase()}: ${levelName(stage, cell.levels[stage])}`)
    .join(", ");
}

const ofRun = (row) => row.run !== undefined;

function overviewColumns(view, axisOf) {
  const number = (key, title, text, pick, unit, onRun) => ({
    key,
    title,
    numeric: true,
    value: (row) => (ofRun(row) ? (onRun?.(row.run) ?? null) : pick(row.cell)),
    text(row) {
      return text(this.value(row));
    },
    csv: null,
    unit,
  });
  const summary = (row) =>
    ofRun(row) ? { ...NOTHING, n: 1, mean: metricOf(row.run, view.metric) } : view.summary(row.cell);
  const columns = [
    {
      key: "name",
      title: "recipe",
      value: (row) => (ofRun(row) ? row.run.name : row.cell.name),
      show: (row) => nameCell(row, view),
    },
    {
      key: "stages",
      title: "stages that differ",
      value: (row) => (ofRun(row) ? "" : stageText(row.cell, view)),
      class: "words",
    },
    {
      key: "n",
      title: "seeds",
      numeric: true,
      hint: "finished seeds of all seeds",
      value: (row) => (ofRun(row) ? null : view.values(row.cell).size),
      text: (row) => (ofRun(row) ? "" : seedCount(row.cell, view)),
      csv: [
        ["seeds", (row) => (ofRun(row) ? null : view.values(row.cell).size)],
        ["runs", (row) => (ofRun(row) ? null : runsOf(row.cell).length)],
      ],
    },
    {
      key: "metric",
      title: metricTitle(view),
      numeric: true,
      marked: true,
      value: (row) => summary(row).mean,
      text: (row) => (ofRun(row) ? runMetric(row.run, view) : metricText(summary(row), view.decimals)),
      csv: [
        [view.metric, (row) => summary(row).mean],
        ["low", (row) => summary(row).low],
        ["high", (row) => summary(row).high],
      ],
    },
    {
      key: "interval",
      title: "95 % interval",
      drawn: true,
      value: () => null,
      csv: [],
      head: axisHead(axisOf),
      show: (row) => intervalPicture(row, view, axisOf),
      class: "interval",
    },
    number("parameters", "params", countText, (cell) => cell.parameters),
    number("training_flops", "FLOPs/token", countText, (cell) => cell.training_flops_per_token),
    number("state", "state", bytesText, (cell) => cell.state_bytes),
    number(
      "time",
      "time",
      durationText,
      (cell) => averageOf(cell, (run) => run.time_s),
      "s",
      (run) => run.time_s,
    ),
    {
      key: "status",
      title: "status",
      value: (row) => (ofRun(row) ? row.run.status : statusWords(runsOf(row.cell))),
      show: (row) => statusCell(ofRun(row) ? [row.run] : runsOf(row.cell), ofRun(row)),
    },
    ...moreColumns(view, number),
  ];
  for (const column of columns)
    if (column.csv === null)
      column.csv = [[column.unit ? `${column.title}_${column.unit}` : column.title, (row) => column.value(row)]];
  return columns;
}

// All columns that the table can have, whichever are in the selection now.
function overviewKeys(view) {
  const own = remembered("recipe keys", () => distinct(store.data.cells.flatMap((cell) => Object.keys(cell.recipe))));
  const usual = overviewColumns(view, null).map((column) => column.key);
  return [...usual, ...Object.keys(view.info.metrics), ...own];
}

const MORE = ["decoding", "rate", "latency", "memory", "steps", "data", "version", "precision", "device"];

function moreColumns(view, number) {
  const others = Object.keys(view.info.metrics).filter((metric) => metric !== view.metric);
  const text = (key, pick) => ({ key, title: key, value: (row) => (ofRun(row) ? "" : valueText(pick(row.cell))) });
  return [
    ...others.map((metric) =>
      number(
        metric,
        `${tagText(metric)} ${view.info.metrics[metric].higher ? "↑" : "↓"}`,
        (value) => (value === null ? "" : threeDigits(value)),
        (cell) => summarize([...valuesOf(cell, metric).values()]).mean,
        null,
        (run) => metricOf(run, metric),
      ),
    ),
    number("decoding", "decoding FLOPs/token", countText, (cell) => cell.decoding_flops_per_token),
    number(
      "rate",
      "tokens/s",
      countText,
      (cell) => averageOf(cell, (run) => run.tokens_per_s),
      null,
      (run) => run.tokens_per_s,
    ),
    number(
      "latency",
      "latency",
      (value) => (value === null ? "" : `${threeDigits(value)} ms`),
      (cell) => averageOf(cell, (run) => run.latency_ms),
      "ms",
      (run) => run.latency_ms,
    ),
    number(
      "memory",
      "peak memory",
      bytesText,
      (cell) => averageOf(cell, (run) => run.peak_bytes),
      "bytes",
      (run) => run.peak_bytes,
    ),
    number(
      "steps",
      "steps",
      countText,
      (cell) => averageOf(cell, (run) => run.step),
      null,
      (run) => run.step,
    ),
    text("data", (cell) => cell.data),
    text("version", (cell) => cell.version),
    text("precision", (cell) => cell.precision),
    text("device", (cell) =>
      distinct(runsOf(cell).map((run) => run.device))
        .map(valueText)
        .join(", "),
    ),
    ...varying(view).map((key) => text(key, (cell) => cell.recipe[key] ?? null)),
  ];
}

// The columns that are shown: the usual ones unless they are the same in all rows, and what the user chose.
function chosenColumns(view, columns) {
  const usual = (column) =>
    !MORE.includes(column.key) && !Object.hasOwn(view.info.metrics, column.key) && !varying(view).includes(column.key);
  const kept = new Set(["name", "n", "metric", "interval", "status", "time"]);
  const rows = view.scope.map((cell) => ({ cell }));
  const same = (column) =>
    !kept.has(column.key) &&
    remembered(
      `same ${view.task} ${view.budget} ${view.metric} ${state.trials} ${column.key}`,
      () => rows.length > 1 && distinct(rows.map((row) => column.value(row))).length < 2,
    );
  const shown = (column) =>
    state.columns.includes(`-${column.key}`)
      ? false
      : state.columns.includes(column.key) || (usual(column) && !same(column));
  const constant = columns.filter(
    (column) => usual(column) && same(column) && ![null, ""].includes(column.value(rows[0])),
  );
  return {
    shown: columns.filter(shown),
    constant: constant.map((column) => `${column.title} ${columnText(column, rows[0])}`),
  };
}

function overviewTable(view) {
  const axisOf = intervalAxis(view);
  const columns = overviewColumns(view, axisOf);
  const { shown, constant } = chosenColumns(view, columns);
  const group = columns.find((column) => column.key === state.group);
  const common = [
    ...constant,
    ...Object.entries(store.data.common).map(([key, value]) => `${key} ${valueText(value)}`),
  ];
  const table = dataTable({
    name: "overview",
    columns: shown,
    rows: view.shown.map((cell) => ({ cell })),
    sort: view.kind.higher ? "-metric" : "metric",
    caption: `${metricTitle(view)} on ${view.task}, ${view.budget}: mean ± half of the 95 % t-interval over seeds. ${source(view)}`,
    rowKey: (row) => row.cell.key,
    rowName: (row) => row.cell.name,
    rowClass: (row) => (row.cell === view.base ? "base" : null),
    shiftClick: (row) => togglePin(row.cell),
    children: (row) => runsOf(row.cell).map((run) => ({ run })),
    group: group ? (row) => `${group.title}: ${columnText(group, row) || "none"}` : null,
    note: `${view.shown.length} of ${plural(view.scope.length, "cell")}`,
    best: (rows) => {
      const found = bestOf(
        view,
        rows.map((row) => row.cell),
      );
      return (
        found && {
          row: rows.find((row) => row.cell === found.best),
          alike: new Set(rows.filter((row) => found.alike.has(row.cell))),
        }
      );
    },
    tools: [columnMenu(columns, shown, view), groupMenu(columns, view)],
  });
  const same = common.length
    ? h(
        "details",
        { class: "same" },
        h("summary", { "data-key": "same" }, `The same in all: ${cutText(common.join(", "), 110)}`),
        para(common.join(", ")),
      )
    : null;
  return [table, same];
}

function columnMenu(columns, shown, view) {
  const toggle = (column) => {
    const on = shown.includes(column);
    const rest = state.columns.filter((key) => key !== column.key && key !== `-${column.key}`);
    setState({ columns: [...rest, on ? `-${column.key}` : column.key] }, { part: "page" });
  };
  const boxes = columns
    .filter((column) => column.key !== "name")
    .map((column) =>
      h(
        "div",
        {},
        checkbox(column.title, `column ${column.key}`, shown.includes(column), () => toggle(column)),
      ),
    );
  return dropdown(
    "Columns",
    "columns",
    boxes,
    button("Usual columns", "columns usual", () => setState({ columns: [] }, { part: "page" })),
  );
}

function groupMenu(columns) {
  const options = columns
    .filter((column) => !column.numeric && !column.drawn && column.key !== "name")
    .map((column) => ({ value: column.key, label: column.title }));
  return menu("group by", "group", [{ value: "", label: "nothing" }, ...options], state.group, (group) =>
    setState({ group }, { part: "page" }),
  );
}
