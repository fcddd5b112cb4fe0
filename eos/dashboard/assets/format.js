/* Numbers and words as they are read on the page. */

const MINUS = "\u2212";
const STATUS = {
  ok: "●",
  running: "◐",
  stopped: "■",
  failed: "✕",
  diverged: "≈",
  pruned: "◇",
  unreadable: "?",
};
const STAGES = ["expand", "oscillation", "shrink", "couple"];

function fixed(value, decimals) {
  if (value === null || value === undefined) return "";
  const text = value.toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

function signed(value, decimals) {
  if (value === null || value === undefined) return "";
  const text = fixed(value, decimals);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

// As many decimals as the first two digits of the half-width have: 0.912 ± 0.011.
// A column takes those of its median half-width, so that its numbers stand under each other.
function decimalsOf(half) {
  if (!half || !Number.isFinite(half)) return 3;
  return Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(half) + 1e-9)));
}

function typicalDecimals(summaries, scale = 1) {
  const halves = summaries.map((summary) => summary.half).filter((half) => half);
  if (halves.length) return decimalsOf(quantile(halves, 0.5) * scale);
  const sizes = summaries.map((summary) => Math.abs(summary.mean * scale)).filter((size) => size > 0);
  return sizes.length ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(quantile(sizes, 0.5))))) : 3;
}

function metricText(summary, decimals) {
  if (summary.mean === null) return "";
  const mean = fixed(summary.mean, decimals);
  if (summary.n === 1) return `${mean} ○ one seed`;
  return `${mean} ± ${fixed(summary.half, decimals)}`;
}

// A difference on the page: fractions become points (hundredths), other metrics keep their unit.
function differenceScale(fraction) {
  return fraction ? 100 : 1;
}

function differenceText(difference, view) {
  if (difference.mean === null) return "";
  const scale = differenceScale(view.kind.fraction);
  const decimals = view.differenceDecimals;
  const mean = signed(difference.mean * scale, decimals);
  if (difference.half === null) return mean;
  return `${mean} [${signed(difference.low * scale, decimals)}, ${signed(difference.high * scale, decimals)}]`;
}

function pText(p) {
  if (p === null || p === undefined) return "";
  if (p < 0.001) return "< 0.001";
  return p < 0.1 ? p.toFixed(3) : p.toFixed(2);
}

function threeDigits(value) {
  if (value === 0) return "0";
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)) + 1e-9));
  return fixed(value, Math.min(6, decimals));
}

function withPrefix(value, base, prefixes) {
  let place = 0;
  let rest = value;
  while (Math.abs(rest) >= base * 0.9995 && place < prefixes.length - 1) {
    rest /= base;
    place += 1;
  }
  const digits =
    place === 0 ? String(Math.round(rest * 1000) / 1000) : rest >= 99.95 ? rest.toFixed(0) : rest.toFixed(1);
  return `${digits}${prefixes[place] ? " " + prefixes[place] : ""}`;
}

function countText(value) {
  return value === null || value === undefined ? "" : withPrefix(value, 1000, ["", "k", "M", "G", "T", "P", "E"]);
}

function bytesText(value) {
  return value === null || value === undefined ? "" : withPrefix(value, 1024, ["B", "KB", "MB", "GB", "TB"]);
}

function durationText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 100) return `${threeDigits(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function plural(count, word, many = `${word}s`) {
  return `${count.toLocaleString("en-GB")} ${count === 1 ? word : many}`;
}

// "validation/nats_per_answer" → "validation nats per answer".
function tagText(tag) {
  return (tag ?? "metric").replace(/[/_]+/g, " ");
}

function sentenceList(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function cutText(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function valueText(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}
