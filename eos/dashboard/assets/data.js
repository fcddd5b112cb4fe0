/* The records, and what is looked up in them again and again. */

const store = { data: null, runsOf: new Map(), keyOf: new Map(), cellOf: new Map(), cache: new Map(), updated: null };

function takeData(data) {
  if (data.schema !== 1) throw new Error(`This page reads records of schema 1; these are of schema ${data.schema}.`);
  store.data = data;
  store.cache = new Map();
  store.runsOf = new Map(data.cells.map((cell) => [cell.id, []]));
  for (const run of data.runs) store.runsOf.get(run.cell)?.push(run);
  const counts = new Map();
  for (const cell of data.cells) counts.set(cell.name, (counts.get(cell.name) ?? 0) + 1);
  // A link names a cell by its name; by its number too where two have the name (two tasks or budgets).
  store.keyOf = new Map(
    data.cells.map((cell) => [cell.id, counts.get(cell.name) > 1 ? `${cell.name}~${cell.id}` : cell.name]),
  );
  store.cellOf = new Map(data.cells.map((cell) => [store.keyOf.get(cell.id), cell]));
}

// Work that several pages ask for is done once for each set of records.
function remembered(key, make) {
  if (!store.cache.has(key)) store.cache.set(key, make());
  return store.cache.get(key);
}

function runsOf(cell) {
  return store.runsOf.get(cell.id) ?? [];
}

function levelOf(stage, id) {
  return (store.data.levels[stage] ?? []).find((level) => level.id === id) ?? null;
}

function levelName(stage, id) {
  if (id === null || id === undefined) return "none";
  const level = levelOf(stage, id);
  return level ? level.label : `${stage} ${id}`;
}

function metricOf(run, metric) {
  const value = run.metrics[metric];
  return Number.isFinite(value) ? value : null;
}

// The finished values of a cell by seed. Of two runs with one seed the first counts: they are one replicate.
// With `worst`, a run that diverged counts with the given value.
function valuesOf(cell, metric, worst = null) {
  return remembered(`values ${cell.id} ${metric} ${worst}`, () => {
    const values = new Map();
    for (const run of runsOf(cell)) {
      let value = null;
      if (run.status === "ok") value = metricOf(run, metric);
      else if (run.status === "diverged") value = worst;
      if (value !== null && !values.has(run.seed)) values.set(run.seed, value);
    }
    return values;
  });
}

function statusCounts(runs) {
  const counts = new Map();
  for (const status of Object.keys(STATUS)) {
    const count = runs.filter((run) => run.status === status).length;
    if (count > 0) counts.set(status, count);
  }
  return counts;
}

function averageOf(cell, pick) {
  const values = runsOf(cell)
    .filter((run) => run.status === "ok")
    .map(pick)
    .filter(Number.isFinite);
  return values.length ? meanOf(values) : null;
}

function distinct(values) {
  return [...new Set(values)];
}
