/* Curves as lines: scaled, smoothed, with bands, and named at their ends. */

// Steps become what is chosen for x; null where a cell does not say how.
function xFactor(cell) {
  if (state.x === "step") return 1;
  const tokens = runsOf(cell).find((run) => run.tokens_per_step)?.tokens_per_step ?? null;
  if (state.x === "token" || tokens === null) return tokens;
  return cell.training_flops_per_token === null ? null : tokens * cell.training_flops_per_token;
}

// Of fewer values than this a line shows little or nothing: they are marked.
const FEW = 3;

function finiteOrNull(values) {
  return Array.from(values, (value) => (Number.isFinite(value) ? value : null));
}

// A moving average over finite values; what is not finite stays a gap.
function smoothed(values, width) {
  if (width <= 1) return finiteOrNull(values);
  const half = Math.floor(width / 2);
  return Array.from(values, (value, place) => {
    if (!Number.isFinite(value)) return null;
    const near = Array.from(values.subarray(Math.max(0, place - half), place + half + 1)).filter(Number.isFinite);
    return near.length ? meanOf(near) : null;
  });
}

// [{x, y, low, high, faint, crosses}] of a cell: one mean with a band, or one line a seed.
function curveLines(cell, tag) {
  const index = curveIndex();
  const mean = index.get(`cell ${cell.id} ${tag}`);
  const logged = runsOf(cell).filter((run) => index.has(`run ${run.id} ${tag}`));
  const runs = logged.map((run) => index.get(`run ${run.id} ${tag}`));
  const factor = state.x === "time" ? 1 : xFactor(cell);
  if (factor === null) return [];
  const scaled = (xs) => Array.from(xs, (x) => x * factor);
  const crosses = runs
    .flatMap((entry) => entry.gaps.slice(0, 1).map(([from]) => crossAt(entry, from, factor)))
    .filter(Boolean);
  if (state.seeds === "band" && state.x !== "time" && mean) {
    const { x, mean: y, low, high } = curve(mean);
    const band = mean.n.some(([, count]) => count > 1);
    return [
      {
        x: scaled(x),
        y: smoothed(y, state.smooth),
        low: band ? smoothed(low, state.smooth) : null,
        high: band ? smoothed(high, state.smooth) : null,
        n: mean.n,
        seed: null,
        crosses,
      },
    ];
  }
  return runs.map((entry, place) => {
    const { x, y, bucketX, means, seconds } = curve(entry);
    const time = state.x === "time";
    return {
      x: time ? finiteOrNull(seconds) : scaled(bucketX),
      y: smoothed(means, state.smooth),
      low: null,
      high: null,
      n: [[0, 1]],
      seed: logged[place].seed,
      crosses: place ? [] : time ? [] : crosses,
      faint: time ? null : { x: scaled(x), y: finiteOrNull(y) },
    };
  });
}

function crossAt(entry, from, factor) {
  const { x, y } = curve(entry);
  let last = -1;
  for (let k = 0; k < x.length && x[k] <= from; k += 1) if (Number.isFinite(y[k])) last = k;
  return last < 0 ? null : [x[last] * factor, y[last]];
}

function curvePlot(view, tag, drawn, grey, look) {
  const data = [];
  const names = shortNames(drawn.map(({ cell }) => cell));
  for (const { lines } of grey)
    for (const line of lines)
      data.push({
        type: "scatter",
        ...lineMarks(line, { color: look.rest, symbol: "circle" }),
        x: line.x,
        y: line.y,
        line: { color: look.rest, width: 1 },
        hoverinfo: "skip",
      });
  const ends = [];
  for (const { cell, lines } of drawn) {
    const style = cellStyle(view, cell, look);
    for (const line of lines) {
      if (line.faint)
        data.push({
          type: "scatter",
          mode: "lines",
          ...line.faint,
          line: { color: translucent(style.color, 0.2), width: 1 },
          hoverinfo: "skip",
        });
      if (line.low)
        data.push({
          type: "scatter",
          mode: "lines",
          x: [...line.x, ...line.x.toReversed()],
          y: [...line.high, ...line.low.toReversed()],
          fill: "toself",
          fillcolor: translucent(style.color, 0.15),
          line: { width: 0 },
          hoverinfo: "skip",
        });
      data.push({
        type: "scatter",
        ...lineMarks(line, style),
        x: line.x,
        y: line.y,
        line: { color: style.color, width: style.slot === 0 ? 2.5 : 2, dash: style.dash },
        customdata: line.x.map(() => [plotText(cell.name), plotText(seedWords(line))]),
        hovertemplate: "<b>%{customdata[0]}</b><br>%{y:.4g}<br>%{customdata[1]}<br>at %{x:.4s}<extra></extra>",
      });
      if (line.crosses.length)
        data.push({
          type: "scatter",
          mode: "markers",
          x: line.crosses.map(([x]) => x),
          y: line.crosses.map(([, y]) => y),
          marker: { symbol: "x", size: 8, color: style.color, line: { width: 1, color: look.paper } },
          hoverinfo: "skip",
          cliponaxis: false,
        });
    }
    const onAxes = ({ x, y }) =>
      y.findLastIndex(
        (value, k) => value !== null && x[k] !== null && (!state.logy || value > 0) && (!state.logx || x[k] > 0),
      );
    // The label stands at the longest line: of seeds that stopped early there may be several.
    const tips = lines.map((line) => ({ line, last: onAxes(line) })).filter(({ last }) => last >= 0);
    if (tips.length === 0) continue;
    const { line, last } = tips.reduce((a, b) => (b.line.x[b.last] > a.line.x[a.last] ? b : a));
    ends.push({ color: style.color, x: line.x[last], y: line.y[last], text: endText(cell, line.n, names, look) });
  }
  const needed = ends.reduce((sum, end) => sum + labelHeight(end.text, look), 70);
  const height = Math.max(look.row * 13, needed);
  const wide = look.paperWidth === null || look.paperWidth > 400;
  const layout = layoutOf(look, {
    height,
    margin: { l: 56, r: wide ? 172 : 132, t: 10, b: 46 },
    annotations: [],
    xaxis: axis(look, AXES[state.x] + (state.x === "time" ? " (seconds)" : ""), {
      type: state.logx ? "log" : "linear",
      ...xRange(drawn),
    }),
    yaxis: axis(look, plotText(tagText(tag)), { type: state.logy ? "log" : "linear", ...yRange(drawn) }),
  });
  layout.annotations = endLabels(ends, layout, look);
  return { data, layout };
}

function lineMarks(line, { color, symbol }) {
  const few = line.y.filter((value) => value !== null).length < FEW;
  return few ? { mode: "lines+markers", marker: { size: 7, color, symbol }, cliponaxis: false } : { mode: "lines" };
}

// The range of the means; a band that is far wider is clipped at it.
function yRange(drawn) {
  const values = drawn
    .flatMap(({ lines }) => lines.flatMap((line) => line.y))
    .filter((value) => value !== null && (!state.logy || value > 0))
    .map((value) => (state.logy ? Math.log10(value) : value));
  if (values.length === 0) return {};
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const pad = (high - low) * 0.06 || 0.05;
  return { range: [low - pad, high + pad] };
}

// Said outright, since Plotly would make room for the labels inside the axis.
function xRange(drawn) {
  const xs = drawn.flatMap(({ lines }) => lines.flatMap((line) => line.x)).filter((x) => x !== null && (!state.logx || x > 0));
  if (xs.length === 0) return {};
  const high = xs.reduce((a, b) => Math.max(a, b));
  if (!state.logx) return { range: [0, high] };
  return { range: [Math.log10(xs.reduce((a, b) => Math.min(a, b))), Math.log10(high)] };
}

function endText(cell, n, names, look) {
  const seeds = n.length > 1 ? ` n ${n.map(([, count]) => count).join("→")}` : "";
  const narrow = look.paperWidth !== null && look.paperWidth <= 400;
  return plotLines(names.get(cell.id) + seeds, narrow ? 16 : 22);
}

function labelHeight(text, look) {
  return text.split("<br>").length * look.small * 1.25 + 2;
}

// Labels at the right ends instead of a legend box, moved apart where they would meet. A thin line leads from the end of
// the curve to its label, so that the colour need not.
function endLabels(ends, layout, look) {
  const { range } = layout.yaxis;
  if (!range) return [];
  const span = layout.height - layout.margin.t - layout.margin.b;
  const onX = (x) => (state.logx ? Math.log10(x) : x);
  const onY = (y) => (state.logy ? Math.log10(y) : y);
  const down = (y) => span * (1 - (onY(y) - range[0]) / (range[1] - range[0]));
  const places = spread(
    ends.map((end) => down(end.y)),
    ends.map((end) => labelHeight(end.text, look)),
    0,
    span,
  );
  return ends.map((end, k) =>
    label(look, end.text, {
      x: onX(end.x),
      y: onY(end.y),
      ax: 22,
      ay: places[k] - down(end.y),
      showarrow: true,
      arrowhead: 0,
      arrowwidth: 1,
      arrowcolor: end.color,
      standoff: 1,
      xanchor: "left",
      align: "left",
      font: { size: look.small - 1, color: end.color },
    }),
  );
}
