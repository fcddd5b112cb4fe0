/* Recall maps: where does the memory break? */

pages.recall = {
  missing: () =>
    store.data.recall.length
      ? null
      : teach(
          "No run here has been tested for recall",
          para(
            "Recall maps come from tasks that ask for what was shown before: key-value pairs at several lengths, or a needle at several depths. For instance:",
          ),
          command("eos train experiment=mqar_small model=gla seeds=3"),
        ),
  draw(view) {
    const entries = recallEntries(view);
    if (entries.length === 0)
      return [
        h("h2", {}, "Recall maps"),
        teach(
          "No cell of this selection has a recall map",
          para(
            `Cells on ${sentenceList(distinct(store.data.recall.map((entry) => store.data.cells.find((cell) => cell.id === entry.cell)?.task ?? "")))} have one: choose the task above.`,
          ),
        ),
      ];
    const parts = distinct(entries.map((entry) => entry.part));
    const part = parts.includes(state.part) ? state.part : parts.includes("test") ? "test" : parts[0];
    const base = view.base && entries.some((entry) => entry.cell === view.base.id) ? view.base : null;
    const difference = state.mode === "difference" && base !== null;
    const kinds = distinct(entries.map((entry) => entry.kind))
      .map((kind) => entries.filter((entry) => entry.kind === kind && entry.part === part))
      .filter((list) => list.length);
    return [
      h("h2", {}, "Recall maps"),
      h(
        "div",
        { class: "controls" },
        menu(
          "part",
          "part",
          parts.map((value) => ({ value, label: value })),
          part,
          (value) => setState({ part: value }, { part: "page" }),
        ),
        base
          ? menu(
              "show",
              "mode",
              [
                { value: "value", label: "accuracy" },
                { value: "difference", label: "difference to the baseline" },
              ],
              difference ? "difference" : "value",
              (mode) => setState({ mode }, { part: "page" }),
            )
          : null,
      ),
      kinds.flatMap((list) => [
        list[0].kind === "pairs" ? recallLines(view, list) : null,
        recallMaps(view, list, difference ? base : null),
      ]),
    ];
  },
};

const MOST_MAPS = 12;

// Of the cells that are shown, the coloured ones first.
function recallEntries(view) {
  const shown = new Map(view.shown.map((cell) => [cell.id, cell]));
  const order = (entry) => view.slots.get(entry.cell) ?? 100 + entry.cell;
  return store.data.recall
    .filter((entry) => shown.has(entry.cell))
    .map((entry) => ({ ...entry, owner: shown.get(entry.cell) }))
    .sort((a, b) => order(a) - order(b));
}

// Accuracy against pairs at one length, with a mark where there are as many pairs as the keys have channels.
function recallLines(view, list) {
  const entries = list.filter((entry) => view.slots.has(entry.cell));
  if (entries.length === 0) return null;
  const lengths = distinct(entries.flatMap((entry) => entry.rows)).sort((a, b) => a - b);
  const full = (length) =>
    entries.every((entry) => entry.values[entry.rows.indexOf(length)]?.every((value) => value !== null));
  const length = lengths.find((value) => String(value) === state.length) ?? lengths.findLast(full) ?? lengths[0];
  const choose = menu(
    "at",
    "length",
    lengths.map((value) => ({ value: String(value), label: `${entries[0].row_name.replace(/ \(.*/, "")} ${value}` })),
    String(length),
    (value) => setState({ length: value }, { part: "page" }),
  );
  return [
    h("div", { class: "controls" }, choose),
    legend(
      view,
      entries.map((entry) => entry.owner),
    ),
    figure({
      name: "recalllines",
      title: `Accuracy against ${entries[0].column_name}`,
      description: `At ${entries[0].row_name} ${length}, mean over seeds. A short upright mark: as many pairs as the key has channels (K). The dotted line is chance.`,
      build: (look) => recallLinePlot(view, entries, length, look),
    }),
  ];
}

function recallLinePlot(view, entries, length, look) {
  const data = entries.flatMap((entry) => {
    const style = cellStyle(view, entry.owner, look);
    const values = entry.values[entry.rows.indexOf(length)] ?? [];
    const line = {
      type: "scatter",
      mode: "lines+markers",
      x: entry.columns,
      y: values,
      line: { color: style.color, width: 2, dash: style.dash },
      marker: { symbol: style.symbol, size: 7, color: style.color },
      customdata: entry.columns.map(() => plotText(entry.owner.name)),
      hovertemplate: "<b>%{customdata}</b><br>%{y:.3f} at %{x} pairs<extra></extra>",
    };
    const mark =
      entry.key_size === null
        ? []
        : [
            {
              type: "scatter",
              mode: "lines",
              x: [entry.key_size, entry.key_size],
              y: [0, 0.06],
              line: { color: style.color, width: 2 },
              hoverinfo: "skip",
            },
          ];
    return [line, ...mark];
  });
  const columns = distinct(entries.flatMap((entry) => entry.columns)).sort((a, b) => a - b);
  const chance = view.info.chance;
  return {
    data,
    layout: layoutOf(look, {
      height: look.row * 11,
      margin: { l: 56, r: 20, t: 10, b: 48 },
      xaxis: axis(look, plotText(entries[0].column_name), {
        type: "log",
        tickvals: columns,
        ticktext: columns.map(String),
      }),
      yaxis: axis(look, "accuracy ↑", { range: [-0.02, 1.04] }),
      shapes:
        chance === null
          ? []
          : [
              {
                type: "line",
                xref: "paper",
                x0: 0,
                x1: 1,
                y0: chance,
                y1: chance,
                line: { color: look.muted, width: 1, dash: "dot" },
              },
            ],
    }),
  };
}

function recallMaps(view, list, base) {
  const shown = list.slice(0, MOST_MAPS);
  const reference = base && list.find((entry) => entry.cell === base.id);
  const panels = shown
    .filter((entry) => !reference || entry !== reference)
    .map((entry) => ({ ...entry, drawn: reference ? minus(entry, reference, view) : entry.values }));
  const title = `${list[0].kind === "depth" ? "Needle" : "Pairs"}: ${reference ? "difference in points to the baseline" : "accuracy"} by ${list[0].row_name} and ${list[0].column_name}`;
  const names = shortNames(distinct(list.map((entry) => entry.owner)));
  const rest = list.length - shown.length;
  if (panels.length === 0) return null;
  const chance =
    view.info.chance === null ? "" : ` Chance is ${fixed(view.info.chance, 3)}; cells at most twice that are outlined.`;
  return [
    figure({
      name: `recall${list[0].kind}`,
      title,
      build: (look) => recallPlot(panels, names, Boolean(reference), view, look),
      description: `${reference ? "Blue: better than the baseline, orange: worse; one scale for all panels." : `One scale from 0 to 1 for all panels.${chance}`}${rest > 0 ? ` ${plural(rest, "cell")} more: pin or filter cells to choose.` : ""}`,
    }),
    recallTable(view, panels, Boolean(reference)),
  ];
}

function minus(entry, reference, view) {
  return entry.values.map((row, y) =>
    row.map((value, x) => {
      const other =
        reference.values[reference.rows.indexOf(entry.rows[y])]?.[reference.columns.indexOf(entry.columns[x])] ?? null;
      return value === null || other === null ? null : value - other;
    }),
  );
}

function recallTable(view, panels, difference) {
  const rows = panels.flatMap((entry) =>
    entry.rows.flatMap((row, y) =>
      entry.columns.map((column, x) => ({ entry, row, column, value: entry.drawn[y][x] })),
    ),
  );
  const columns = [
    { key: "cell", title: "cell", value: (item) => item.entry.owner.name },
    { key: "row", title: panels[0].row_name, numeric: true, value: (item) => item.row },
    { key: "column", title: panels[0].column_name, numeric: true, value: (item) => item.column },
    {
      key: "value",
      title: difference ? "Δ points" : "accuracy ↑",
      numeric: true,
      value: (item) => item.value,
      text: (item) =>
        item.value === null ? "not run" : difference ? signed(item.value * 100, 1) : fixed(item.value, 3),
    },
    { key: "n", title: "seeds", numeric: true, value: (item) => item.entry.n },
  ];
  return h(
    "details",
    { class: "table" },
    h("summary", { "data-key": `recall table ${panels[0].kind}` }, "The same as a table"),
    dataTable({
      name: `recall${panels[0].kind}`,
      columns,
      rows,
      caption: `Recall on ${view.task}, ${view.budget}: means over seeds. ${store.data.command}`,
    }),
  );
}
