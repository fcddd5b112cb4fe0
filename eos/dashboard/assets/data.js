/* The records, and what is looked up in them again and again. */

const store = { data: null, runsOf: new Map(), keyOf: new Map(), cellOf: new Map(), cache: new Map(), updated: null };

function takeData(data) {
  if (data.schema !== 1) throw new Error(`This page reads records of schema 1; these are of schema ${data.schema}.`);
  store.data = data;
  store.cache = new Map();
  store.runsOf = new Map(data.cells.map((cell) => [cell.id, []]));
  for (const run of data.runs) store.runsOf.get(run.cell)?.push(run);
  store.keyOf = new Map(data.cells.map((cell) => [cell.id, `${cell.name}~${cell.key}`]));
  store.cellOf = new Map(data.cells.map((cell) => [cell.key, cell]));
}

// The cell that an address names, NAME~KEY. The key alone finds it, since a name tells what sets a cell apart from the
// others here and so changes with them; a bare name will do where one cell has it.
function cellAt(address) {
  const found = store.cellOf.get(address.slice(address.lastIndexOf("~") + 1));
  if (found) return found;
  const namesakes = store.data.cells.filter((cell) => cell.name === address);
  return namesakes.length === 1 ? namesakes[0] : null;
}

// A list of addresses with a cell's put in, or taken out whatever it was called there.
function toggledCell(addresses, cell) {
  const others = addresses.filter((address) => cellAt(address) !== cell);
  return others.length < addresses.length ? others : [...addresses, store.keyOf.get(cell.id)];
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
