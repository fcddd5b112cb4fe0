/* What the runs say, in one sentence that claims no more than the tests do. */

// With the sign turned so that more is better.
function turned(difference, sign) {
  if (sign > 0 || difference.mean === null) return difference;
  const flip = (value) => (value === null ? null : -value);
  return {
    ...difference,
    mean: -difference.mean,
    low: flip(difference.high),
    high: flip(difference.low),
    t: flip(difference.t),
  };
}

// The baseline has levels to compare with, or the cell that shares most contexts lends its own.
function levelsBase(view) {
  if (view.base?.levels) return view.base;
  return defaultBaseline(
    view.family.filter((cell) => cell.levels),
    view.metric,
  );
}

function passed(row) {
  return (row.corrected ?? null) !== null && row.corrected < 0.05;
}

// The marginal effect of each level of each stage; Holm's correction over all of them.
function stageEffects(view) {
  return remembered(
    `effects ${view.task} ${view.budget} ${view.metric} ${view.base?.id} ${view.worst} ${state.trials}`,
    () => {
      const base = levelsBase(view);
      const rows = [];
      for (const stage of base ? STAGES : []) {
        const entries = view.family
          .filter((cell) => (cell.levels?.[stage] ?? null) !== null && cell.contexts?.[stage])
          .map((cell) => ({ context: cell.contexts[stage], level: cell.levels[stage], values: view.values(cell) }));
        const baseLevel = base.levels[stage] ?? null;
        const levels = distinct(entries.map((entry) => entry.level));
        if (baseLevel === null || levels.length < 2) continue;
        rows.push({ stage, level: baseLevel, isBase: true, effect: null });
        for (const level of levels.filter((other) => other !== baseLevel)) {
          rows.push({
            stage,
            level,
            isBase: false,
            effect: turned(marginalEffect(entries, level, baseLevel), view.sign),
          });
        }
      }
      const tested = rows.filter((row) => !row.isBase);
      const corrected = holm(tested.map((row) => row.effect.p));
      tested.forEach((row, place) => (row.corrected = corrected[place]));
      const tests = tested.map((row) => row.effect);
      const made = tests.filter((test) => test.p !== null).length;
      return { base, rows, tests: made, tooFew: !tested.some(passed) && tooFewToTell(tests) };
    },
  );
}

function unlike(cell, base) {
  return ["data", "version", "precision"].filter((key) => cell[key] !== base[key]);
}

// Each cell against the baseline; cells of other data, version or precision only if the user joins them.
function cellDifferences(view) {
  return remembered(
    `differences ${view.task} ${view.budget} ${view.metric} ${view.base?.id} ${view.worst} ${state.trials} ${state.join}`,
    () => {
      const { base } = view;
      if (!base) return { rows: [], apart: [], tests: 0, tooFew: false };
      const others = view.scope.filter((cell) => cell !== base);
      const apart = others.filter((cell) => unlike(cell, base).length > 0);
      const compared = state.join ? others : others.filter((cell) => !apart.includes(cell));
      const rows = compared.map((cell) => ({
        cell,
        difference: turned(compareSeeds(view.values(cell), view.values(base)), view.sign),
        unlike: unlike(cell, base),
      }));
      const corrected = holm(rows.map((row) => row.difference.p));
      rows.forEach((row, place) => (row.corrected = corrected[place]));
      return {
        rows,
        apart: state.join ? [] : apart,
        tests: corrected.filter((p) => p !== null).length,
        tooFew: !rows.some(passed) && tooFewToTell(rows.map((row) => row.difference)),
      };
    },
  );
}

function unitText(view) {
  return view.kind.fraction
    ? "points"
    : tagText(view.metric ?? "")
        .split(" ")
        .slice(1)
        .join(" ") || tagText(view.metric ?? "");
}

function metricTitle(view) {
  return `${tagText(view.metric ?? "metric")} ${view.kind.higher ? "↑" : "↓"}`;
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

// "5 seeds a cell", "1 to 5 seeds a cell".
function seedsText(view) {
  const counts = view.family.map((cell) => view.values(cell).size).filter((count) => count > 0);
  if (counts.length === 0) return "no finished runs";
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  return low === high ? `${plural(low, "seed")} a cell` : `${low} to ${high} seeds a cell`;
}

function effectWords(view, row, base) {
  const effect = differenceText(row.effect, view);
  const [mean, interval] = [effect.split(" ")[0], effect.slice(effect.indexOf("["))];
  return `${levelName(row.stage, base.levels[row.stage])} → ${levelName(row.stage, row.level)}: ${mean} ${unitText(view)} ${interval}, ${plural(row.effect.contexts, "context")}, p_Holm ${/^</.test(pText(row.corrected)) ? "" : "= "}${pText(row.corrected)}`;
}

function typicalHalf(view) {
  const halves = view.family.map((cell) => view.summary(cell).half).filter((half) => half !== null && half > 0);
  if (halves.length === 0) return "";
  const half = quantile(halves, 0.5) * differenceScale(view.kind.fraction);
  return ` The typical interval of a cell is ± ${Number(half.toPrecision(2))} ${unitText(view)}.`;
}

// The answer to "which stage matters?", as text.
function answerText(view) {
  const { base, rows, tests, tooFew } = stageEffects(view);
  const finished = view.family.filter((cell) => view.values(cell).size > 0);
  if (finished.length === 0) return "";
  if (finished.length === 1) return "One cell has finished runs: there is nothing to compare it with yet.";
  const sure = rows.filter(passed);
  if (sure.length > 0) {
    const size = (row) => Math.abs(row.effect.mean);
    const largest = sure.reduce((best, row) => (size(row) > size(best) ? row : best));
    const stages = distinct(sure.map((row) => row.stage));
    const several = distinct(rows.filter((row) => row.effect && row.effect.p !== null).map((row) => row.stage)).length > 1;
    const name = capital(largest.stage);
    const lead =
      stages.length > 1
        ? `${name} has the largest effect that can be told from 0.`
        : several
          ? `${name} is the one stage whose effect can be told from 0.`
          : `${name}: its effect can be told from 0.`;
    const rest = tests - sure.length;
    return `${lead} ${effectWords(view, largest, base)}.${rest ? ` ${rest} of ${tests} comparisons of levels cannot be told from 0.` : ""}`;
  }
  const differences = cellDifferences(view);
  const cells = differences.rows.filter(passed).length;
  const few =
    tooFew || (tests === 0 && differences.tooFew)
      ? " Too few seeds to tell: no difference of ordinary size could pass the correction."
      : "";
  if (cells > 0) {
    const no = tests > 0 ? "No stage's effect can be told from 0 over its contexts, but" : "In all,";
    return `${no} ${plural(cells, "cell")} of ${differences.rows.length} ${cells === 1 ? "differs" : "differ"} from the baseline after correction.${typicalHalf(view)}${thinText(rows)}`;
  }
  const without = untestedText(view, differences);
  if (tests + differences.tests === 0) return `Nothing can be tested yet: ${seedsText(view)}.${without}`;
  return `Nothing here is distinguishable from the baseline: ${seedsText(view)}.${typicalHalf(view)}${thinText(rows)}${without}${few}`;
}

// Why comparisons with the baseline have no test, counted.
function untestedText(view, { rows, apart }) {
  const without = rows.filter((row) => row.difference.p === null && view.values(row.cell).size > 0);
  const constant = without.filter((row) => row.difference.note.includes("no variance")).length;
  const few = without.length - constant;
  return [
    constant
      ? ` ${plural(constant, "comparison")} ${constant === 1 ? "does" : "do"} not vary over seeds, so ${constant === 1 ? "it has" : "they have"} no test.`
      : "",
    few
      ? ` ${plural(few, "comparison")} ${few === 1 ? "has" : "have"} too few seeds: a test needs two or more in common with the baseline.`
      : "",
    apart.length
      ? ` ${plural(apart.length, "cell")} of other data, version or precision ${apart.length === 1 ? "is" : "are"} not compared.`
      : "",
  ].join("");
}

// An effect over one or two settings may be another in the next: how many are so few.
function thinText(rows) {
  const compared = rows.filter((row) => row.effect && row.effect.contexts > 0);
  const thin = compared.filter((row) => row.effect.contexts <= 2).length;
  if (thin === 0) return "";
  return ` ${thin} of ${plural(compared.length, "level")} ${thin === 1 ? "was" : "were"} run in two contexts or fewer, which tells little.`;
}

// The best cells: those that no paired test tells from the one with the best mean.
function bestOf(view, cells) {
  const order = ranked(
    cells.filter((cell) => view.summary(cell).mean !== null),
    view,
  );
  if (order.length === 0) return null;
  const [best, ...others] = order;
  const alike = others.filter((cell) => {
    const { p, note } = compareSeeds(view.values(cell), view.values(best));
    return p === null ? note !== "no variance, no test" : p >= 0.05;
  });
  return { best, alike: new Set(alike) };
}

// The end of a caption: what was counted otherwise than usual, and the command that makes the page.
function source(view) {
  const worst = view.worst === null ? "" : `Runs that diverged count as ${threeDigits(view.worst)}. `;
  return `${worst}${store.data.command}`;
}
