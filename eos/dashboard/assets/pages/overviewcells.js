/* The cells of the overview's table that are more than text. */

function seedCount(cell, view) {
  return `${view.values(cell).size}/${distinct(runsOf(cell).map((run) => run.seed)).length}`;
}

function runMetric(run, view) {
  const value = metricOf(run, view.metric);
  if (value === null) return run.nonfinite[view.metric] ?? "";
  return `${fixed(value, view.decimals)}${run.status === "ok" ? "" : " so far"}`;
}

function togglePin(cell) {
  setState({ pin: toggledCell(state.pin, cell) });
}

// The focus goes to the row that takes the place of the hidden one; after the last, to what shows all rows again.
function hideCell(cell, control) {
  const controls = [...document.querySelectorAll("#content [data-key^='hide ']")];
  const next = controls[controls.indexOf(control) + 1]?.dataset.key;
  setState({ hide: toggledCell(state.hide, cell) });
  ((next && byKey(next)) ?? byKey("unhide"))?.focus({ preventScroll: true });
}

function nameCell(row, view) {
  if (ofRun(row))
    return h(
      "a",
      { href: linkTo({ page: "run", run: row.run.path }), class: "seed" },
      `seed ${row.run.seed}`,
      h("span", { class: "hint" }, " ", named(row.run.name)),
    );
  const { cell } = row;
  const pinned = view.pinned.includes(cell);
  const slot = view.slots.get(cell.id);
  return h(
    "span",
    { class: "name" },
    h("span", {
      class: "swatch",
      style: slot === undefined ? null : `background:${screenLook().cells[slot]}`,
      "aria-hidden": "true",
    }),
    h(
      "span",
      { class: "title", title: cell.name },
      named(cell.name),
      cell === view.base ? h("span", { class: "tag" }, "baseline") : null,
      cell.study ? h("span", { class: "tag" }, "trial") : null,
    ),
    button(pinned ? "★" : "☆", `pin ${cell.key}`, () => togglePin(cell), {
      class: "icon",
      "aria-pressed": String(pinned),
      "aria-label": `Pin ${cell.name}`,
      title: "Pin: draw it on all pages (Shift and click on the row)",
    }),
    button("×", `hide ${cell.key}`, (event) => hideCell(cell, event.currentTarget), {
      class: "icon",
      "aria-label": `Hide ${cell.name}`,
      title: "Hide on all pages",
    }),
  );
}

function statusWords(runs) {
  return [...statusCounts(runs)].map(([status, count]) => `${count} ${status}`).join(", ");
}

function statusCell(runs, withReason) {
  const marks = [...statusCounts(runs)].map(([status, count]) =>
    h(
      "span",
      { class: `count ${status}`, title: `${count} ${status}` },
      h("span", { "aria-hidden": "true" }, STATUS[status], " "),
      withReason ? status : count,
      withReason ? null : h("span", { class: "unseen" }, ` ${status}`),
    ),
  );
  const reason = withReason ? runReason(runs[0]) : "";
  return h(
    "span",
    { class: "statuses" },
    marks,
    reason ? h("span", { class: "hint reason", title: reason }, named(reason)) : null,
  );
}

function runReason(run) {
  if (run.status === "running") {
    const age = (Date.parse(store.data.made) / 1000 - run.written) / 60;
    const of = run.steps === null ? "" : ` of ${run.steps.toLocaleString("en-GB")}`;
    return `step ${run.step.toLocaleString("en-GB")}${of}, last written ${age < 1 ? "less than a minute" : durationText(age * 60)} ago${age > 10 ? ": stale" : ""}`;
  }
  return run.status === "ok" ? "" : (run.reason ?? "");
}

// One axis for the column, over the means and a typical interval: a very wide interval gets an arrow and squeezes nothing.
function intervalAxis(view) {
  const summaries = view.scope.map(view.summary).filter((summary) => summary.mean !== null);
  if (summaries.length === 0) return null;
  const means = summaries.map((summary) => summary.mean);
  const [low, high] = fenced(means);
  const halves = summaries.map((summary) => summary.half ?? 0);
  const pad = Math.max(quantile(halves, 0.5), (high - low) * 0.06, Math.abs(high) * 1e-3, 1e-9);
  return { low: low - pad, high: high + pad };
}

function axisHead(axisOf) {
  if (!axisOf) return "95 % interval";
  const decimals = decimalsOf((axisOf.high - axisOf.low) / 4);
  return h(
    "span",
    { class: "axis" },
    h("b", {}, "95 % interval"),
    h("span", {}, fixed(axisOf.low, decimals)),
    h("span", {}, fixed(axisOf.high, decimals)),
  );
}

const WIDTH = 150;

function intervalPicture(row, view, axisOf) {
  const summary = ofRun(row)
    ? { ...NOTHING, mean: row.run.status === "ok" ? metricOf(row.run, view.metric) : null }
    : view.summary(row.cell);
  if (!axisOf || summary.mean === null) return "";
  const raw = (value) => 6 + ((WIDTH - 12) * (value - axisOf.low)) / (axisOf.high - axisOf.low);
  const at = (value) => Math.min(WIDTH - 2, Math.max(2, raw(value)));
  const arrow = (value) =>
    raw(value) < 2
      ? svg("path", { d: "M6 6 L1 10 L6 14", class: "line" })
      : raw(value) > WIDTH - 2
        ? svg("path", { d: `M${WIDTH - 6} 6 L${WIDTH - 1} 10 L${WIDTH - 6} 14`, class: "line" })
        : null;
  const interval =
    summary.half === null || summary.half === undefined
      ? []
      : [
          svg("path", { d: `M${at(summary.low)} 10 H${at(summary.high)}`, class: "line" }),
          ...[summary.low, summary.high].map(
            (end) => arrow(end) ?? svg("path", { d: `M${at(end)} 6 V14`, class: "line" }),
          ),
        ];
  const base = view.base ? view.summary(view.base).mean : null;
  const radius = ofRun(row) ? 2 : 4;
  const kind = ofRun(row) || summary.n > 1 ? "dot" : "dot hollow";
  return svg(
    "svg",
    { width: WIDTH, height: 20, viewBox: `0 0 ${WIDTH} 20`, "aria-hidden": "true" },
    base === null || raw(base) < 0 || raw(base) > WIDTH
      ? null
      : svg("path", { d: `M${at(base)} 0 V20`, class: "reference" }),
    // Where even the mean lies outside there is an arrow alone.
    arrow(summary.mean) ?? [interval, svg("circle", { cx: at(summary.mean), cy: 10, r: radius, class: kind })],
  );
}
