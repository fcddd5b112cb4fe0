/* Trade-offs: what does quality cost? */

const COSTS = {
  parameters: { title: "parameters", text: countText, of: (cell) => cell.parameters },
  state: { title: "state (bytes)", text: bytesText, of: (cell) => cell.state_bytes },
  training: { title: "training FLOPs per token", text: countText, of: (cell) => cell.training_flops_per_token },
  decoding: { title: "decoding FLOPs per token", text: countText, of: (cell) => cell.decoding_flops_per_token },
  latency: {
    title: "latency (ms)",
    text: (value) => `${threeDigits(value)} ms`,
    device: true,
    of: (cell, device) => measured(cell, device, "latency_ms"),
  },
  rate: {
    title: "training time per token (µs)",
    text: (value) => `${threeDigits(value)} µs`,
    device: true,
    of(cell, device) {
      const rate = measured(cell, device, "tokens_per_s");
      return rate === null ? null : 1e6 / rate;
    },
  },
  memory: {
    title: "peak memory (bytes)",
    text: bytesText,
    device: true,
    of: (cell, device) => measured(cell, device, "peak_bytes"),
  },
};

// Where a run was measured: a device, and the numbers it computed with.
function placeOf(run, cell) {
  return run.device === null ? null : [run.device, cell.precision].filter(Boolean).join(", ");
}

// What was measured in one place; others are another choice.
function measured(cell, device, key) {
  const values = runsOf(cell)
    .filter((run) => placeOf(run, cell) === device && run.status === "ok")
    .map((run) => run[key])
    .filter(Number.isFinite);
  return values.length ? meanOf(values) : null;
}

pages.tradeoffs = {
  missing: (view) =>
    view.scope.some((cell) => view.summary(cell).mean !== null)
      ? null
      : teach(
          "No cell has a finished value",
          para(
            "A trade-off needs cells with a final value of the chosen metric. Runs that are going on get one when they end.",
          ),
          command("eos train experiment=mqar_small model=gla seeds=3"),
        ),
  draw(view) {
    const costs = Object.keys(COSTS).filter((key) => points(view, key, deviceOf(view)).length);
    if (costs.length === 0)
      return [
        h("h2", {}, "Trade-offs"),
        teach(
          "No cost is known of these cells",
          para(
            "The result of a run holds its parameters, FLOPs, state and measured speed. None of these runs says any.",
          ),
        ),
      ];
    const cost = costs.includes(state.cost) ? state.cost : costs[0];
    const device = deviceOf(view);
    const rows = markFront(points(view, cost, device), view);
    const without = view.shown.filter(
      (cell) => view.summary(cell).mean !== null && !rows.some((row) => row.cell === cell),
    );
    return [
      h("h2", {}, "Trade-offs"),
      tradeControls(view, costs, cost, device),
      tradeAnswer(view, rows, cost),
      figure({
        name: "tradeoffs",
        title: `${metricTitle(view)} against ${COSTS[cost].title}`,
        build: (look) => tradePlot(view, rows, cost, look),
        description: `Means with 95 % intervals over seeds${COSTS[cost].device ? `, measured on ${device}` : ""}. The steps join the cells that no other beats in both. A triangle at the edge: outside the picture, its value is in the table. Hollow: one seed, or on the front but not surely, since its interval meets that of a cell on the front that costs less.`,
      }),
      tradeTable(view, rows, cost),
      without.length
        ? hint(
            `Without a ${COSTS[cost].title.replace(/ \(.*/, "")} here: ${sentenceList(without.map((cell) => cell.name))}.`,
          )
        : null,
    ];
  },
};

function devices(view) {
  const places = view.scope.flatMap((cell) => runsOf(cell).map((run) => placeOf(run, cell)));
  return distinct(places).filter((place) => place !== null);
}

function deviceOf(view) {
  const known = devices(view);
  return known.includes(state.device) ? state.device : (known[0] ?? null);
}

function points(view, cost, device) {
  return view.shown
    .map((cell) => ({ cell, summary: view.summary(cell), cost: COSTS[cost].of(cell, device) }))
    .filter((row) => row.summary.mean !== null && row.cost !== null && row.cost !== undefined);
}

function markFront(rows, view) {
  const order = [...rows].sort((a, b) => a.cost - b.cost || view.sign * (b.summary.mean - a.summary.mean));
  let best = null;
  const front = [];
  for (const row of order) {
    row.front = best === null || view.sign * row.summary.mean > view.sign * best;
    if (row.front) best = row.summary.mean;
    row.unsure = row.front && front.some((other) => overlaps(row.summary, other.summary));
    if (row.front) front.push(row);
  }
  return order;
}

function overlaps(a, b) {
  if (a.half === null || b.half === null) return true;
  return a.low <= b.high && b.low <= a.high;
}

function tradeControls(view, costs, cost, device) {
  return h(
    "div",
    { class: "controls" },
    menu(
      "cost",
      "cost",
      costs.map((key) => ({ value: key, label: COSTS[key].title })),
      cost,
      (value) => setState({ cost: value }, { part: "page" }),
    ),
    COSTS[cost].device
      ? menu(
          "device",
          "device",
          devices(view).map((value) => ({ value, label: value })),
          device,
          (value) => setState({ device: value }, { part: "page" }),
        )
      : null,
    checkbox("log x", "logx", state.logx, (logx) => setState({ logx }, { part: "page" })),
  );
}

// By intervals that do not meet, which asks for more than a test would.
function tradeAnswer(view, rows, cost) {
  const front = rows.filter((row) => row.front);
  if (rows.length < 2)
    return h("div", { class: "answer" }, para("One cell has both a value and a cost: there is nothing to weigh yet."));
  const cheap = front[0];
  const words = (row) => `${row.cell.name} (${COSTS[cost].text(row.cost)}): ${metricText(row.summary, view.decimals)}`;
  const alike = rows.filter((row) => row.cost === cheap.cost).length;
  const least = alike < rows.length ? `${alike} cells cost the same, the least of all` : `All ${alike} cells cost the same`;
  const lead =
    alike > 1
      ? `${least} (${COSTS[cost].text(cheap.cost)}). The best of them is ${cheap.cell.name}: ${metricText(cheap.summary, view.decimals)}.`
      : `The cheapest on the front is ${words(cheap)}.`;
  const surely = front.find((row) => row !== cheap && !overlaps(row.summary, cheap.summary));
  const more = surely
    ? `The cheapest that is surely better is ${words(surely)}.`
    : alike < rows.length
      ? "No costlier cell is surely better."
      : "";
  return h(
    "div",
    { class: "answer" },
    para(`${lead} ${more}`),
    hint(`${front.length} of ${plural(rows.length, "cell")} on the front. Surely: the 95 % intervals do not meet.`),
  );
}

function tradePlot(view, rows, cost, look) {
  const { title, text } = COSTS[cost];
  const log = state.logx && rows.every((row) => row.cost > 0);
  const range = tradeRange(rows, log);
  const height = look.paperWidth === null ? 520 : Math.round(look.paperWidth * 0.62);
  const styles = rows.map((row) => cellStyle(view, row.cell, look));
  const front = rows.filter((row) => row.front);
  const edge = log ? 10 ** range.x[1] : range.x[1];
  const line = {
    type: "scatter",
    mode: "lines",
    hoverinfo: "skip",
    line: { color: look.axis, width: 1.5, shape: "hv" },
    x: [...front.map((row) => row.cost), edge],
    y: [...front.map((row) => row.summary.mean), front.at(-1)?.summary.mean],
  };
  const bars = rows
    .map((row, k) =>
      row.summary.half === null
        ? null
        : {
            type: "scatter",
            mode: "lines",
            hoverinfo: "skip",
            x: [row.cost, row.cost],
            y: [row.summary.low, row.summary.high],
            line: { color: styles[k].color, width: 1.5 },
          },
    )
    .filter(Boolean);
  const marks = {
    type: "scatter",
    mode: "markers",
    x: rows.map((row) => row.cost),
    y: rows.map((row) => Math.min(range.y[1], Math.max(range.y[0], row.summary.mean))),
    cliponaxis: false,
    marker: {
      opacity: 1,
      size: rows.map((row) => (row.front ? 11 : 9)),
      symbol: styles.map((style, k) => edgeSymbol(rows[k].summary.mean, range.y) ?? style.symbol.replace("-open", "")),
      color: rows.map((row, k) => (row.unsure || row.summary.n === 1 ? look.paper : styles[k].color)),
      line: { width: 1.75, color: styles.map((style) => style.color) },
    },
    customdata: rows.map((row) => [
      plotText(row.cell.name),
      plotText(metricText(row.summary, view.decimals)),
      row.summary.n,
      plotText(text(row.cost)),
      plotText(frontWord(row) || "not on the front"),
    ]),
    hovertemplate:
      "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>seeds %{customdata[2]}<br>cost %{customdata[3]}<br>%{customdata[4]}<extra></extra>",
  };
  const layout = layoutOf(look, {
    height,
    margin: { l: 64, r: 24, t: 12, b: 52 },
    xaxis: axis(look, plotText(title), { type: log ? "log" : "linear", range: range.x }),
    yaxis: axis(look, plotText(metricTitle(view)), { range: range.y }),
  });
  layout.annotations = [
    ...tradeLabels(view, rows, styles, range, layout, look, log),
    label(look, view.sign > 0 ? "↖ better" : "↙ better", {
      xref: "paper",
      yref: "paper",
      x: 0.01,
      y: view.sign > 0 ? 0.99 : 0.01,
      xanchor: "left",
      yanchor: view.sign > 0 ? "top" : "bottom",
      font: { size: look.small, color: look.muted },
    }),
  ];
  return { data: [line, ...bars, marks], layout };
}

// A mean outside the picture is drawn at its edge.
function edgeSymbol(mean, [low, high]) {
  return mean < low ? "triangle-down" : mean > high ? "triangle-up" : null;
}

// Most means and intervals.
function tradeRange(rows, log) {
  const costs = rows.map((row) => (log ? Math.log10(row.cost) : row.cost));
  const means = rows.map((row) => row.summary.mean);
  const halves = rows.map((row) => row.summary.half ?? 0);
  const pad = (low, high, least) => Math.max((high - low) * 0.07, least);
  const [x0, x1, [y0, y1]] = [Math.min(...costs), Math.max(...costs), fenced(means)];
  const [px, py] = [pad(x0, x1, Math.abs(x1) * 0.02 || 1), Math.max(pad(y0, y1, 1e-9), quantile(halves, 0.75) * 1.05)];
  return { x: [x0 - px, x1 + px * 2.5], y: [y0 - py, y1 + py] };
}

function tradeLabels(view, rows, styles, range, layout, look, log) {
  const names = shortNames(rows.map((row) => row.cell));
  const width = plotWidth(look) - layout.margin.l - layout.margin.r;
  const height = layout.height - layout.margin.t - layout.margin.b;
  const down = (value) => height * (1 - (value - range.y[0]) / (range.y[1] - range.y[0]));
  const at = ({ cost, summary }) => ({
    x: (width * ((log ? Math.log10(cost) : cost) - range.x[0])) / (range.x[1] - range.x[0]),
    y: down(summary.mean),
    width,
    height,
    top: down(summary.high ?? summary.mean),
    bottom: down(summary.low ?? summary.mean),
  });
  const corner = view.sign > 0 ? { x0: 0, x1: 80, y0: 0, y1: 26 } : { x0: 0, x1: 80, y0: height - 26, y1: height };
  const wanted = rows.map((row, k) => (row.front || styles[k].slot !== null ? names.get(row.cell.id) : null));
  return labelPlaces(rows.map(at), wanted, look.small, corner)
    .map((place, k) => {
      if (place === null) return null;
      const point = {
        x: log ? Math.log10(rows[k].cost) : rows[k].cost,
        y: rows[k].summary.mean,
        xanchor: place.anchor,
      };
      const near = { xshift: place.dx, yshift: -place.dy };
      const led = {
        showarrow: true,
        arrowhead: 0,
        arrowwidth: 1,
        arrowcolor: styles[k].color,
        ax: place.dx,
        ay: place.dy,
        standoff: 4,
      };
      return label(look, plotText(wanted[k]), { ...point, ...(place.far ? led : near) });
    })
    .filter(Boolean);
}

function frontWord(row) {
  return row.front ? (row.unsure ? "on the front, not surely" : "on the front") : "";
}

function tradeTable(view, rows, cost) {
  const columns = [
    { key: "cell", title: "cell", value: (row) => row.cell.name },
    { key: "n", title: "seeds", numeric: true, value: (row) => row.summary.n },
    {
      key: "metric",
      title: metricTitle(view),
      numeric: true,
      value: (row) => row.summary.mean,
      text: (row) => metricText(row.summary, view.decimals),
      csv: [
        [view.metric, (row) => row.summary.mean],
        ["low", (row) => row.summary.low],
        ["high", (row) => row.summary.high],
      ],
    },
    {
      key: "cost",
      title: COSTS[cost].title,
      numeric: true,
      value: (row) => row.cost,
      text: (row) => COSTS[cost].text(row.cost),
    },
    { key: "front", title: "front", value: frontWord },
  ];
  return h(
    "details",
    { class: "table", open: rows.length < 30 },
    h("summary", { "data-key": "trade table" }, "The same as a table"),
    dataTable({
      name: "tradeoffs",
      columns,
      rows,
      sort: "cost",
      caption: `${metricTitle(view)} against ${COSTS[cost].title} on ${view.task}, ${view.budget}: mean ± half of the 95 % t-interval over seeds. ${source(view)}`,
    }),
  );
}
