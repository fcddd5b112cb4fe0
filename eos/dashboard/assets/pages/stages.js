/* Stages: which stage matters, by how much, and how sure is it? */

pages.stages = {
  missing(view) {
    const withLevels = view.family.filter((cell) => cell.levels);
    const finished = withLevels.filter((cell) => view.values(cell).size > 0);
    if (finished.length >= 2) return null;
    if (withLevels.length >= 2) return [unfinished(finished.length, withLevels.length), allFailed(view)];
    const only = withLevels[0];
    return teach(
      "Stages need a baseline and one more cell",
      para(
        only
          ? `${only.name} is the only cell here with stages.`
          : "No cell here has an expand, an oscillation and a shrink stage.",
        " Train another that differs from it in one stage, with the same seeds:",
      ),
      command(
        `${(only && runsOf(only)[0]?.command) ?? "eos train experiment=mqar_small model=gla seeds=3"} expand=elu`,
      ),
      view.trials
        ? para(
            `${plural(view.trials, "trial")} of searches are left out; a search visits good regions more often, so its trials are not an ablation. Tick “with search trials” above to use them anyway.`,
          )
        : null,
    );
  },
  draw(view) {
    const effects = stageEffects(view);
    return [
      h("h2", {}, "Stages"),
      h("div", { class: "answer" }, para(answerText(view)), hint(baseText(view, effects))),
      effectRows(effects).length
        ? effectsPart(view, effects)
        : teach(
            "No two cells differ in one stage alone",
            para(
              "An effect is told between cells that are equal in all but one stage. Train some that are, for instance by a sweep over one stage.",
            ),
          ),
      stageMaps(view, effects),
      differencesTable(view),
    ];
  },
};

function unfinished(finished, all) {
  const words = `${finished} of ${plural(all, "cell")} here have one. What became of the others stands on the overview.`;
  return teach("Stages need two cells with finished runs", para(words));
}

function baseText(view, effects) {
  const much = view.kind.fraction ? "that many points (hundredths)" : "that much";
  const words = `+ means better: ${tagText(view.metric)} is ${view.kind.higher ? "higher" : "lower"} by ${much}.`;
  if (!effects.base) return words;
  const lent =
    effects.base === view.base
      ? ""
      : ` The baseline ${view.base.name} has no stages of its own; levels are compared with those of ${effects.base.name}.`;
  const few = effects.tooFew
    ? " Too few contexts and seeds to tell: with so many comparisons no effect of ordinary size could pass the correction."
    : "";
  const alone = effects.rows.filter((row) => !row.isBase && row.effect.contexts === 0).length;
  const without = alone ? ` ${plural(alone, "level")} never ran in the same setting as the baseline's.` : "";
  return `${words} Levels are compared with those of ${effects.base.name}, in settings that are equal in all else; corrected for ${plural(effects.tests, "comparison")} (Holm).${without}${lent}${few}`;
}

// A heading row for each stage, its baseline level, then the others from best to worst; without those that share no context.
function effectRows(effects) {
  const value = (row) => row.effect?.mean ?? (row.isBase ? Infinity : -Infinity);
  return STAGES.flatMap((stage) => {
    const members = effects.rows.filter((row) => row.stage === stage && (row.isBase || row.effect.contexts > 0));
    return members.length > 1 ? [{ stage, heading: true }, ...members.sort((a, b) => value(b) - value(a))] : [];
  });
}

function effectsPart(view, effects) {
  const rows = effectRows(effects);
  const picture = figure({
    name: "effects",
    title: "Effect of each choice",
    description: `Mean difference to the baseline's level over contexts, with its 95 % interval, in ${unitText(view)}; right is better. The table with it holds the numbers.`,
    build: (look) => effectsPlot(view, rows, look),
  });
  return h("div", { class: "beside effects" }, picture, effectsTable(view, rows));
}

function effectsPlot(view, rows, look) {
  const scale = differenceScale(view.kind.fraction);
  const drawn = rows
    .map((row, place) => ({ row, y: -place }))
    .filter(({ row }) => row.effect && row.effect.mean !== null);
  const [from, to] = effectsRange(
    drawn.map(({ row }) => row.effect),
    scale,
  );
  const clip = (value) => Math.min(to, Math.max(from, value));
  const bars = drawn
    .filter(({ row }) => row.effect.half !== null)
    .map(({ row, y }) => ({
      type: "scatter",
      mode: "lines",
      hoverinfo: "skip",
      line: { color: passed(row) ? look.text : look.muted, width: passed(row) ? 2.5 : 1.5 },
      x: [clip(row.effect.low * scale), clip(row.effect.high * scale)],
      y: [y, y],
    }));
  const out = (value, side) => (side > 0 ? value > to : value < from);
  // Where even the mean lies outside, its value stands at the arrow.
  const beyond = drawn.flatMap(({ row, y }) => {
    const mean = row.effect.mean * scale;
    const ends = [
      [(row.effect.low ?? row.effect.mean) * scale, -1],
      [(row.effect.high ?? row.effect.mean) * scale, 1],
    ];
    return ends
      .filter(([value, side]) => out(value, side))
      .map(([, side]) => ({ y, side, text: out(mean, side) ? signed(mean, view.differenceDecimals) : "" }));
  });
  const points = {
    type: "scatter",
    mode: "markers",
    x: drawn.map(({ row }) => row.effect.mean * scale),
    y: drawn.map(({ y }) => y),
    marker: {
      size: 9,
      color: drawn.map(({ row }) => (passed(row) ? look.text : look.paper)),
      line: { width: 1.5, color: drawn.map(({ row }) => (passed(row) ? look.text : look.muted)) },
    },
    customdata: drawn.map(({ row }) => [
      plotText(levelName(row.stage, row.level)),
      plotText(differenceText(row.effect, view)),
      row.effect.contexts,
      row.effect.pairs,
      pText(row.corrected),
    ]),
    hovertemplate:
      "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>contexts %{customdata[2]}, pairs %{customdata[3]}<br>p_Holm %{customdata[4]}<extra></extra>",
  };
  const arrows = {
    type: "scatter",
    mode: "markers+text",
    hoverinfo: "skip",
    x: beyond.map(({ side }) => (side > 0 ? to : from)),
    y: beyond.map(({ y }) => y),
    text: beyond.map(({ text }) => text),
    textposition: beyond.map(({ side }) => (side > 0 ? "middle left" : "middle right")),
    textfont: { size: look.small, color: look.text },
    marker: {
      size: 9,
      color: look.muted,
      symbol: beyond.map(({ side }) => (side > 0 ? "triangle-right" : "triangle-left")),
    },
  };
  const bases = rows.map((row, place) => [row, -place]).filter(([row]) => row.isBase);
  const zero = {
    type: "scatter",
    mode: "markers",
    hoverinfo: "skip",
    x: bases.map(() => 0),
    y: bases.map(([, y]) => y),
    marker: { size: 9, symbol: "line-ns", line: { width: 2.5, color: look.text } },
  };
  const wide = look.paperWidth === null || look.paperWidth > 400;
  const names = rows.map((row) =>
    row.heading
      ? `<b>${capital(row.stage)}</b>`
      : plotText(cutText(levelName(row.stage, row.level), wide ? 40 : 20)) + (row.isBase ? " (base)" : ""),
  );
  const longest = Math.max(...names.map((name) => name.length));
  const title = wide
    ? `← worse · difference in ${plotText(unitText(view))} · better →`
    : `${plotLines(`difference in ${unitText(view)}`, 24)}<br>← worse · better →`;
  const titled = look.row * 1.5 + 20 + (title.split("<br>").length - 1) * look.size * 1.3;
  const height = look.row * (rows.length + 1.5) + titled;
  return {
    data: [...bars, zero, points, arrows],
    layout: layoutOf(look, {
      height,
      margin: {
        l: Math.min(wide ? 300 : 150, 24 + longest * look.small * 0.55),
        r: 16,
        t: look.row,
        b: titled,
      },
      xaxis: axis(look, title, {
        range: [from - (to - from) * 0.025, to + (to - from) * 0.025],
        nticks: 9,
      }),
      yaxis: {
        tickvals: rows.map((_, place) => -place),
        ticktext: names,
        range: [-rows.length + 0.25, 0.75],
        fixedrange: true,
        showgrid: false,
        zeroline: false,
        tickfont: { size: look.small, color: look.text },
        automargin: false,
      },
      shapes: [
        {
          type: "line",
          x0: 0,
          x1: 0,
          yref: "paper",
          y0: 0,
          y1: 1,
          line: { color: look.text, width: 1.5 },
          layer: "below",
        },
      ],
    }),
  };
}

// Wide enough for 0, every mean and most intervals; an interval beyond ends in an arrow.
function effectsRange(effects, scale) {
  // What was tested is never an outlier: it may be the answer.
  const tested = effects.filter((effect) => effect.p !== null);
  const means = (tested.length ? tested : effects).map((effect) => effect.mean * scale);
  const halves = effects
    .map((effect) => effect.half)
    .filter((half) => half !== null)
    .map((half) => half * scale);
  const typical = halves.length ? quantile(halves, 0.75) : 0;
  const [low, high] = [Math.min(0, ...means), Math.max(0, ...means)];
  const pad = Math.max(typical * 1.15, (high - low) * 0.08, 1e-9);
  return [low - pad, high + pad];
}

function effectsTable(view, rows) {
  const columns = [
    { key: "stage", title: "stage", value: (row) => row.stage },
    { key: "level", title: "level", value: (row) => levelName(row.stage, row.level) },
    {
      key: "effect",
      title: `Δ ${unitText(view)}`,
      numeric: true,
      value: (row) => row.effect?.mean ?? null,
      text: (row) => (row.isBase ? "baseline" : differenceText(row.effect, view)),
      csv: [
        ["difference", (row) => row.effect?.mean ?? null],
        ["low", (row) => row.effect?.low ?? null],
        ["high", (row) => row.effect?.high ?? null],
      ],
    },
    {
      key: "contexts",
      title: "contexts · pairs",
      numeric: true,
      value: (row) => row.effect?.contexts ?? null,
      text: (row) => (row.isBase ? "" : `${row.effect.contexts} · ${row.effect.pairs}`),
      csv: [
        ["contexts", (row) => row.effect?.contexts ?? null],
        ["pairs", (row) => row.effect?.pairs ?? null],
      ],
    },
    {
      key: "p",
      title: "p_Holm",
      numeric: true,
      value: (row) => row.corrected ?? null,
      text: (row) => (row.isBase ? "" : pHolmText(row)),
      csv: [
        ["p", (row) => row.effect?.p ?? null],
        ["p_holm", (row) => row.corrected ?? null],
      ],
    },
    { key: "note", title: "note", value: (row) => noteText(row) },
  ];
  const table = rows.filter((row) => !row.heading);
  const seen = () => ({
    columns,
    rows: table,
    caption: `Effect of each level on ${tagText(view.metric)}, ${view.task}, ${view.budget}: mean difference to the baseline's level over contexts, 95 % t-interval, p corrected by Holm. ${source(view)}`,
  });
  const [, , ...shown] = columns;
  const body = rows.map((row) =>
    row.heading
      ? h("tr", { class: "heading" }, h("th", { scope: "rowgroup", colspan: shown.length + 1 }, capital(row.stage)))
      : h(
          "tr",
          { class: row.isBase ? "base" : passed(row) ? "sure" : null },
          h("th", { scope: "row", class: "unseencell" }, named(levelName(row.stage, row.level))),
          shown.map((column) => h("td", { class: column.numeric ? "number" : "hint" }, columnText(column, row))),
        ),
  );
  return h(
    "section",
    { class: "tablebox aligned", "data-table": "effects" },
    h(
      "div",
      { class: "tools" },
      h("span", { class: "grow" }),
      tableMenu(fileName("effects", view.task, view.metric), seen),
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Effects as a table" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col", class: "unseencell" }, "level"),
            shown.map((column) => h("th", { scope: "col", class: column.numeric ? "number" : null }, column.title)),
          ),
        ),
        h("tbody", {}, body),
      ),
    ),
  );
}

function pHolmText(row) {
  return row.corrected === null ? "" : `${pText(row.corrected)}${passed(row) ? " *" : ""}`;
}

function noteText(row) {
  if (row.isBase) return "";
  return [
    row.effect.note,
    row.effect.unpaired && row.effect.contexts > 1 ? `${row.effect.unpaired} unpaired left out` : "",
  ]
    .filter(Boolean)
    .join("; ");
}

function differencesTable(view) {
  const { rows, apart, tests, tooFew } = cellDifferences(view);
  if (!view.base || rows.length + apart.length === 0) return null;
  const shown = rows.filter((row) => view.shown.includes(row.cell));
  const columns = [
    {
      key: "cell",
      title: "cell",
      value: (row) => row.cell.name,
      show: (row) => [
        named(row.cell.name),
        row.unlike.length ? h("span", { class: "tag" }, `⚠ other ${row.unlike.join(", ")}`) : null,
      ],
    },
    {
      key: "pairs",
      title: "pairs",
      numeric: true,
      value: (row) => row.difference.pairs,
      text: (row) => (row.difference.paired ? String(row.difference.pairs) : "unpaired"),
    },
    {
      key: "difference",
      title: `Δ ${unitText(view)} [95 %]`,
      numeric: true,
      value: (row) => row.difference.mean,
      text: (row) => differenceText(row.difference, view),
      csv: [
        ["difference", (row) => row.difference.mean],
        ["low", (row) => row.difference.low],
        ["high", (row) => row.difference.high],
      ],
    },
    { key: "p", title: "p", numeric: true, value: (row) => row.difference.p, text: (row) => pText(row.difference.p) },
    { key: "p_holm", title: "p_Holm", numeric: true, value: (row) => row.corrected, text: pHolmText },
    { key: "note", title: "note", value: (row) => row.difference.note },
  ];
  const few = tooFew ? " Too few seeds to tell: no difference of ordinary size could pass the correction." : "";
  return [
    h("h3", {}, "Each cell against the baseline"),
    hint(
      `${view.base.name} is the baseline. Paired over shared seeds, else Welch's test (“unpaired”). Corrected for ${plural(tests, "comparison")}; hiding or filtering rows does not change that.${few}`,
      apart.length
        ? ` Not compared, since their data, version or precision differ: ${cutText(sentenceList(apart.map((cell) => cell.name)), 200)}.`
        : "",
    ),
    dataTable({
      name: "differences",
      columns,
      rows: shown,
      sort: "-difference",
      caption: `Paired differences in ${tagText(view.metric)} to ${view.base.name} on ${view.task}, ${view.budget}: mean, 95 % t-interval, p of a paired t-test, Holm over ${tests} comparisons. ${source(view)}`,
      note: `${shown.length} of ${plural(rows.length, "cell")}`,
    }),
  ];
}
