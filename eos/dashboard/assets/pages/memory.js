/* Memory: what does it keep, and for how long? */

pages.memory = {
  missing: () =>
    store.data.memory.length
      ? null
      : teach(
          "No run here says how long its memory keeps",
          para(
            "The picture needs a finished run of a model with an EOS mixer, whose weights were kept. The decays are measured on a few sequences when the report is made.",
          ),
          command("eos train experiment=mqar_small model=gla seeds=3"),
        ),
  draw(view) {
    const runs = memoryRuns();
    const own = view.base ? runs.find((run) => run.cell === view.base.id) : null;
    const run = runs.find((other) => other.path === state.memory) ?? own ?? runs[0];
    const options = runs.map((other) => ({
      value: other.path,
      label: `${cellTitle(store.data.cells.find((cell) => cell.id === other.cell))} · seed ${other.seed}`,
    }));
    return [
      h("h2", {}, "Memory"),
      h(
        "div",
        { class: "controls" },
        menu("run", "memory", options, run.path, (memory) => setState({ memory }, { part: "page" })),
        h("a", { href: linkTo({ page: "run", run: run.path }) }, "about this run"),
      ),
      runMemory(run, view, true),
    ];
  },
};

function memoryRuns() {
  return remembered("memory runs", () => {
    const ids = new Set(store.data.memory.map((entry) => entry.run));
    return store.data.runs.filter((run) => ids.has(run.id));
  });
}

// Decays of a run and, where it turns, its periods; with the table on the memory page.
function runMemory(run, view, full = false) {
  const layers = store.data.memory.filter((entry) => entry.run === run.id);
  if (layers.length === 0) return null;
  const decays = layers.filter((entry) => entry.decay_tokens);
  const turning = layers.filter((entry) => entry.period_tokens);
  return [
    full ? h("div", { class: "answer" }, para(memoryAnswer(decays)), hint(memoryCaveats(layers))) : null,
    decays.length
      ? memoryFigure(
          "decays",
          "How long it keeps",
          "Effective decay length ℓ = −1 / E[log o], in tokens",
          decays,
          (entry) => entry.decay_tokens,
          "beyond",
        )
      : null,
    turning.length
      ? memoryFigure(
          "periods",
          "How fast it turns",
          "Period 2π/|φ|, in tokens",
          turning,
          (entry) => entry.period_tokens,
          "no turning",
        )
      : null,
    full ? memoryTable(run, layers) : null,
  ];
}

function layerName(entry, entries) {
  const several = entries.filter((other) => other.layer === entry.layer).length > 1;
  return `layer ${entry.layer + 1}${several || entry.mixer !== "main" ? ` ${entry.mixer}` : ""}`;
}

const forever = (value) => (value === null ? Infinity : value);

// The value below which a share lies; ∞ is a value like any other.
function rankAt(values, share) {
  const sorted = values.map(forever).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

function memoryAnswer(entries) {
  const medians = entries.map((entry) => ({ entry, median: rankAt(entry.decay_tokens.flat(), 0.5) }));
  if (medians.length === 0) return "This run's memory has no decay.";
  // Of an even count this is the upper median: just half of the channels reach it.
  const words = (value, trained) => {
    if (value === Infinity) return "never forget";
    const more = value > trained ? ` (more than the ${trained} it was trained on)` : "";
    return `keep for at least ${tokensText(value)} tokens${more}`;
  };
  const least = medians.reduce((a, b) => (b.median < a.median ? b : a));
  const most = medians.reduce((a, b) => (b.median > a.median ? b : a));
  if (least === most) return `Half of the channels ${words(least.median, least.entry.length)}.`;
  return `Half of the channels of ${layerName(least.entry, entries)} ${words(least.median, least.entry.length)}, half of those of ${layerName(most.entry, entries)} ${words(most.median, most.entry.length)}.`;
}

function memoryCaveats(layers) {
  const fixedOnes = layers.filter((entry) => !entry.learned).map((entry) => layerName(entry, layers));
  const erasing = layers.filter((entry) => entry.erase).map((entry) => layerName(entry, layers));
  return [
    "A value that is written decays to 1/e of itself after ℓ tokens.",
    fixedOnes.length ? `Not learned: ${sentenceList(fixedOnes)}.` : "",
    erasing.length ? `Decay only, the erase forgets too: ${sentenceList(erasing)}.` : "",
  ]
    .filter(Boolean)
    .join(" ");
}

function tokensText(value) {
  return value === Infinity ? "∞" : value < 9.95 ? fixed(value, 1) : Math.round(value).toLocaleString("en-GB");
}

function memoryFigure(name, title, what, entries, pick, beyond) {
  const trained = Math.max(...entries.map((entry) => entry.length));
  return figure({
    name,
    title: `${title}: layer by layer`,
    build: (look) => memoryPlot(entries, pick, trained, beyond, look),
    description: `${what}. Left: one row a layer, its heads side by side, channels of a head sorted; the colour with a stroke is ${beyond === "beyond" ? `beyond the ${trained} tokens it was trained on` : "no turning at all, or slower than the trained length"}. Right: where 5, 25, 50, 75 and 95 % of the channels lie; the large mark is the median.`,
  });
}

function memoryPlot(entries, pick, trained, beyond, look) {
  const top = Math.log10(trained);
  const rows = entries.length;
  const height = Math.max(rows, 2) * look.row * 1.3 + 94;
  const wide = look.paperWidth === null || look.paperWidth > 400;
  const layout = layoutOf(look, {
    height,
    margin: { l: 104, r: 24, t: 10, b: 84 },
    shapes: [],
    xaxis: {
      domain: [0, wide ? 0.56 : 0.5],
      anchor: "y",
      range: [0, 1],
      showticklabels: false,
      showgrid: false,
      zeroline: false,
      ticklen: 0,
      fixedrange: true,
      title: { text: plotText(headsText(entries, pick)), font: { size: look.small, color: look.muted }, standoff: 6 },
    },
    yaxis: {
      range: [rows - 0.5, -0.5],
      tickvals: entries.map((_, k) => k),
      ticktext: entries.map((entry) => plotText(layerName(entry, entries)) + (entry.learned ? "" : "<br>(fixed)")),
      showgrid: false,
      zeroline: false,
      ticklen: 0,
      fixedrange: true,
      tickfont: { size: look.small, color: look.text },
    },
    xaxis2: axis(look, "tokens", {
      domain: [wide ? 0.6 : 0.56, 1],
      anchor: "y2",
      range: [-0.08, top * 1.12 + 0.1],
      tickvals: decades(top),
      ticktext: [
        ...decades(top)
          .slice(0, -1)
          .map((power) => (power === 0 ? "≤ 1" : String(Math.round(10 ** power)))),
        `> ${trained}`,
      ],
    }),
    yaxis2: {
      range: [rows - 0.5, -0.5],
      anchor: "x2",
      tickvals: entries.map((_, k) => k),
      showticklabels: false,
      showgrid: true,
      gridcolor: look.grid,
      zeroline: false,
      fixedrange: true,
    },
  });
  const data = entries.flatMap((entry, row) => layerStrip(pick(entry), row, trained, look, layout));
  layout.annotations = [
    label(look, `⊟ ${beyond}`, {
      xref: "paper",
      x: wide ? 0.56 : 0.5,
      xanchor: "right",
      yref: "paper",
      y: 0,
      yshift: -14,
      font: { size: look.small, color: look.beyond },
    }),
  ];
  data.push(...quantileMarks(entries, pick, trained, look), memoryScale(top, trained, look, wide));
  return { data, layout };
}

function decades(top) {
  const list = [];
  for (let power = 0; power < top - 0.15; power += top > 1.4 ? 1 : 0.5) list.push(power);
  return [...list, top * 1.08];
}

function headsText(entries, pick) {
  const heads = distinct(entries.map((entry) => pick(entry).length));
  const channelsOf = distinct(entries.flatMap((entry) => pick(entry).map((head) => head.length)));
  return `${heads.map((count) => plural(count, "head")).join(", ")} × ${channelsOf.map((count) => plural(count, "channel")).join(", ")}`;
}

// One layer: its channels as cells, lines between heads. Those beyond the trained length have a colour of their own and
// a stroke through them, which is left of it in grey.
function layerStrip(heads, row, trained, look, layout) {
  const values = heads.flatMap((head) => head.map(forever).sort((a, b) => a - b));
  const edges = Array.from({ length: values.length + 1 }, (_, k) => k / values.length);
  const ranges = [row - 0.42, row + 0.42];
  const strip = (z, scale) => ({
    type: "heatmap",
    x: edges,
    y: ranges,
    z: [z],
    ...scale,
    showscale: false,
    xgap: values.length < 100 ? 0.5 : 0,
    customdata: [values.map(tokensText)],
    hovertemplate: "%{customdata} tokens<extra></extra>",
  });
  let at = 0;
  for (const head of heads.slice(0, -1)) {
    at += head.length / values.length;
    layout.shapes.push({
      type: "line",
      x0: at,
      x1: at,
      y0: row - 0.42,
      y1: row + 0.42,
      line: { color: look.paper, width: 3 },
    });
  }
  let start = 0;
  for (const head of heads) {
    const end = start + head.length / values.length;
    const from = end - head.map(forever).filter((value) => value > trained).length / values.length;
    if (from < end)
      layout.shapes.push({
        type: "line",
        x0: from + 0.003,
        x1: end - 0.003,
        y0: row,
        y1: row,
        line: { color: look.paper, width: 2 },
      });
    start = end;
  }
  const inside = values.map((value) => (value <= trained ? Math.log10(Math.max(1, value)) : null));
  const outside = values.map((value) => (value <= trained ? null : 1));
  return [
    strip(inside, { zmin: 0, zmax: Math.log10(trained), colorscale: sequentialScale() }),
    strip(outside, {
      zmin: 0,
      zmax: 1,
      colorscale: [
        [0, look.beyond],
        [1, look.beyond],
      ],
    }),
  ];
}

function quantileMarks(entries, pick, trained, look) {
  const top = Math.log10(trained);
  const place = (value) => (value > trained ? top * 1.08 : Math.log10(Math.max(1, value)));
  const shares = [0.05, 0.25, 0.5, 0.75, 0.95];
  return entries.flatMap((entry, row) => {
    const values = shares.map((share) => rankAt(pick(entry).flat(), share));
    const xs = values.map(place);
    const at = { type: "scatter", xaxis: "x2", yaxis: "y2" };
    return [
      {
        ...at,
        mode: "lines",
        x: [xs[0], xs[4]],
        y: [row, row],
        line: { color: look.axis, width: 1 },
        hoverinfo: "skip",
      },
      {
        ...at,
        mode: "lines",
        x: [xs[1], xs[3]],
        y: [row, row],
        line: { color: look.text, width: 3 },
        hoverinfo: "skip",
      },
      {
        ...at,
        mode: "markers",
        x: xs,
        y: xs.map(() => row),
        marker: { size: [5, 6, 11, 6, 5], color: look.text, line: { width: 1, color: look.paper } },
        customdata: values.map((value, k) => [Math.round(shares[k] * 100), tokensText(value)]),
        hovertemplate: "%{customdata[0]} % below %{customdata[1]} tokens<extra></extra>",
      },
    ];
  });
}

function memoryScale(top, trained, look, wide) {
  const ticks = decades(top).slice(0, -1);
  return colourKey(
    { cmin: 0, cmax: top, colorscale: sequentialScale() },
    {
      orientation: "h",
      thickness: 9,
      len: wide ? 0.56 : 0.5,
      x: 0,
      xanchor: "left",
      y: 0,
      yanchor: "top",
      ypad: 30,
      tickvals: [...ticks, top],
      ticktext: [...ticks.map((power) => String(Math.round(10 ** power))), `${trained} tokens`],
    },
    look,
  );
}

function memoryTable(run, layers) {
  const share = (entry) =>
    entry.decay_tokens.flat().filter((value) => forever(value) > entry.length).length /
    entry.decay_tokens.flat().length;
  const at = (part) => ({
    key: `q${part}`,
    title: `${part} %`,
    numeric: true,
    value: (entry) => {
      const value = rankAt(entry.decay_tokens.flat(), part / 100);
      return value === Infinity ? 1e300 : value;
    },
    text: (entry) => tokensText(rankAt(entry.decay_tokens.flat(), part / 100)),
    csv: [
      [
        `quantile_${part}_tokens`,
        (entry) => {
          const value = rankAt(entry.decay_tokens.flat(), part / 100);
          return value === Infinity ? "inf" : value;
        },
      ],
    ],
  });
  const columns = [
    { key: "layer", title: "layer", numeric: true, value: (entry) => entry.layer + 1 },
    { key: "mixer", title: "mixer", value: (entry) => entry.mixer },
    { key: "over", title: "decay over", value: (entry) => entry.over },
    ...[5, 25, 50, 75, 95].map(at),
    {
      key: "beyond",
      title: "beyond training",
      numeric: true,
      value: share,
      text: (entry) => `${Math.round(100 * share(entry))} %`,
    },
    { key: "learned", title: "learned", value: (entry) => (entry.learned ? "yes" : "no") },
    { key: "erase", title: "erase", value: (entry) => (entry.erase ? "yes: forgets too" : "no") },
  ];
  return dataTable({
    name: "memory",
    columns,
    rows: layers,
    caption: `Effective decay length in tokens, quantiles over channels, of ${run.name}. ${store.data.command}`,
  });
}
