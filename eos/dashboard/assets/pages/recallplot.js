/* Recall maps as pictures: one panel a cell, one scale for all. */

function recallTitle(entry, names, width) {
  const size = entry.key_size === null ? "" : `K ${entry.key_size} · `;
  return `${plotLines(names.get(entry.cell), Math.floor(width / 7))}<br>${size}${plural(entry.n, "seed")}`;
}

function recallPlot(panels, names, difference, view, look) {
  const columns = Math.max(...panels.map((entry) => entry.columns.length));
  const wide = look.paperWidth ?? Math.min(1630, innerWidth - 48);
  const across = Math.min(panels.length, Math.max(1, Math.floor((wide - 90) / (columns * 46 + 40))));
  const down = Math.ceil(panels.length / across);
  const rows = Math.max(...panels.map((entry) => entry.rows.length));
  const titles = panels.map((entry) => recallTitle(entry, names, (wide - 148) / across - 24));
  const lines = Math.max(...titles.map((title) => title.split("<br>").length));
  const head = look.row * (0.4 + 0.55 * lines);
  const one = rows * look.row + head + look.row * 1.8;
  const height = Math.round(down * one + 18);
  const layout = layoutOf(look, { height, margin: { l: 64, r: 84, t: 4, b: 14 }, annotations: [], shapes: [] });
  const all = panels
    .flatMap((entry) => entry.drawn.flat())
    .filter((value) => value !== null)
    .map(Math.abs);
  const end = difference ? Math.max(quantile(all.length ? all : [0], 0.98), 1e-9) : 1;
  const colour = (value) => (difference ? divergingColour(look, value / end) : sequentialColour(value));
  const data = [];
  panels.forEach((entry, place) => {
    const suffix = place === 0 ? "" : String(place + 1);
    const [column, row] = [place % across, Math.floor(place / across)];
    const inner = height - 18;
    const top = 1 - (row * one + head) / inner;
    const bottom = top - (entry.rows.length * look.row) / inner;
    const gap = 44 / (wide - 148);
    layout[`xaxis${suffix}`] = {
      domain: [column / across + (column ? gap : 0), (column + 1) / across],
      anchor: `y${suffix}`,
      range: [-0.5, entry.columns.length - 0.5],
      tickvals: entry.columns.map((_, k) => k),
      ticktext: entry.columns.map(String),
      showgrid: false,
      zeroline: false,
      ticklen: 0,
      fixedrange: true,
      tickangle: 0,
      tickfont: { size: look.small, color: look.muted },
      title: {
        text: row === down - 1 || place + across >= panels.length ? plotText(entry.column_name) : "",
        font: { size: look.small, color: look.muted },
        standoff: 4,
      },
    };
    layout[`yaxis${suffix}`] = {
      domain: [Math.max(0, bottom), top],
      anchor: `x${suffix}`,
      range: [entry.rows.length - 0.5, -0.5],
      tickvals: entry.rows.map((_, k) => k),
      ticktext: entry.rows.map(String),
      showgrid: false,
      zeroline: false,
      ticklen: 0,
      fixedrange: true,
      tickfont: { size: look.small, color: look.muted },
      title: {
        text: column === 0 ? plotText(entry.row_name) : "",
        font: { size: look.small, color: look.muted },
        standoff: 6,
      },
    };
    layout.annotations.push(
      label(look, titles[place], {
        xref: `x${suffix} domain`,
        x: 0,
        xanchor: "left",
        yref: "paper",
        y: top,
        yshift: 4,
        yanchor: "bottom",
        align: "left",
      }),
    );
    data.push(...recallPanel(entry, suffix, colour, difference, view, look, layout));
  });
  data.push(colourBar(difference, end, view, look));
  return { data, layout };
}

function recallPanel(entry, suffix, colour, difference, view, look, layout) {
  const at = { x: [], y: [], text: [], color: [], words: [] };
  const chance = view.info.chance;
  entry.drawn.forEach((row, y) =>
    row.forEach((value, x) => {
      const filled = value !== null;
      const fill = filled ? colour(value) : look.paper;
      const low = filled && !difference && chance !== null && value <= 2 * chance;
      layout.shapes.push({
        type: "rect",
        xref: `x${suffix}`,
        yref: `y${suffix}`,
        x0: x - 0.48,
        x1: x + 0.48,
        y0: y - 0.46,
        y1: y + 0.46,
        layer: "below",
        fillcolor: fill,
        line: { width: low ? 2 : 1, color: filled ? (low ? look.worse : fill) : look.grid },
      });
      at.x.push(x);
      at.y.push(y);
      at.text.push(filled ? (difference ? signed(value * 100, 1) : fixed(value, 2)) : "·");
      at.color.push(filled ? textOn(fill) : look.muted);
      at.words.push(`${plotText(entry.row_name)} ${entry.rows[y]}, ${plotText(entry.column_name)} ${entry.columns[x]}`);
    }),
  );
  return [
    cellTexts(suffix, at, look, {
      customdata: at.words.map((words) => [plotText(entry.owner.name), words]),
      hovertemplate: "<b>%{customdata[0]}</b><br>%{text}<br>%{customdata[1]}<extra></extra>",
    }),
  ];
}

// A scale alone: a mark without size that carries the colour bar.
function colourBar(difference, end, view, look) {
  const chance = view.info.chance;
  const scale = difference
    ? {
        cmin: -end,
        cmax: end,
        colorscale: divergingScale(look),
        tickvals: [-end, 0, end],
        ticktext: [signed(-end * 100, 1), "0", signed(end * 100, 1)],
      }
    : {
        cmin: 0,
        cmax: 1,
        colorscale: sequentialScale(),
        tickvals: [0, ...(chance === null || chance < 0.08 ? [] : [chance]), 0.5, 1],
        ticktext: ["0", ...(chance === null || chance < 0.08 ? [] : ["chance"]), "0.5", "1"],
      };
  const { tickvals, ticktext, ...colours } = scale;
  return colourKey(colours, { thickness: 10, tickvals, ticktext, len: 1, x: 1.01, xpad: 4 }, look);
}
