/* The one selection that all pages share: task, budget, metric, baseline, and the cells in it. */

function tasksWithCells() {
  const { tasks, cells } = store.data;
  return Object.keys(tasks).filter((task) => cells.some((cell) => cell.task === task));
}

function mostCommon(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [null, 0])[0];
}

// What is not chosen is chosen by what most cells have.
function currentView() {
  const { data } = store;
  const tasks = tasksWithCells();
  const task = tasks.includes(state.task)
    ? state.task
    : (mostCommon(data.cells.filter((cell) => cell.study === null).map((cell) => cell.task)) ?? tasks[0] ?? null);
  const ofTask = data.cells.filter((cell) => cell.task === task);
  const budgets = distinct(ofTask.map((cell) => cell.budget));
  const budget = budgets.includes(state.budget)
    ? state.budget
    : (mostCommon(ofTask.filter((cell) => cell.study === null).map((cell) => cell.budget)) ?? budgets[0] ?? null);
  const info = data.tasks[task] ?? { metrics: {}, metric: null };
  const metric = Object.hasOwn(info.metrics, state.metric) ? state.metric : info.metric;
  const inScope = ofTask.filter((cell) => cell.budget === budget);
  const family = inScope.filter((cell) => cell.study === null || state.trials);
  const trialsOnly = family.length === 0 && inScope.length > 0;
  const scope = trialsOnly ? inScope : family;
  const kind = info.metrics[metric] ?? { higher: true, fraction: false };
  const view = {
    task,
    tasks,
    budget,
    budgets,
    metric,
    info,
    kind,
    sign: kind.higher ? 1 : -1,
    scope,
    family,
    trialsOnly,
  };
  view.trials = inScope.filter((cell) => cell.study !== null).length;
  view.worst = state.worst ? worstValue(view) : null;
  const given = cellAt(state.base);
  view.base = scope.includes(given) ? given : defaultBaseline(scope, metric);
  view.values = (cell) => valuesOf(cell, view.metric, view.worst);
  view.summary = (cell) =>
    remembered(`summary ${cell.id} ${metric} ${view.worst}`, () => summarize([...view.values(cell).values()]));
  const summaries = scope.map(view.summary);
  view.decimals = typicalDecimals(summaries);
  view.differenceDecimals = typicalDecimals(summaries, differenceScale(kind.fraction));
  const matches = filterOf(state.filter, view);
  const hidden = new Set(state.hide.map(cellAt));
  view.hidden = scope.filter((cell) => hidden.has(cell));
  view.shown = scope.filter((cell) => !hidden.has(cell) && matches(cell));
  view.pinned = distinct(state.pin.map(cellAt)).filter((cell) => scope.includes(cell));
  view.slots = slotsOf(view);
  return view;
}

// Of the cells that share many contexts with others (so that effects can be told) the plainest, then that with most seeds.
function defaultBaseline(scope, metric) {
  const counts = new Map();
  const contextsOf = (cell) => Object.entries(cell.contexts ?? {}).map(([stage, context]) => `${stage} ${context}`);
  for (const cell of scope) contextsOf(cell).forEach((context) => counts.set(context, (counts.get(context) ?? 0) + 1));
  const score = (cell) => contextsOf(cell).reduce((sum, context) => sum + counts.get(context) - 1, 0);
  const seeds = (cell) => valuesOf(cell, metric).size;
  const parts = (cell) => cell.name.split(" · ").length;
  const most = scope.reduce((largest, cell) => Math.max(largest, score(cell)), 0);
  const usable = scope.filter((cell) => score(cell) >= most / 2 && seeds(cell) > 0);
  const better = (a, b) =>
    parts(a) - parts(b) || score(b) - score(a) || seeds(b) - seeds(a) || earlier(a, b) || a.id - b.id;
  return [...(usable.length ? usable : scope)].sort(better)[0] ?? null;
}

// Of the levels of a sweep the first is started first; a cell that does not say when comes after those that do.
function earlier(a, b) {
  const [first, second] = [a, b].map((cell) => runsOf(cell).map((run) => run.started).filter(Boolean).sort()[0] ?? "~");
  return first < second ? -1 : first > second ? 1 : 0;
}

function worstValue(view) {
  if (view.kind.fraction) return view.kind.higher ? 0 : 1;
  const all = view.scope.flatMap((cell) => [...valuesOf(cell, view.metric).values()]);
  if (all.length === 0) return null;
  return view.kind.higher ? Math.min(...all) : Math.max(...all);
}

// Better first; cells without a value last.
function ranked(cells, view, summary = view.summary) {
  const place = (cell) => (summary(cell).mean === null ? Infinity : -view.sign * summary(cell).mean);
  const order = new Map(cells.map((cell) => [cell, place(cell)]));
  return [...cells].sort((a, b) => (order.get(a) === order.get(b) ? a.id - b.id : order.get(a) - order.get(b)));
}

// Colour 0 is the baseline's, 1 to 6 are those of the best of the task by its own metric, whatever is filtered or hidden;
// a pinned cell takes the place of the last that is not pinned.
function slotsOf(view) {
  const kind = view.info.metrics[view.info.metric] ?? view.kind;
  const summary = (cell) => summarize([...valuesOf(cell, view.info.metric).values()]);
  const best = ranked(
    view.scope.filter((cell) => cell !== view.base),
    { ...view, sign: kind.higher ? 1 : -1 },
    summary,
  ).slice(0, 6);
  for (const cell of view.pinned) {
    if (cell === view.base || best.includes(cell)) continue;
    const free = best.findLastIndex((other) => !view.pinned.includes(other));
    if (best.length < 6) best.push(cell);
    else if (free >= 0) best[free] = cell;
  }
  const slots = new Map(best.map((cell, index) => [cell.id, index + 1]));
  if (view.base) slots.set(view.base.id, 0);
  return slots;
}

// At most seven cells are drawn in colour: the pinned ones, else the baseline and the best.
function coloured(view) {
  const wanted = view.pinned.length ? [view.base, ...view.pinned] : view.scope;
  const cells = wanted.filter((cell) => cell && view.slots.has(cell.id) && view.shown.includes(cell));
  return distinct(cells).sort((a, b) => view.slots.get(a.id) - view.slots.get(b.id));
}

const COMPARISON = /^([^<>=!]+)(<=|>=|!=|=|<|>)(.*)$/;
const MANY = { k: 1e3, m: 1e6, g: 1e9 };

// Words are looked for in names and options; `layers>4` compares a number (`50k`, `2M`, `1G`), `norm=rms` a word.
function filterOf(text, view) {
  const tests = text
    .trim()
    .toLowerCase()
    .replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1")
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => {
      const [, key, sign, wanted] = word.match(COMPARISON) ?? [];
      if (!key) return (facts) => facts.text.includes(word);
      return (facts) => {
        const values = facts.pairs.filter(([name]) => name === key || name.endsWith(`.${key}`));
        const right = ([, value]) => holds(value, sign, wanted);
        // A stage has a name and a label, a cell several runs: none of them may be what is not wanted.
        return sign === "!=" ? values.length > 0 && values.every(right) : values.some(right);
      };
    });
  return (cell) => tests.length === 0 || tests.every((test) => test(factsOf(cell, view)));
}

function holds(value, sign, wanted) {
  const [, digits, many] = wanted.match(/^(.*\d\.?)([kmg])$/) ?? [null, wanted, null];
  const number = Number(digits) * (MANY[many] ?? 1);
  const compared = wanted !== "" && !Number.isNaN(number) && typeof value === "number";
  const word = String(value).toLowerCase();
  if (sign === "=") return compared ? value === number : word === wanted;
  if (sign === "!=") return compared ? value !== number : word !== wanted;
  if (!compared) return false;
  return { "<": value < number, ">": value > number, "<=": value <= number, ">=": value >= number }[sign];
}

function factsOf(cell, view) {
  return remembered(`facts ${cell.id} ${view.metric}`, () => {
    const runs = runsOf(cell);
    const stages = STAGES.filter((stage) => (cell.levels?.[stage] ?? null) !== null);
    const pairs = [
      ...Object.entries({ ...store.data.common, ...cell.recipe }),
      ...stages.map((stage) => [stage, levelName(stage, cell.levels[stage])]),
      ...stages.map((stage) => [stage, levelOf(stage, cell.levels[stage])?.name ?? null]),
      ...["parameters", "state_bytes", "data", "version", "precision", "model", "study"].map((key) => [key, cell[key]]),
      ["seeds", view.summary(cell).n],
      [view.metric ?? "metric", view.summary(cell).mean],
      [(view.metric ?? "metric").split("/").at(-1), view.summary(cell).mean],
      ...distinct(runs.map((run) => run.status)).map((status) => ["status", status]),
    ].map(([name, value]) => [name.toLowerCase(), value]);
    const words = [
      cell.name,
      ...pairs.slice(Object.keys(store.data.common).length).map((pair) => pair[1]),
      ...runs.map((run) => run.path),
    ];
    return { pairs, text: words.join("\n").toLowerCase() };
  });
}
