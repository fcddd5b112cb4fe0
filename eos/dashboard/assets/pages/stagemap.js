/* Expand × oscillation for each shrink: the difference of each combination to the baseline. */

function stageMaps(view, effects) {
  const { base } = effects;
  if (!base || base.levels.expand === null || base.levels.oscillation === null) return null;
  const grid = mapGrid(view, effects);
  if (grid.rows.length * grid.columns.length < 2) return null;
  const click = (point) => {
    const cell = point?.customdata && store.data.cells.find((other) => other.id === point.customdata.id);
    if (cell && !view.pinned.includes(cell)) setState({ pin: toggledCell(state.pin, cell) });
  };
  const list = [...grid.entries.values()];
  const columns = [
    { key: "shrink", title: "shrink", value: (entry) => levelName("shrink", entry.shrink) },
    { key: "expand", title: "expand", value: (entry) => levelName("expand", entry.expand) },
    { key: "oscillation", title: "oscillation", value: (entry) => levelName("oscillation", entry.oscillation) },
    {
      key: "difference",
      title: `Δ ${unitText(view)}`,
      numeric: true,
      value: (entry) => entry.mean,
      text: (entry) => entry.words,
    },
    { key: "state", title: "what there is", value: (entry) => entry.state },
  ];
  return [
    figure({
      name: "map",
      title: "Expand × oscillation",
      build: (look) => mapPlot(view, grid, look),
      click,
      description: `Difference to the baseline ${base.name} in ${unitText(view)}, one panel for each shrink; + is better. Bold: told from 0 after correction. “1” above: one seed. · not run, ✕ no run finished, ⊘ refused by the design.${grid.others ? ` ² ${plural(grid.others, "cell")} differ from the baseline in other settings too.` : ""}${grid.left ? ` ${plural(grid.left, "level")} with fewest cells left out.` : ""} Click a cell to pin it.`,
    }),
    h(
      "details",
      { class: "table", open: list.length < 30 },
      h("summary", { "data-key": "map table" }, "The same as a table"),
      dataTable({
        name: "map",
        columns,
        rows: list,
        caption: `Differences to ${base.name} by stage on ${view.task}, ${view.budget}, in ${unitText(view)}; + is better. ${source(view)}`,
      }),
    ),
  ];
}

// Keys of a recipe that are no stage's, so that cells can be told that differ from the baseline in more than stages.
function otherSettings(cell, base) {
  const keys = distinct([...Object.keys(cell.recipe), ...Object.keys(base.recipe)]);
  return keys.filter(
    (key) =>
      !STAGES.some((stage) => key.split(/[.[\]]/).includes(stage)) &&
      JSON.stringify(cell.recipe[key] ?? null) !== JSON.stringify(base.recipe[key] ?? null),
  );
}

// A picture of more is not read; every level stands in the table of effects.
const MOST_LEVELS = { expand: 12, oscillation: 10, shrink: 6 };

function mapGrid(view, effects) {
  const { base } = effects;
  const cells = view.family.filter(
    (cell) => cell.levels && cell.levels.expand !== null && cell.levels.oscillation !== null,
  );
  const size = (stage, level) =>
    level === base.levels[stage]
      ? Infinity
      : (effects.rows.find((row) => row.stage === stage && row.level === level)?.effect?.mean ?? -Infinity);
  const found = (stage) => distinct(cells.map((cell) => cell.levels[stage]));
  const count = (stage, level) =>
    level === base.levels[stage] ? Infinity : cells.filter((cell) => cell.levels[stage] === level).length;
  const sorted = (stage) =>
    found(stage)
      .sort((a, b) => count(stage, b) - count(stage, a) || a - b)
      .slice(0, MOST_LEVELS[stage])
      .sort((a, b) => size(stage, b) - size(stage, a) || a - b);
  const stages = Object.keys(MOST_LEVELS);
  const [rows, columns, panels] = stages.map(sorted);
  const left = stages.reduce((sum, stage) => sum + Math.max(0, found(stage).length - MOST_LEVELS[stage]), 0);
  const corrected = new Map(cellDifferences(view).rows.map((row) => [row.cell, row]));
  const entries = new Map();
  for (const shrink of panels)
    for (const expand of rows)
      for (const oscillation of columns) {
        const at = { expand, oscillation, shrink };
        entries.set(`${shrink} ${expand} ${oscillation}`, mapEntry(view, base, at, cells, corrected));
      }
  const others = [...entries.values()].filter((entry) => entry.others?.length && entry.mean !== null).length;
  return { rows, columns, panels, entries, others, left };
}

// Of several cells with these stages the one most like the baseline, with most seeds.
function mapEntry(view, base, at, cells, corrected) {
  const here = cells.filter((cell) =>
    ["expand", "oscillation", "shrink"].every((stage) => cell.levels[stage] === at[stage]),
  );
  const ordered = here
    .map((cell) => ({ cell, others: cell === base ? [] : otherSettings(cell, base) }))
    .sort((a, b) =>
      a.cell === base
        ? -1
        : b.cell === base
          ? 1
          : a.others.length - b.others.length || view.values(b.cell).size - view.values(a.cell).size,
    );
  const found = ordered[0];
  const nothing = { ...at, cell: found?.cell ?? null, others: found?.others ?? [], mean: null, words: "", bold: false };
  if (!found) {
    const refused = store.data.refused.find((entry) =>
      ["expand", "oscillation", "shrink"].every((stage) => entry[stage] === at[stage]),
    );
    return refused
      ? { ...nothing, sign: "⊘", state: `refused: ${refused.reason}` }
      : { ...nothing, sign: "·", state: "not run" };
  }
  const seeds = view.values(found.cell).size;
  const runs = plural(seeds, "seed");
  if (found.cell === base)
    return { ...nothing, mean: 0, sign: "base", words: "baseline", bold: true, state: `baseline, ${runs}` };
  if (seeds === 0) return { ...nothing, sign: "✕", state: statusWords(runsOf(found.cell)) };
  const row = corrected.get(found.cell);
  const difference = row?.difference ?? turned(compareSeeds(view.values(found.cell), view.values(base)), view.sign);
  if (difference.mean === null) return { ...nothing, sign: "·", state: "the baseline has no finished run" };
  const value = signed(difference.mean * differenceScale(view.kind.fraction), view.differenceDecimals);
  const bold = (row?.corrected ?? 1) < 0.05;
  const extra = found.others.length ? `; other settings too: ${found.others.join(", ")}` : "";
  return {
    ...nothing,
    mean: difference.mean,
    words: differenceText(difference, view),
    bold,
    sign: `${value}${seeds === 1 ? "¹" : ""}${found.others.length ? "²" : ""}`,
    state: `${runs}${extra}`,
  };
}

function mapPlot(view, grid, look) {
  const { rows, columns, panels, entries } = grid;
  const sizes = [...entries.values()].filter((entry) => entry.mean !== null).map((entry) => Math.abs(entry.mean));
  const end = Math.max(Math.min(quantile(sizes, 0.98), fenced(sizes)[1]), 1e-12);
  const across =
    look.paperWidth === null
      ? Math.max(1, Math.min(panels.length, Math.floor(12 / columns.length)))
      : Math.max(1, Math.min(panels.length, Math.floor((look.paperWidth > 400 ? 8 : 4) / columns.length)));
  const width = ((look.paperWidth ?? Math.min(1630, innerWidth - 48)) - 200) / across / columns.length;
  const names = columns.map((level) =>
    plotLines(levelName("oscillation", level), Math.max(6, Math.floor(width / 7.5))),
  );
  const lines = Math.max(...names.map((name) => name.split("<br>").length));
  const down = Math.ceil(panels.length / across);
  const cellHeight = look.row * 1.15;
  const gap = look.row * (1.4 + 0.62 * lines);
  const height = down * (rows.length * cellHeight + gap) + 12;
  const sides = rows.map((level) => plotText(cutText(levelName("expand", level), look.paperWidth === null ? 32 : 16)));
  const left = 16 + Math.max(...sides.map((side) => side.length)) * look.small * 0.6;
  const layout = layoutOf(look, {
    height,
    margin: { l: left, r: 12, t: 4, b: 8 },
    shapes: [],
    annotations: [],
    hovermode: "closest",
  });
  const data = [];
  panels.forEach((shrink, place) => {
    const suffix = place === 0 ? "" : String(place + 1);
    const [column, row] = [place % across, Math.floor(place / across)];
    const share = rows.length * cellHeight + gap;
    const top = 1 - (row * share + gap) / (height - 12);
    const bottom = 1 - ((row + 1) * share) / (height - 12);
    const space = 0.025;
    layout[`xaxis${suffix}`] = {
      domain: [column / across + (column ? space : 0), (column + 1) / across],
      anchor: `y${suffix}`,
      side: "top",
      range: [-0.5, columns.length - 0.5],
      tickvals: columns.map((_, k) => k),
      ticktext: names,
      showgrid: false,
      zeroline: false,
      fixedrange: true,
      tickangle: 0,
      ticklen: 0,
      tickfont: { size: look.small, color: look.text },
    };
    layout[`yaxis${suffix}`] = {
      domain: [Math.max(0, bottom), top],
      anchor: `x${suffix}`,
      range: [rows.length - 0.5, -0.5],
      tickvals: column === 0 ? rows.map((_, k) => k) : [],
      ticktext: sides,
      showgrid: false,
      zeroline: false,
      fixedrange: true,
      ticklen: 0,
      tickfont: { size: look.small, color: look.text },
    };
    layout.annotations.push(
      label(look, `<b>shrink: ${plotText(cutText(levelName("shrink", shrink), 40))}</b>`, {
        xref: `x${suffix} domain`,
        x: 0,
        xanchor: "left",
        yref: "paper",
        y: Math.min(1, top + (gap - look.row * 0.4) / (height - 12)),
        yanchor: "top",
      }),
    );
    data.push(...mapPanel(grid, shrink, suffix, end, look, layout));
  });
  return { data, layout };
}

function mapPanel(grid, shrink, suffix, end, look, layout) {
  const { rows, columns, entries } = grid;
  const marks = { x: [], y: [], text: [], color: [], customdata: [] };
  rows.forEach((expand, y) =>
    columns.forEach((oscillation, x) => {
      const entry = entries.get(`${shrink} ${expand} ${oscillation}`);
      const filled = entry.mean !== null;
      const colour = filled ? divergingColour(look, entry.mean / end) : look.paper;
      layout.shapes.push({
        type: "rect",
        xref: `x${suffix}`,
        yref: `y${suffix}`,
        x0: x - 0.48,
        x1: x + 0.48,
        y0: y - 0.46,
        y1: y + 0.46,
        layer: "below",
        fillcolor: colour,
        line: { width: 1, color: filled ? (entry.sign === "base" ? look.text : colour) : look.grid },
      });
      marks.x.push(x);
      marks.y.push(y);
      marks.text.push(entry.bold ? `<b>${plotText(entry.sign)}</b>` : plotText(entry.sign));
      marks.color.push(filled ? textOn(colour) : look.muted);
      marks.customdata.push({
        id: entry.cell?.id ?? null,
        name: plotText(entry.cell?.name ?? "no cell"),
        words: plotText(entry.words || entry.sign),
        state: plotText(cutText(entry.state, 120)),
      });
    }),
  );
  return [
    cellTexts(suffix, marks, look, {
      customdata: marks.customdata,
      hovertemplate: "<b>%{customdata.name}</b><br>%{customdata.words}<br>%{customdata.state}<extra></extra>",
    }),
  ];
}
