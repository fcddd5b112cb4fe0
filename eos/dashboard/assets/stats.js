/* The statistics of the page, all of them. tests/dashboard/test_stats.py compares them with SciPy and statsmodels. */

// Lanczos' approximation with g = 607/128 and 15 terms (Godfrey 2001): relative error about 1e-15.
const LANCZOS = [
  0.99999999999999709182, 57.156235665862923517, -59.597960355475491248, 14.136097974741747174, -0.49191381609762019978,
  0.33994649984811888699e-4, 0.46523628927048575665e-4, -0.98374475304879564677e-4, 0.15808870322491248884e-3,
  -0.21026444172410488319e-3, 0.2174396181152126432e-3, -0.16431810653676389022e-3, 0.84418223983852743293e-4,
  -0.2619083840158140867e-4, 0.36899182659531622704e-5,
];

function logGamma(x) {
  const shifted = x + 607 / 128 - 0.5;
  let sum = LANCZOS[0];
  for (let k = 1; k < LANCZOS.length; k += 1) sum += LANCZOS[k] / (x + k - 1);
  return (x - 0.5) * Math.log(shifted) - shifted + Math.log(Math.sqrt(2 * Math.PI) * sum);
}

// The continued fraction of the incomplete beta function, by the modified Lentz method.
function betaFraction(a, b, x) {
  const tiny = 1e-300;
  const away = (value) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let result = d;
  for (let m = 1; m < 2000; m += 1) {
    for (const factor of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / away(1 + factor * d);
      c = away(1 + factor / c);
      result *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-16) break;
  }
  return result;
}

// I_x(a, b); `rest` is 1 − x, given by itself because it may be far smaller than the rounding of x.
function incompleteBeta(a, b, x, rest) {
  if (x <= 0) return 0;
  if (rest <= 0) return 1;
  const front = Math.exp(a * Math.log(x) + b * Math.log(rest) + logGamma(a + b) - logGamma(a) - logGamma(b));
  if (x < (a + 1) / (a + b + 2)) return (front * betaFraction(a, b, x)) / a;
  return 1 - (front * betaFraction(b, a, rest)) / b;
}

// P(|T| > |t|) of Student's t with df degrees of freedom.
function tTwoSided(t, df) {
  if (!Number.isFinite(t)) return 0;
  const square = t * t;
  return incompleteBeta(df / 2, 0.5, df / (df + square), square / (df + square));
}

// The t with P(|T| > t) = alpha: bisection to a bracket, then Newton's steps to the last digit.
const criticalValues = new Map();
function tCritical(alpha, df) {
  const key = `${alpha} ${df}`;
  if (criticalValues.has(key)) return criticalValues.get(key);
  let high = 1;
  while (tTwoSided(high, df) > alpha) high *= 2;
  let low = 0;
  for (let k = 0; k < 30; k += 1) {
    const middle = (low + high) / 2;
    if (tTwoSided(middle, df) > alpha) low = middle;
    else high = middle;
  }
  let t = (low + high) / 2;
  const scale = logGamma((df + 1) / 2) - logGamma(df / 2) - 0.5 * Math.log(df * Math.PI);
  for (let k = 0; k < 4; k += 1) {
    const density = Math.exp(scale - ((df + 1) / 2) * Math.log1p((t * t) / df));
    t += (tTwoSided(t, df) - alpha) / (2 * density);
  }
  criticalValues.set(key, t);
  return t;
}

function meanOf(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const NOTHING = { n: 0, mean: null, sd: null, half: null, low: null, high: null };

// Mean, standard deviation (n − 1 in the denominator) and 95 % t-interval; of one value the mean alone.
function summarize(values) {
  const n = values.length;
  if (n === 0) return NOTHING;
  const mean = meanOf(values);
  if (n === 1) return { ...NOTHING, n, mean };
  const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  const half = (tCritical(0.05, n - 1) * sd) / Math.sqrt(n);
  return { n, mean, sd, half, low: mean - half, high: mean + half };
}

// Differences that are equal but for rounding have no variance, and so no test.
function isConstant(summary, size) {
  return summary.sd <= 1e-13 * size;
}

// One-sample t-test of differences against 0.
function differenceTest(differences) {
  const summary = summarize(differences);
  const none = { ...summary, t: null, df: null, p: null };
  if (summary.n < 2) return { ...none, note: summary.n === 1 ? "one pair" : "no pairs" };
  if (isConstant(summary, Math.max(1e-300, ...differences.map(Math.abs))))
    return { ...none, note: "no variance, no test" };
  const df = summary.n - 1;
  const t = summary.mean / (summary.sd / Math.sqrt(summary.n));
  return { ...summary, t, df, p: tTwoSided(t, df), note: "" };
}

// Welch's test of two means: unequal variances, degrees of freedom after Satterthwaite.
function welchTest(first, second) {
  const a = summarize(first);
  const b = summarize(second);
  const mean = a.n && b.n ? a.mean - b.mean : null;
  const none = { n: Math.min(a.n, b.n), mean, sd: null, half: null, low: null, high: null, t: null, df: null, p: null };
  if (a.n < 2 || b.n < 2) return { ...none, note: "too few seeds for a test" };
  const va = a.sd ** 2 / a.n;
  const vb = b.sd ** 2 / b.n;
  const size = Math.max(1e-300, ...first.map(Math.abs), ...second.map(Math.abs));
  if (isConstant(a, size) && isConstant(b, size)) return { ...none, note: "no variance, no test" };
  const error = Math.sqrt(va + vb);
  const df = (va + vb) ** 2 / (va ** 2 / (a.n - 1) + vb ** 2 / (b.n - 1));
  const half = tCritical(0.05, df) * error;
  const t = mean / error;
  return { ...none, half, low: mean - half, high: mean + half, t, df, p: tTwoSided(t, df), note: "" };
}

// Holm's correction; where there is no test (null) there is no corrected value, and it is not counted.
function holm(values) {
  const tested = values.map((p, index) => ({ p, index })).filter((entry) => entry.p !== null);
  tested.sort((a, b) => a.p - b.p);
  const corrected = values.map(() => null);
  let largest = 0;
  tested.forEach(({ p, index }, rank) => {
    largest = Math.max(largest, Math.min(1, (tested.length - rank) * p));
    corrected[index] = largest;
  });
  return corrected;
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

// The range of the values without the few (at most one in twenty, or one) that would squeeze all others: those beyond three
// times the middle half. Where more lie there, they are no outliers.
function fenced(values) {
  const [below, above] = [quantile(values, 0.25), quantile(values, 0.75)];
  const reach = 3 * (above - below);
  const kept = values.filter((value) => value >= below - reach && value <= above + reach);
  const used = values.length - kept.length <= Math.max(1, values.length / 20) ? kept : values;
  return [Math.min(...used), Math.max(...used)];
}
