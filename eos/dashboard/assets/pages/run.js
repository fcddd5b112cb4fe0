/* Run: what exactly was this? */

pages.run = {
  missing: () =>
    store.data.runs.length
      ? null
      : [
          teach(
            "No run to look at",
            para("A run's page shows its recipe, its plan, what differs from another run, and what it wrote."),
          ),
          ...noRuns(),
        ],
  draw(view) {
    const run = chosenRun(view);
    const cell = store.data.cells.find((other) => other.id === run.cell);
    const against = chosenAgainst(view, cell);
    return [
      h("h2", {}, named(run.name)),
      hint("One run of ", named(cell.name), ` on ${cell.task}, ${cell.budget}.`),
      h("div", { class: "controls" }, runMenu(run), againstMenu(view, cell, against)),
      runStatus(run, view),
      h(
        "div",
        { class: "beside halves" },
        factsPart(run, cell),
        h("div", {}, metricsPart(run, view), rowPart(cell), planPart(run)),
      ),
      against ? differsTable(cell, against) : wholeRecipe(cell),
      runCurves(run),
      runMemory(run, view),
      samplesPart(run),
    ];
  },
};

function chosenRun(view) {
  const { runs } = store.data;
  const given = runs.find((run) => run.path === state.run);
  const own = view.base ? runsOf(view.base) : [];
  return given ?? own.find((run) => run.status === "ok") ?? own[0] ?? runs[0];
}

function chosenAgainst(view, cell) {
  const given = cellAt(state.against);
  if (given) return given;
  return view.base && view.base !== cell ? view.base : null;
}

function runMenu(run) {
  const groups = store.data.cells.map((cell) =>
    h(
      "optgroup",
      { label: `${cellTitle(cell)} · ${cell.task}` },
      runsOf(cell).map((other) =>
        h("option", { value: other.path, selected: other === run }, `${STATUS[other.status]} ${other.name}`),
      ),
    ),
  );
  const step = (by) => {
    const { runs } = store.data;
    setState({ run: runs[(runs.indexOf(run) + by + runs.length) % runs.length].path }, { part: "page", push: true });
  };
  return [
    h(
      "label",
      { class: "choice" },
      "run ",
      h(
        "select",
        { "data-key": "run", change: (event) => setState({ run: event.target.value }, { part: "page", push: true }) },
        groups,
      ),
    ),
    store.data.runs.length > 1
      ? h(
          "span",
          {},
          button("‹ previous", "run previous", () => step(-1)),
          " ",
          button("next ›", "run next", () => step(1)),
        )
      : null,
  ];
}

function againstMenu(view, cell, against) {
  const options = store.data.cells
    .filter((other) => other.task === cell.task && other !== cell)
    .map((other) => ({ value: store.keyOf.get(other.id), label: cellTitle(other) }));
  if (options.length === 0) return null;
  return menu(
    "against",
    "against",
    against ? options : [{ value: "", label: "nothing" }, ...options],
    against ? store.keyOf.get(against.id) : "",
    (value) => setState({ against: value }, { part: "page" }),
  );
}

function runStatus(run, view) {
  const value = metricOf(run, view.metric);
  const done = `${run.step.toLocaleString("en-GB")} steps${run.time_s === null ? "" : ` in ${durationText(run.time_s)}`}${value === null ? "" : `, ${tagText(view.metric)} ${fixed(value, view.decimals)}`}`;
  const reason = run.status === "ok" ? done : runReason(run);
  return h(
    "div",
    { class: "answer" },
    para(
      h("span", { class: `count ${run.status}` }, `${STATUS[run.status]} ${run.status}`),
      reason ? [": ", named(reason)] : null,
    ),
    run.warnings.map((text) => h("p", { class: "warning" }, "⚠ ", named(text))),
  );
}

function facts(title, pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "section",
    { class: "panel" },
    title ? h("h3", {}, title) : null,
    h(
      "dl",
      { class: "facts" },
      known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value instanceof Node ? value : named(value))]),
    ),
  );
}

function factsPart(run, cell) {
  const stages = STAGES.filter((stage) => (cell.levels?.[stage] ?? null) !== null).map((stage) => [
    stage,
    levelName(stage, cell.levels[stage]),
  ]);
  return facts("What it is", [
    ["recipe", cell.model],
    ["task", cell.task],
    ["seed", String(run.seed)],
    ...stages,
    [
      "steps",
      `${run.step.toLocaleString("en-GB")}${run.steps === null ? "" : ` of ${run.steps.toLocaleString("en-GB")}`}`,
    ],
    ["best at step", run.best_step?.toLocaleString("en-GB")],
    ["time", durationText(run.time_s)],
    ["speed", run.tokens_per_s ? `${countText(run.tokens_per_s)} tokens/s` : null],
    ["latency", run.latency_ms === null ? null : `${threeDigits(run.latency_ms)} ms for a row held out`],
    ["peak memory", bytesText(run.peak_bytes)],
    ["parameters", cell.parameters?.toLocaleString("en-GB")],
    ["state", bytesText(cell.state_bytes)],
    ["device", run.device],
    ["trial", run.trial ? `${run.trial.number} of ${run.trial.study}` : null],
    ["folder", run.path],
    ["started", run.started?.replace("T", " ").replace("+00:00", " UTC")],
    ["commit", run.commit],
    ["data", cell.data],
    [
      "versions",
      Object.entries(run.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    ],
    ["command", run.command ? command(run.command) : null],
  ]);
}

function metricsPart(run, view) {
  const tasks = store.data.tasks[store.data.cells.find((cell) => cell.id === run.cell).task];
  const names = distinct([...Object.keys(run.metrics), ...Object.keys(run.nonfinite)]);
  return facts(
    run.status === "running" ? "Values so far" : "Values",
    names.map((name) => {
      const direction = tasks?.metrics[name] ? (tasks.metrics[name].higher ? " ↑" : " ↓") : "";
      return [tagText(name) + direction, run.nonfinite[name] ?? fixed(run.metrics[name], Math.max(3, view.decimals))];
    }),
  );
}

function rowPart(cell) {
  return h(
    "section",
    { class: "panel" },
    h("h3", {}, "EOS row"),
    cell.equation
      ? h("pre", {}, cell.equation.join("\n"))
      : hint("This model has no single EOS mixer, so no one row stands for it."),
  );
}

function planPart(run) {
  return run.plan ? h("section", { class: "panel" }, h("h3", {}, "Plan"), h("pre", { tabindex: "0" }, run.plan)) : null;
}

function wholeRecipe(cell) {
  const keys = Object.entries({ ...cell.recipe, ...store.data.common }).map(([key, value]) => [key, valueText(value)]);
  return h(
    "details",
    { class: "same recipe", open: keys.length < 40 },
    h("summary", { "data-key": "recipe" }, `Recipe: ${plural(keys.length, "key")}`),
    facts("", keys),
  );
}

function differsTable(cell, against) {
  const keys = distinct([...Object.keys(cell.recipe), ...Object.keys(against.recipe)]).sort();
  const differing = keys.filter((key) => JSON.stringify(cell.recipe[key]) !== JSON.stringify(against.recipe[key]));
  const same = [
    ...keys.filter((key) => !differing.includes(key)).map((key) => [key, cell.recipe[key]]),
    ...Object.entries(store.data.common),
  ];
  const value = (owner, key) => (Object.hasOwn(owner.recipe, key) ? valueText(owner.recipe[key]) : "");
  const columns = [
    { key: "key", title: "key", value: (key) => key },
    {
      key: "against",
      title: "against",
      value: (key) => value(against, key),
      show: (key) => h("span", { class: "minus" }, h("span", {}, "− "), named(value(against, key) || "not set")),
    },
    {
      key: "here",
      title: "this run",
      value: (key) => value(cell, key),
      show: (key) => h("span", { class: "plus" }, h("span", {}, "+ "), named(value(cell, key) || "not set")),
    },
  ];
  return h(
    "section",
    { class: "panel" },
    h("h3", {}, "Recipe against ", named(cellTitle(against))),
    differing.length
      ? dataTable({
          name: "differs",
          columns,
          rows: differing,
          caption: `What differs between ${cell.name} and ${against.name}. ${store.data.command}`,
          note: `${plural(differing.length, "line")} ${differing.length === 1 ? "differs" : "differ"}`,
        })
      : hint("No line differs."),
    h(
      "details",
      { class: "same" },
      h("summary", { "data-key": "same lines" }, `${plural(same.length, "line")} are the same`),
      h(
        "dl",
        { class: "facts" },
        same.map(([key, item]) => [h("dt", {}, key), h("dd", {}, named(valueText(item)))]),
      ),
    ),
  );
}

function runCurves(run) {
  const entries = store.data.curves.filter((entry) => entry.run === run.id).slice(0, 12);
  if (entries.length === 0) return null;
  if (!store.curves) return h("p", { class: "loading" }, "Reading the curves …");
  return [
    figure({
      name: "runcurves",
      title: "Curves of this run",
      description: `Values against steps: ${sentenceList(entries.map((entry) => tagText(entry.tag)))}. Least and greatest values of each stretch are faint, means are dark; ✕ and a gap: not finite.`,
      build: (look) => smallCurves(entries, look),
    }),
    curvesLeftOut(),
    runCurveTable(entries),
  ];
}

function smallCurves(entries, look) {
  const across =
    look.paperWidth === null ? Math.min(4, Math.max(1, Math.floor(innerWidth / 320))) : look.paperWidth > 400 ? 3 : 2;
  const down = Math.ceil(entries.length / across);
  const height = down * 190;
  const layout = layoutOf(look, { height, margin: { l: 44, r: 10, t: 6, b: 26 }, annotations: [], grid: undefined });
  const data = [];
  entries.forEach((entry, place) => {
    const suffix = place === 0 ? "" : String(place + 1);
    const [column, row] = [place % across, Math.floor(place / across)];
    const [top, bottom] = [1 - (row + 0.14) / down, 1 - (row + 0.86) / down];
    layout[`xaxis${suffix}`] = axis(look, "", {
      title: undefined,
      domain: [column / across + (column ? 0.035 : 0), (column + 1) / across - 0.008],
      anchor: `y${suffix}`,
      nticks: 4,
      automargin: false,
    });
    layout[`yaxis${suffix}`] = axis(look, "", {
      title: undefined,
      domain: [bottom, top],
      anchor: `x${suffix}`,
      nticks: 4,
      automargin: false,
    });
    layout.annotations.push(
      label(look, plotText(cutText(tagText(entry.tag), 36)), {
        xref: `x${suffix} domain`,
        x: 0,
        xanchor: "left",
        yref: "paper",
        y: top,
        yshift: 11,
      }),
    );
    const { x, y, bucketX, means } = curve(entry);
    const at = { xaxis: `x${suffix}`, yaxis: `y${suffix}`, type: "scatter", mode: "lines" };
    const few = Array.from(means).filter(Number.isFinite).length < FEW;
    data.push({
      ...at,
      x: Array.from(x),
      y: Array.from(y),
      line: { color: translucent(look.text, 0.3), width: 1 },
      hoverinfo: "skip",
    });
    data.push({
      ...at,
      x: Array.from(bucketX),
      y: Array.from(means),
      mode: few ? "lines+markers" : "lines",
      line: { color: look.text, width: 1.75 },
      hovertemplate: "%{y:.4g} at step %{x}<extra></extra>",
    });
    const cross = entry.gaps.length ? crossAt(entry, entry.gaps[0][0], 1) : null;
    if (cross)
      data.push({
        ...at,
        mode: "markers",
        x: [cross[0]],
        y: [cross[1]],
        marker: { symbol: "x", size: 9, color: look.worse },
        hovertemplate: "not finite after step %{x}<extra></extra>",
      });
  });
  return { data, layout };
}

function runCurveTable(entries) {
  const columns = [
    { key: "tag", title: "curve", value: (entry) => tagText(entry.tag) },
    { key: "count", title: "values", numeric: true, value: (entry) => entry.count },
    {
      key: "last",
      title: "last",
      numeric: true,
      value: (entry) => Array.from(curve(entry).y).findLast(Number.isFinite) ?? null,
      text(entry) {
        const value = this.value(entry);
        return value === null ? "" : threeDigits(value);
      },
    },
    {
      key: "gaps",
      title: "not finite at steps",
      value: (entry) => entry.gaps.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(", "),
    },
  ];
  return h(
    "details",
    { class: "table" },
    h("summary", { "data-key": "run curve table" }, "The curves as a table"),
    dataTable({ name: "runcurves", columns, rows: entries, caption: `Curves of the run. ${store.data.command}` }),
  );
}

function samplesPart(run) {
  if (run.samples.length === 0) return null;
  return h(
    "section",
    { class: "panel" },
    h("h3", {}, "Samples"),
    run.samples.map((text) => h("pre", { class: "sample", tabindex: "0" }, named(text))),
  );
}
