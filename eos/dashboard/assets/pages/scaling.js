/* Scaling: how does the loss fall with compute, and what size is a budget best spent on? */

pages.scaling = {
  missing: () =>
    store.data.ladders.length
      ? null
      : teach(
          "There is no ladder here",
          para("A ladder is one architecture or several, each at several sizes and budgets. To train one and fit its laws:"),
          command("eos scale experiment=scale_text jobs=2 run=runs/ladder"),
        ),
  draw() {
    const ladder = chosenLadder();
    const rows = laddersModels(ladder);
    const bought = rows.filter((row) => row.study.budgets.length);
    return [
      h("h2", {}, "Scaling"),
      ladderControls(ladder),
      scalingAnswer(rows),
      figure({
        name: "scaling",
        title: "Loss against training compute",
        build: (look) => lossPlot(rows, look),
        description:
          "Every run, hollow where another of as little compute loses less. Lines: power laws L = β C^−α of the filled ones. Both axes are logarithmic.",
      }),
      bought.length
        ? figure({
            name: "best-size",
            title: "The best size for a budget",
            build: (look) => sizePlot(bought, look),
            description:
              "By the law of parameters and tokens, from the largest run to a hundred times it; bands are 95 % ranges of runs drawn with replacement. Right of the dotted line, the largest run of all, it is extrapolation.",
          })
        : null,
      lawTable(ladder, rows),
      bought.length ? budgetTable(ladder, bought) : null,
      ...rows.flatMap((row) => row.study.missing.map((reason) => hint(`${row.model}, ${reason}.`))),
    ];
  },
};

function chosenLadder() {
  const { ladders } = store.data;
  return ladders.find((other) => other.folder === state.ladder) ?? ladders[0] ?? null;
}

function laddersModels(ladder) {
  return Object.entries(ladder.models).map(([model, study], slot) => ({ model, study, slot }));
}

function ladderControls(ladder) {
  const { ladders } = store.data;
  if (ladders.length < 2) return null;
  return h(
    "div",
    { class: "controls" },
    menu(
      "ladder",
      "ladder",
      ladders.map((other) => ({ value: other.folder, label: other.name })),
      ladder.folder,
      (value) => setState({ ladder: value }, { part: "page" }),
    ),
  );
}

const PFLOPS_DAY = 8.64e19;

function powerAt(law, compute) {
  return law.floor + law.coefficients[0] * (compute / PFLOPS_DAY) ** -law.exponents[0];
}

function rangeText([low, high], text) {
  return `[${text(low)}, ${text(high)}]`;
}

// Laws are compared where all have runs: further out a law is a guess.
function scalingAnswer(rows) {
  const fitted = rows.filter((row) => row.study.power !== null);
  const lines = fitted.map(({ model, study }) => {
    const { power, exponent, share } = study;
    const spread = exponent ? ` ${rangeText(exponent, (end) => fixed(end, 3))}` : "";
    const best = share
      ? `, and its best size grows as C^${fixed(share.parameters, 2)} ${rangeText(share.range, (end) => fixed(end, 2))}`
      : "";
    return h("li", {}, named(model), `: loss falls as C^−${fixed(power.exponents[0], 3)}${spread}${best}`);
  });
  const most = Math.min(...rows.map((row) => Math.max(...row.study.points.map((point) => point.compute))));
  const order = fitted
    .map((row) => ({ model: row.model, loss: powerAt(row.study.power, most) }))
    .sort((a, b) => a.loss - b.loss);
  const lead =
    order.length === 0
      ? "No model has runs enough for a law."
      : order.length === 1
        ? `At ${countText(most)}FLOPs the law expects ${fixed(order[0].loss, 3)} nats.`
        : `At ${countText(most)}FLOPs, the most that all models have, the laws expect ${sentenceList(order.map((row) => `${visible(row.model)} ${fixed(row.loss, 3)}`))} nats.`;
  return h("div", { class: "answer" }, para(lead), lines.length ? h("ul", {}, lines) : null);
}

function ladderStyle(row, look) {
  const slot = row.slot % look.cells.length;
  return { color: look.cells[slot], symbol: SYMBOLS[slot], dash: DASHES[slot] };
}

function lossPlot(rows, look) {
  const data = rows.flatMap((row) => {
    const style = ladderStyle(row, look);
    const edge = new Set(row.study.frontier.map((point) => point.folder));
    const marks = {
      type: "scatter",
      mode: "markers",
      name: plotText(row.model),
      x: row.study.points.map((point) => point.compute),
      y: row.study.points.map((point) => point.loss),
      marker: {
        opacity: 1,
        size: 9,
        symbol: style.symbol,
        color: row.study.points.map((point) => (edge.has(point.folder) ? style.color : look.paper)),
        line: { width: 1.75, color: style.color },
      },
      customdata: row.study.points.map((point) => [
        plotText(row.model),
        countText(point.parameters),
        countText(point.tokens),
        fixed(point.loss, 4),
      ]),
      hovertemplate:
        "<b>%{customdata[0]}</b><br>%{customdata[3]} nats<br>N %{customdata[1]}, D %{customdata[2]}<extra></extra>",
    };
    if (row.study.power === null) return [marks];
    const [low, high] = [row.study.points[0].compute, row.study.points.at(-1).compute];
    const at = spacedLogarithmically(low, high, 40);
    const line = {
      type: "scatter",
      mode: "lines",
      hoverinfo: "skip",
      showlegend: false,
      line: { color: style.color, width: 1.5, dash: style.dash },
      x: at,
      y: at.map((compute) => powerAt(row.study.power, compute)),
    };
    return [line, marks];
  });
  return { data, layout: ladderLayout(look, "training compute (FLOPs)", "loss (nats a target)") };
}

function sizePlot(rows, look) {
  const largest = Math.max(...rows.flatMap((row) => row.study.points.map((point) => point.compute)));
  const data = rows.flatMap((row) => {
    const style = ladderStyle(row, look);
    const { budgets } = row.study;
    const x = budgets.map((spent) => spent.compute);
    const [low, high] = [0, 1].map((end) => budgets.map((spent) => spent.parameters[end]));
    const band = {
      type: "scatter",
      mode: "lines",
      hoverinfo: "skip",
      showlegend: false,
      x: [...x, ...[...x].reverse()],
      y: [...high, ...[...low].reverse()],
      fill: "toself",
      fillcolor: translucent(style.color, 0.12),
      line: { width: 0 },
    };
    const line = {
      type: "scatter",
      mode: "lines+markers",
      name: plotText(row.model),
      x,
      y: budgets.map((spent) => spent.best.parameters),
      line: { color: style.color, width: 2, dash: style.dash },
      marker: { size: 8, symbol: style.symbol, color: style.color },
      customdata: budgets.map((spent) => [
        plotText(row.model),
        countText(spent.best.parameters),
        countText(spent.best.tokens),
        fixed(spent.best.loss, 3),
      ]),
      hovertemplate:
        "<b>%{customdata[0]}</b><br>N %{customdata[1]}, D %{customdata[2]}<br>%{customdata[3]} nats expected<extra></extra>",
    };
    return [band, line];
  });
  const layout = ladderLayout(look, "training compute (FLOPs)", "best number of parameters");
  layout.shapes = [
    {
      type: "line",
      xref: "x",
      yref: "paper",
      x0: largest,
      x1: largest,
      y0: 0,
      y1: 1,
      line: { color: look.axis, width: 1, dash: "dot" },
    },
  ];
  return { data, layout };
}

function ladderLayout(look, across, up) {
  const log = { type: "log", exponentformat: "power", dtick: 1 };
  return layoutOf(look, {
    height: look.paperWidth === null ? 420 : Math.round(look.paperWidth * 0.62),
    margin: { l: 72, r: 24, t: 12, b: 52 },
    showlegend: true,
    legend: { font: { size: look.small, color: look.text }, bgcolor: "rgba(0,0,0,0)" },
    xaxis: axis(look, across, log),
    yaxis: axis(look, up, { type: "log", exponentformat: "power" }),
  });
}

function spacedLogarithmically(low, high, count) {
  return Array.from({ length: count }, (_, k) => low * (high / low) ** (k / (count - 1)));
}

function lawTable(ladder, rows) {
  const three = (value) => (value === null || value === undefined ? "" : fixed(value, 3));
  const exponentText = (value, range) => (value === undefined ? "" : `${three(value)}${range ? ` ${rangeText(range, three)}` : ""}`);
  const columns = [
    { key: "model", title: "model", value: (row) => row.model, show: (row) => named(row.model) },
    { key: "runs", title: "runs", numeric: true, value: (row) => row.study.points.length },
    {
      key: "best",
      title: "best loss",
      numeric: true,
      value: (row) => Math.min(...row.study.points.map((point) => point.loss)),
      text: (row) => fixed(Math.min(...row.study.points.map((point) => point.loss)), 4),
    },
    {
      key: "alpha",
      title: "α of C",
      numeric: true,
      value: (row) => row.study.power?.exponents[0] ?? null,
      text: (row) => exponentText(row.study.power?.exponents[0], row.study.exponent),
    },
    {
      key: "floor",
      title: "E",
      numeric: true,
      value: (row) => row.study.both?.floor ?? null,
      text: (row) => three(row.study.both?.floor),
    },
    {
      key: "a",
      title: "a of N",
      numeric: true,
      value: (row) => row.study.both?.exponents[0] ?? null,
      text: (row) => exponentText(row.study.both?.exponents[0], row.study.exponents?.[0]),
    },
    {
      key: "b",
      title: "b of D",
      numeric: true,
      value: (row) => row.study.both?.exponents[1] ?? null,
      text: (row) => exponentText(row.study.both?.exponents[1], row.study.exponents?.[1]),
    },
    {
      key: "share",
      title: "best N grows as C^",
      numeric: true,
      value: (row) => row.study.share?.parameters ?? null,
      text: (row) => (row.study.share ? `${fixed(row.study.share.parameters, 2)} ${rangeText(row.study.share.range, (end) => fixed(end, 2))}` : ""),
    },
  ];
  return dataTable({
    name: "laws",
    columns,
    rows,
    sort: "best",
    caption: `Laws of ${ladder.name}: L = β C^−α on the frontier, and L = E + A N^−a + B D^−b of all runs; Huber's loss on log L, 95 % ranges of runs drawn with replacement.`,
  });
}

function budgetTable(ladder, rows) {
  const spent = rows.flatMap((row) => row.study.budgets.map((budget) => ({ model: row.model, budget })));
  const columns = [
    { key: "model", title: "model", value: (row) => row.model, show: (row) => named(row.model) },
    { key: "compute", title: "FLOPs", numeric: true, value: (row) => row.budget.compute, text: (row) => countText(row.budget.compute) },
    {
      key: "parameters",
      title: "best N",
      numeric: true,
      value: (row) => row.budget.best.parameters,
      text: (row) => `${countText(row.budget.best.parameters)} ${rangeText(row.budget.parameters, countText)}`,
    },
    { key: "tokens", title: "best D", numeric: true, value: (row) => row.budget.best.tokens, text: (row) => countText(row.budget.best.tokens) },
    {
      key: "loss",
      title: "loss expected",
      numeric: true,
      value: (row) => row.budget.best.loss,
      text: (row) => `${fixed(row.budget.best.loss, 3)} ${rangeText(row.budget.loss, (end) => fixed(end, 3))}`,
    },
  ];
  return dataTable({
    name: "budgets",
    columns,
    rows: spent,
    sort: "compute",
    caption: `What a budget buys, by the laws of ${ladder.name}: the largest run's compute, ten times and a hundred times it; beyond the runs this is extrapolation.`,
  });
}
