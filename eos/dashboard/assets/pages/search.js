/* Search: what did the search learn, and where did it not look? */

pages.search = {
  missing: () =>
    store.data.studies.length
      ? null
      : teach(
          "No study was given",
          para(
            "A study is what a search writes: its trials, with what each tried and what came of it. Give it to the report:",
          ),
          command("eos report runs --study runs/search/NAME/study.log -o page.html"),
        ),
  draw() {
    const study = chosenStudy();
    const parts = [h("h2", {}, "Search"), studyControls(study), trialsAnswer(study)];
    if (study.trials.length === 0)
      return [...parts, teach("The study has no trials yet", para("Start a worker for it, and trials appear here."))];
    return [
      ...parts,
      study.objectives.length > 1 ? frontFigure(study) : historyFigure(study),
      Object.values(study.importances).some((list) => list.length)
        ? h("div", { class: "beside halves" }, importanceFigure(study), interactionFigure(study))
        : [hint(`No importances: ${study.note ?? "too few trials are complete to tell which parameter matters."}`), interactionFigure(study)],
      parallelFigure(study),
      trialsTable(study),
    ];
  },
};

function chosenStudy() {
  const { studies } = store.data;
  return studies.find((other) => other.name === state.study) ?? studies[0] ?? null;
}

const TRIAL_MARKS = { complete: "●", pruned: "◇", failed: "✕", running: "◐", waiting: "○" };

function studyControls(study) {
  const states = Object.entries(study.states)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => h("span", { class: `count ${name}` }, `${TRIAL_MARKS[name] ?? ""} ${count} ${name}`));
  return h(
    "div",
    { class: "controls" },
    menu(
      "study",
      "study",
      store.data.studies.map((other) => ({ value: other.name, label: other.name })),
      study.name,
      (value) => setState({ study: value, across: "", down: "", importance: "" }, { part: "page" }),
    ),
    h("span", { class: "counts" }, h("span", { class: "count" }, `${plural(study.trials.length, "trial")}:`), states),
    study.trials.some((trial) => trial.state === "pruned")
      ? checkbox("pruned trials", "pruned", state.pruned, (pruned) => setState({ pruned }, { part: "page" }))
      : null,
  );
}

function direction(objective) {
  return objective.higher ? 1 : -1;
}

function completeTrials(study) {
  return study.trials.filter((trial) => trial.state === "complete" && trial.values !== null);
}

function bestTrial(study, trials = completeTrials(study)) {
  const sign = direction(study.objectives[0]);
  return trials.reduce(
    (best, trial) => (best === null || sign * trial.values[0] > sign * best.values[0] ? trial : best),
    null,
  );
}

function trialsAnswer(study) {
  const best = study.objectives.length === 1 ? bestTrial(study) : null;
  return h(
    "div",
    { class: "answer" },
    para("Trials are not an ablation: the sampler visits good regions more often, and the best of many is lucky."),
    best
      ? hint(
          `The best of ${plural(completeTrials(study).length, "complete trial")} is trial ${best.number}: ${threeDigits(best.values[0])} ${study.objectives[0].name}, one run.`,
        )
      : null,
    study.rerun.length
      ? [hint("To know how good the best are, train them anew on other seeds:"), study.rerun.slice(0, 5).map(command)]
      : null,
    h(
      "details",
      { class: "same" },
      h("summary", { "data-key": "open study" }, "Open it in optuna-dashboard"),
      command(study.command),
    ),
  );
}

// Of fewer values than this all are drawn: nobody can say which of them is the odd one.
const ALL_DRAWN = 8;

// Where most values lie, so that one bad trial squeezes nothing; what lies outside is counted.
function robustRange(values, sign, others = []) {
  if (values.length === 0) return [0, 1];
  const sorted = [...values].sort((a, b) => a - b);
  const worse = (share) => (others.length ? [quantile(others, sign > 0 ? share : 1 - share)] : []);
  const every = values.length + others.length < ALL_DRAWN;
  const [low, high] = every
    ? [Math.min(...values, ...others), Math.max(...values, ...others)]
    : sign > 0
      ? [Math.min(quantile(sorted, 0.05), ...worse(0.25)), sorted.at(-1)]
      : [sorted[0], Math.max(quantile(sorted, 0.95), ...worse(0.25))];
  const pad = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low - pad, high + pad];
}

function historyFigure(study) {
  const objective = study.objectives[0];
  const complete = completeTrials(study);
  const pruned = study.trials.filter((trial) => trial.state === "pruned" && trial.last !== null);
  const values = [...complete.map((trial) => trial.values[0])];
  const lasts = state.pruned ? pruned.map((trial) => trial.last.value) : [];
  const range = robustRange(values.length ? values : lasts, direction(objective), lasts);
  const outside = [...values, ...lasts].filter((value) => value < range[0] || value > range[1]).length;
  const mute = study.trials.length - complete.length - pruned.length;
  return figure({
    name: "history",
    title: `${objective.name} ${objective.higher ? "↑" : "↓"} of each trial`,
    build: (look) => historyPlot(study, complete, state.pruned ? pruned : [], range, look),
    description: `The line is the best so far. ◇: pruned, at the value of its last step${state.pruned ? "" : " (not shown)"}.${outside ? ` ${plural(outside, "trial")} outside the picture: ▾ and ▴ at its edge.` : ""}${mute ? ` ${plural(mute, "trial")} without a value.` : ""}`,
  });
}

function historyPlot(study, complete, pruned, range, look) {
  const sign = direction(study.objectives[0]);
  const best = [];
  for (const trial of complete)
    best.push(best.length && sign * best.at(-1) > sign * trial.values[0] ? best.at(-1) : trial.values[0]);
  const hover = "trial %{x}<br>%{customdata}<extra></extra>";
  const inside = (value) => Math.min(range[1], Math.max(range[0], value));
  const marks = (trials, value, symbol, color, words) => ({
    type: "scatter",
    mode: "markers",
    cliponaxis: false,
    x: trials.map((trial) => trial.number),
    y: trials.map((trial) => inside(value(trial))),
    customdata: trials.map((trial) => words(trial)),
    hovertemplate: hover,
    marker: {
      size: 7,
      color,
      symbol: trials.map((trial) =>
        value(trial) < range[0] ? "triangle-down-open" : value(trial) > range[1] ? "triangle-up-open" : symbol,
      ),
    },
  });
  return {
    data: [
      marks(
        pruned,
        (trial) => trial.last.value,
        "diamond-open",
        look.axis,
        (trial) => `${threeDigits(trial.last.value)}, pruned at step ${trial.last.step}`,
      ),
      marks(
        complete,
        (trial) => trial.values[0],
        "circle",
        look.better,
        (trial) => threeDigits(trial.values[0]),
      ),
      {
        type: "scatter",
        mode: "lines",
        x: complete.map((trial) => trial.number),
        y: best,
        line: { shape: "hv", color: look.text, width: 1.75 },
        hoverinfo: "skip",
      },
    ],
    layout: layoutOf(look, {
      height: look.row * 11,
      margin: { l: 60, r: 16, t: 8, b: 46 },
      xaxis: axis(look, "trial", { tickformat: "d", ...(study.trials.length < 20 ? { tick0: 0, dtick: 1 } : {}) }),
      yaxis: axis(look, plotText(study.objectives[0].name), { range }),
    }),
  };
}

function frontFigure(study) {
  const [first, second] = study.objectives;
  const complete = completeTrials(study);
  const better = (a, b) =>
    [0, 1].every((k) => direction(study.objectives[k]) * (a.values[k] - b.values[k]) >= 0) &&
    a.values.some((value, k) => value !== b.values[k]);
  const front = complete
    .filter((trial) => !complete.some((other) => better(other, trial)))
    .sort((a, b) => a.values[0] - b.values[0]);
  return figure({
    name: "front",
    title: `${second.name} against ${first.name}`,
    description: `Each mark is a complete trial; the ${front.length} filled ones are those that no other beats in both.`,
    build: (look) => ({
      data: [complete.filter((trial) => !front.includes(trial)), front].map((trials, place) => ({
        type: "scatter",
        mode: "markers",
        x: trials.map((trial) => trial.values[0]),
        y: trials.map((trial) => trial.values[1]),
        customdata: trials.map((trial) => trial.number),
        hovertemplate: "trial %{customdata}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
        marker: {
          size: place ? 9 : 7,
          symbol: place ? "circle" : "circle-open",
          color: place ? look.better : look.axis,
        },
      })),
      layout: layoutOf(look, {
        height: look.row * 13,
        xaxis: axis(look, plotText(`${first.name} ${first.higher ? "↑" : "↓"}`)),
        yaxis: axis(look, plotText(`${second.name} ${second.higher ? "↑" : "↓"}`)),
      }),
    }),
  });
}

function importanceFigure(study) {
  const kinds = Object.entries(study.importances).filter(([, list]) => list.length);
  const [kind, list] = kinds.find(([name]) => name === state.importance) ?? kinds[0];
  const shown = [...list].sort((a, b) => b.value - a.value).slice(0, 15);
  const choose = menu(
    "by",
    "importance",
    kinds.map(([name]) => ({ value: name, label: name })),
    kind,
    (importance) => setState({ importance }, { part: "page" }),
  );
  const columns = [
    { key: "name", title: "parameter", value: (item) => item.name },
    { key: "value", title: "share", numeric: true, value: (item) => item.value, text: (item) => fixed(item.value, 2) },
    {
      key: "range",
      title: "spread",
      numeric: true,
      value: (item) => item.high - item.low,
      text: (item) => `${fixed(item.low, 2)}–${fixed(item.high, 2)}`,
    },
    { key: "used", title: "trials used", numeric: true, value: (item) => item.used },
    { key: "left_out", title: "left out", numeric: true, value: (item) => item.left_out },
  ];
  return h(
    "div",
    {},
    figure({
      name: "importances",
      title: "Which parameter matters",
      description: `Share of the variation of ${study.objectives[0].name} that each parameter explains (${kind}), with its spread over repeats. A low share can also mean that the range was well chosen.`,
      build: (look) => importancePlot(shown, look),
    }),
    h("div", { class: "controls" }, choose),
    study.note ? hint(study.note) : null,
    dataTable({
      name: "importances",
      columns,
      rows: shown,
      caption: `Importances of the parameters of ${study.name} by ${kind}. ${store.data.command}`,
    }),
  );
}

function importanceRange(list) {
  const [low, high] = [Math.min(0, ...list.map((item) => item.low)), Math.max(...list.map((item) => item.high))];
  return [low - (high - low) * 0.03, high + (high - low) * 0.05];
}

function importancePlot(list, look) {
  const y = list.map((_, place) => -place);
  const wide = look.paperWidth === null || look.paperWidth > 400;
  return {
    data: [
      ...list.map((item, place) => ({
        type: "scatter",
        mode: "lines",
        x: [item.low, item.high],
        y: [-place, -place],
        line: { color: look.muted, width: 1.75 },
        hoverinfo: "skip",
      })),
      {
        type: "scatter",
        mode: "markers",
        x: list.map((item) => item.value),
        y,
        marker: { size: 9, color: look.text },
        customdata: list.map((item) => [plotText(item.name), item.used, item.left_out]),
        hovertemplate:
          "<b>%{customdata[0]}</b><br>%{x:.2f}<br>%{customdata[1]} trials used, %{customdata[2]} left out<extra></extra>",
      },
    ],
    layout: layoutOf(look, {
      height: Math.max(4, list.length) * look.row + 70,
      margin: { l: wide ? 170 : 110, r: 16, t: 8, b: 46 },
      xaxis: axis(look, "share of the variation", { range: importanceRange(list) }),
      yaxis: {
        tickvals: y,
        ticktext: list.map((item) => plotText(cutText(item.name, wide ? 26 : 16))),
        range: [-list.length + 0.4, 0.6],
        showgrid: false,
        zeroline: false,
        fixedrange: true,
        tickfont: { size: look.small, color: look.text },
      },
    }),
  };
}
