/* Comparisons of cells: a cell is given as its values by seed (a Map). */

// a − b over the seeds that both have; without any, the difference of the means (Welch).
function compareSeeds(a, b) {
  const shared = [...a.keys()].filter((seed) => b.has(seed));
  if (shared.length > 0) {
    const test = differenceTest(shared.map((seed) => a.get(seed) - b.get(seed)));
    return { ...test, pairs: shared.length, paired: true };
  }
  const test = welchTest([...a.values()], [...b.values()]);
  const note = test.note ? `unpaired; ${test.note}` : "unpaired";
  return { ...test, pairs: 0, paired: false, note };
}

// The effect of one level of a stage against the base level, over contexts: settings that are equal in all but this stage.
// `entries` are [{context, level, values}]. Inside a context the differences are averaged over shared seeds; contexts then
// have equal weight, so a design with more runs here than there does not tilt the answer.
function marginalEffect(entries, level, baseLevel) {
  const at = (wanted) => {
    const found = entries.filter((entry) => entry.level === wanted && entry.values.size > 0);
    return new Map(found.map((entry) => [entry.context, entry.values]));
  };
  const [here, base] = [at(level), at(baseLevel)];
  const common = [...here.keys()].filter((context) => base.has(context));
  const compared = common.map((context) => compareSeeds(here.get(context), base.get(context)));
  const usable = compared.filter((difference) => difference.paired);
  const unpaired = compared.length - usable.length;
  const pairs = usable.reduce((sum, difference) => sum + difference.pairs, 0);
  if (usable.length > 1) {
    const test = differenceTest(usable.map((difference) => difference.mean));
    return { ...test, contexts: usable.length, pairs, unpaired, note: test.note };
  }
  if (compared.length === 0)
    return { ...differenceTest([]), contexts: 0, pairs: 0, unpaired, note: "no shared context" };
  if (usable.length === 0 && compared.length > 1) {
    return { ...differenceTest([]), contexts: 0, pairs: 0, unpaired, note: "no shared seeds" };
  }
  const only = usable[0] ?? compared[0];
  return { ...only, contexts: 1, unpaired, note: ["one context", only.note].filter(Boolean).join("; ") };
}

// The size of |t| that Holm's first step asks of a test with this many degrees of freedom, among m.
function neededT(m, df) {
  return tCritical(0.05 / m, df);
}

// Whether |t| would have to be beyond anything one sees (more than 15) in every test: then stars say nothing.
function tooFewToTell(tests) {
  const made = tests.filter((test) => test.p !== null);
  return made.length > 0 && made.every((test) => neededT(made.length, test.df) > 15);
}
