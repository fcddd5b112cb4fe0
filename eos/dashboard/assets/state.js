/* What is chosen on the page stands in the address after `#`, so that a link shows the same view. */

const DEFAULTS = {
  task: "",
  budget: "",
  metric: "",
  base: "",
  filter: "",
  theme: "",
  group: "",
  hide: [],
  pin: [],
  sort: [],
  columns: [],
  trials: false,
  join: false,
  worst: false,
  x: "step",
  left: "",
  right: "",
  logx: false,
  logy: false,
  smooth: 1,
  seeds: "band",
  all: false,
  cost: "parameters",
  device: "",
  mode: "value",
  part: "",
  length: "",
  study: "",
  pruned: true,
  top: "100",
  across: "",
  down: "",
  importance: "",
  run: "",
  against: "",
  memory: "",
};
const PAGES = ["overview", "stages", "curves", "tradeoffs", "recall", "search", "run", "memory"];

const state = { page: "overview", unknown: [], ...structuredClone(DEFAULTS) };

function readFragment(fragment) {
  const [path, query = ""] = fragment.replace(/^#\/?/, "").split("?");
  const unknown = [];
  const chosen = structuredClone(DEFAULTS);
  const parameters = new URLSearchParams(query);
  for (const key of new Set(parameters.keys())) {
    const standard = Object.hasOwn(DEFAULTS, key) ? DEFAULTS[key] : undefined;
    if (standard === undefined) unknown.push(key);
    else if (Array.isArray(standard)) chosen[key] = parameters.getAll(key);
    else if (typeof standard === "boolean") chosen[key] = parameters.get(key) === "1";
    else if (typeof standard === "number") chosen[key] = Number(parameters.get(key)) || standard;
    else chosen[key] = parameters.get(key);
  }
  if (path && !PAGES.includes(path)) unknown.push(path);
  return { page: PAGES.includes(path) ? path : "overview", unknown, ...chosen };
}

function fragmentOf(wanted) {
  const parameters = new URLSearchParams();
  for (const [key, standard] of Object.entries(DEFAULTS)) {
    const value = wanted[key];
    if (Array.isArray(standard)) value.forEach((item) => parameters.append(key, item));
    else if (value === standard) continue;
    else parameters.append(key, typeof value === "boolean" ? (value ? "1" : "0") : value);
  }
  const query = parameters.toString();
  return `#/${wanted.page}${query ? `?${query}` : ""}`;
}

// The address of the view with some changes: what links on the page point to.
function linkTo(changes) {
  return fragmentOf({ ...state, ...changes });
}

// `push` makes a step that Back returns from; `part` says how much is drawn anew ("all" or "page").
function setState(changes, { push = false, part = "all" } = {}) {
  Object.assign(state, changes);
  const address = fragmentOf(state);
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  draw(part);
}

function toggled(list, item) {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item];
}
