/* Pictures of trials by what they tried: two parameters, many parameters, the table. */

const ABSENT = "absent";

// Parameters by importance, those without one after them.
function parametersOf(study) {
  const list = Object.values(study.importances)[0] ?? [];
  const known = [...list].sort((a, b) => b.value - a.value).map((item) => item.name);
  const all = distinct(study.trials.flatMap((trial) => Object.keys(trial.params)));
  const varied = all.filter((name) => distinct(study.trials.map((trial) => trial.params[name])).length > 1);
  return [...known.filter((name) => varied.includes(name)), ...varied.filter((name) => !known.includes(name))];
}

// Numbers over more than two powers of ten are drawn on a log axis; words as they come.
function scaleOf(values) {
  const known = values.filter((value) => value !== undefined && value !== null);
  if (!known.every((value) => typeof value === "number")) return "word";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return low > 0 && high / low > 50 ? "log" : "linear";
}

function interactionFigure(study) {
  const names = parametersOf(study);
  if (names.length < 2) return null;
  const trials = completeTrials(study);
  const across = names.includes(state.across) ? state.across : names[0];
  // The next in importance that most trials have.
  const has = (name) => trials.filter((trial) => trial.params[name] !== undefined).length;
  const others = names.filter((name) => name !== across);
  const common = others.find((name) => has(name) >= 0.8 * trials.length) ?? others[0];
  const down = others.includes(state.down) ? state.down : common;
  const options = names.map((name) => ({ value: name, label: name }));
  const drawn = trials.filter((trial) => [across, down].every((name) => trial.params[name] !== undefined));
  const out = trials.length - drawn.length;
  return h(
    "div",
    {},
    figure({
      name: "interaction",
      title: "Two parameters together",
      build: (look) => interactionPlot(study, drawn, across, down, look),
      description: `Complete trials, coloured by ${study.objectives[0].name}; ✕: failed${state.pruned ? ", ◇: pruned" : ""}. Empty regions were not looked at.${out ? ` ${plural(out, "trial")} without one of the two left out.` : ""}`,
    }),
    h(
      "div",
      { class: "controls" },
      menu("across", "across", options, across, (value) => setState({ across: value }, { part: "page" })),
      menu(
        "up",
        "down",
        options.filter((option) => option.value !== across),
        down,
        (value) => setState({ down: value }, { part: "page" }),
      ),
    ),
  );
}

function interactionPlot(study, drawn, across, down, look) {
  const sign = direction(study.objectives[0]);
  const range = robustRange(
    drawn.map((trial) => trial.values[0]),
    sign,
  );
  const scales = [across, down].map((name) => scaleOf(study.trials.map((trial) => trial.params[name])));
  const value = (trial, name) =>
    typeof trial.params[name] === "number" ? trial.params[name] : plotText(valueText(trial.params[name]));
  const marks = (trials, marker, words) => ({
    type: "scatter",
    mode: "markers",
    x: trials.map((trial) => value(trial, across)),
    y: trials.map((trial) => value(trial, down)),
    marker,
    customdata: trials.map((trial) => [trial.number, trial.values ? threeDigits(trial.values[0]) : words]),
    hovertemplate: "trial %{customdata[0]}: %{customdata[1]}<br>%{x}<br>%{y}<extra></extra>",
  });
  const of = (wanted) =>
    study.trials.filter(
      (trial) => trial.state === wanted && [across, down].every((name) => trial.params[name] !== undefined),
    );
  return {
    data: [
      state.pruned ? marks(of("pruned"), { symbol: "diamond-open", size: 6, color: look.axis }, "pruned") : null,
      marks(of("failed"), { symbol: "x-thin", size: 8, line: { width: 1.5, color: look.worse } }, "failed"),
      marks(
        drawn,
        {
          symbol: "circle",
          size: 9,
          color: drawn.map((trial) => trial.values[0]),
          cmin: range[0],
          cmax: range[1],
          colorscale: sequentialScale(),
          reversescale: sign < 0,
          line: { width: 0.75, color: look.axis },
          showscale: true,
          colorbar: {
            thickness: 10,
            outlinewidth: 0,
            nticks: 5,
            tickfont: { size: look.small, color: look.muted },
            xpad: 4,
          },
        },
        "",
      ),
    ].filter(Boolean),
    layout: layoutOf(look, {
      height: look.row * 11,
      margin: { l: 60, r: 12, t: 8, b: 48 },
      xaxis: axis(look, plotText(across), scaleAxis(scales[0])),
      yaxis: axis(look, plotText(down), scaleAxis(scales[1])),
    }),
  };
}

function scaleAxis(scale) {
  return { type: scale === "word" ? "category" : scale, ...(scale === "log" ? { dtick: 1 } : {}) };
}

const BEST = { 100: "all", 50: "the better half", 25: "the best quarter", 10: "the best tenth" };

// Lines as vectors: they export as such, and need no WebGL. The best are drawn last, on top.
function parallelFigure(study) {
  const names = parametersOf(study).slice(0, axesIn(screenLook()));
  const sign = direction(study.objectives[0]);
  const trials = completeTrials(study).sort((a, b) => sign * (a.values[0] - b.values[0]));
  if (names.length < 2 || trials.length < 2) return null;
  const share = Object.hasOwn(BEST, state.top) ? Number(state.top) : 100;
  const shown = trials.slice(trials.length - Math.max(1, Math.ceil((trials.length * share) / 100)));
  const rest = parametersOf(study).length - names.length;
  const options = Object.entries(BEST)
    .reverse()
    .map(([value, label]) => ({ value, label }));
  return [
    figure({
      name: "parallel",
      title: "All parameters of each complete trial",
      build: (look) => parallelPlot(study, trials, shown, parametersOf(study).slice(0, axesIn(look)), look),
      description: `One line a trial; the bluer, the better. A parameter that a trial does not have stands at “${ABSENT}”.${shown.length < trials.length ? ` ${shown.length} of ${trials.length} trials; the others are faint.` : ""}${rest > 0 ? ` ${plural(rest, "parameter")} of less importance left out.` : ""}`,
    }),
    h(
      "div",
      { class: "controls" },
      menu("show", "top", options, String(share), (top) => setState({ top }, { part: "page" })),
    ),
  ];
}

// As many parameters as there is room for, beside the objective: a heading needs some 125 px, or 12 of its letters.
function axesIn(look) {
  return Math.min(8, Math.max(2, Math.floor(plotWidth(look) / (look.small * 10)) - 1));
}

// "model.mixer.oscillation.rank" → "rank" where no other ends so; in lines of at most so many letters.
function headings(titles, length) {
  const short = titles.map((title) => title.split(".").at(-1));
  return titles.map((title, place) => {
    const unique = short.indexOf(short[place]) === short.lastIndexOf(short[place]);
    const parts = (unique ? short[place] : title).split(/(?<=[._ -])/);
    const lines = [""];
    for (const part of parts.flatMap((part) => part.match(new RegExp(`.{1,${length}}`, "g")) ?? [])) {
      if (lines.at(-1) && lines.at(-1).length + part.length > length) lines.push("");
      lines[lines.length - 1] += part;
    }
    return lines;
  });
}

function parallelPlot(study, trials, shown, names, look) {
  const sign = direction(study.objectives[0]);
  const range = robustRange(
    trials.map((trial) => trial.values[0]),
    sign,
  );
  const axes = [...names.map((name) => parallelAxis(name, trials)), valueAxis(study, range)];
  const goodness = (trial) => {
    const share = Math.min(1, Math.max(0, (trial.values[0] - range[0]) / (range[1] - range[0])));
    return sign > 0 ? share : 1 - share;
  };
  const line = (trial) => ({ x: axes.map((_, k) => k), y: axes.map((one) => one.place(trial)) });
  const [left, right] = [44, 60];
  const apart = (plotWidth(look) - left - right) / (axes.length - 0.6);
  const heads = headings(
    axes.map((one) => one.title),
    Math.max(6, Math.floor(apart / (look.small * 0.64))),
  );
  const top = 24 + Math.max(...heads.map((lines) => lines.length)) * look.small * 1.3;
  const layout = layoutOf(look, {
    height: look.row * 12 + top,
    margin: { l: left, r: right, t: top, b: 14 },
    annotations: [],
    shapes: [],
    xaxis: {
      range: [-0.15, axes.length - 0.75],
      showgrid: false,
      zeroline: false,
      showticklabels: false,
      fixedrange: true,
    },
    yaxis: { range: [-0.2, 1.06], showgrid: false, zeroline: false, showticklabels: false, fixedrange: true },
  });
  axes.forEach((one, k) => {
    layout.shapes.push({
      type: "line",
      x0: k,
      x1: k,
      y0: 0,
      y1: 1,
      line: { color: look.axis, width: 1.25 },
      layer: "above",
    });
    layout.annotations.push(
      label(look, `<b>${heads[k].map(plotText).join("<br>")}</b>`, { x: k, y: 1, yanchor: "bottom", yshift: 14 }),
    );
    for (const [place, text] of one.ticks)
      layout.annotations.push(
        label(look, plotText(text), {
          x: k,
          y: place,
          xanchor: "left",
          xshift: 5,
          bgcolor: translucent(look.paper, 0.75),
          borderpad: 1,
        }),
      );
  });
  const faint = trials.filter((trial) => !shown.includes(trial));
  const join = (list, key) => list.flatMap((trial) => [...line(trial)[key], null]);
  return {
    layout,
    data: [
      {
        type: "scatter",
        mode: "lines",
        x: join(faint, "x"),
        y: join(faint, "y"),
        line: { color: look.grid, width: 1 },
        hoverinfo: "skip",
      },
      ...shown.map((trial) => ({
        type: "scatter",
        mode: "lines",
        ...line(trial),
        line: { color: mixed(look.grid, look.better, goodness(trial) ** 2), width: 1.5 },
        opacity: 0.85,
        customdata: axes.map((one) => [
          trial.number,
          threeDigits(trial.values[0]),
          plotText(one.title),
          plotText(one.text(trial)),
        ]),
        hovertemplate: "trial %{customdata[0]}: %{customdata[1]}<br>%{customdata[2]} %{customdata[3]}<extra></extra>",
      })),
    ],
  };
}

function valueAxis(study, range) {
  const place = (trial) => Math.min(1, Math.max(0, (trial.values[0] - range[0]) / (range[1] - range[0])));
  const ticks = [0, 0.5, 1].map((share) => [share, threeDigits(range[0] + share * (range[1] - range[0]))]);
  return { title: study.objectives[0].name, place, ticks, text: (trial) => threeDigits(trial.values[0]) };
}

// A parameter's axis from 0 to 1; below it the place of trials that do not have it.
function parallelAxis(name, trials) {
  const known = trials.map((trial) => trial.params[name]).filter((value) => value !== undefined);
  const missing = known.length < trials.length ? [[-0.14, ABSENT]] : [];
  const scale = scaleOf(known);
  const text = (trial) =>
    trial.params[name] === undefined
      ? ABSENT
      : typeof trial.params[name] === "number"
        ? smallNumber(trial.params[name])
        : valueText(trial.params[name]);
  if (scale === "word") {
    const words = distinct(known.map(valueText)).sort();
    const at = (value) => (words.length < 2 ? 0.5 : words.indexOf(valueText(value)) / (words.length - 1));
    return {
      title: name,
      text,
      ticks: [...missing, ...words.map((word) => [at(word), cutText(word, 18)])],
      place: (trial) => (trial.params[name] === undefined ? -0.14 : at(trial.params[name])),
    };
  }
  const onScale = scale === "log" ? Math.log10 : (value) => value;
  const numbers = known.map(onScale);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const at = (value) => (high === low ? 0.5 : (onScale(value) - low) / (high - low));
  const ticks = (high === low ? [0.5] : [0, 0.5, 1]).map((share) => [
    share,
    smallNumber(scale === "log" ? 10 ** (low + share * (high - low)) : low + share * (high - low)),
  ]);
  return {
    title: name,
    text,
    ticks: [...missing, ...ticks],
    place: (trial) => (trial.params[name] === undefined ? -0.14 : at(trial.params[name])),
  };
}

function trialsTable(study) {
  const names = parametersOf(study).slice(0, 8);
  const rows = study.trials.filter((trial) => state.pruned || trial.state !== "pruned");
  const number = (value) => (value === null || value === undefined ? "" : threeDigits(value));
  const columns = [
    { key: "number", title: "trial", numeric: true, value: (trial) => trial.number, show: (trial) => trialLink(trial) },
    {
      key: "state",
      title: "state",
      value: (trial) => trial.state,
      show: (trial) => h("span", { class: `count ${trial.state}` }, `${TRIAL_MARKS[trial.state] ?? ""} ${trial.state}`),
    },
    ...study.objectives.map((objective, place) => ({
      key: `value${place}`,
      title: `${objective.name} ${objective.higher ? "↑" : "↓"}`,
      numeric: true,
      value: (trial) => trial.values?.[place] ?? null,
      text: (trial) => number(trial.values?.[place]),
    })),
    {
      key: "last",
      title: "last value before it was pruned",
      numeric: true,
      value: (trial) => prunedAt(trial)?.value ?? null,
      text: (trial) => (prunedAt(trial) ? `${number(trial.last.value)} at step ${trial.last.step}` : ""),
    },
    ...names.map((name) => ({
      key: `p ${name}`,
      title: name,
      numeric: scaleOf(study.trials.map((trial) => trial.params[name])) !== "word",
      value: (trial) =>
        typeof trial.params[name] === "number"
          ? trial.params[name]
          : trial.params[name] === undefined
            ? null
            : valueText(trial.params[name]),
      text: (trial) =>
        trial.params[name] === undefined
          ? ""
          : typeof trial.params[name] === "number"
            ? smallNumber(trial.params[name])
            : valueText(trial.params[name]),
    })),
    {
      key: "seconds",
      title: "time",
      numeric: true,
      value: (trial) => trial.seconds,
      text: (trial) => durationText(trial.seconds),
    },
    { key: "reason", title: "reason", value: (trial) => trial.reason ?? "" },
  ].filter((column) => column.key !== "last" || rows.some(prunedAt));
  const sort = study.objectives[0].higher ? "-value0" : "value0";
  return h(
    "details",
    { class: "table", open: rows.length < 30 },
    h("summary", { "data-key": "trials table" }, `All ${plural(rows.length, "trial")} as a table`),
    dataTable({ name: "trials", columns, rows, sort, caption: `Trials of the study ${study.name}. ${study.command}` }),
  );
}

// Every trial that reports has a last value; of a pruned one it is all that is known.
function prunedAt(trial) {
  return trial.state === "pruned" ? trial.last : null;
}

function smallNumber(value) {
  return value !== 0 && Math.abs(value) < 1e-3
    ? value.toExponential(1).replace("-", MINUS)
    : String(Number(value.toPrecision(3)));
}

function trialLink(trial) {
  const run = trial.run === null ? null : store.data.runs.find((other) => other.id === trial.run);
  return run ? h("a", { href: linkTo({ page: "run", run: run.path }) }, String(trial.number)) : String(trial.number);
}
