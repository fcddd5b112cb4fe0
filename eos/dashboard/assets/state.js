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
  ladder: "",
  pruned: true,
  top: "100",
  across: "",
  down: "",
  importance: "",
  run: "",
  against: "",
  memory: "",
};
const PAGES = ["overview", "stages", "curves", "tradeoffs", "scaling", "recall", "search", "run", "memory"];

const state = { page: "overview", unknown: [], linked: new Set(), ...structuredClone(DEFAULTS) };

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
    const boolean = typeof standard === "boolean" && !["0", "1"].includes(parameters.get(key));
    const number = typeof standard === "number" && !Number(parameters.get(key));
    if (boolean || number) unknown.push(`${key}=${parameters.get(key)}`);
  }
  if (path && !PAGES.includes(path)) unknown.push(path);
  const linked = new Set([...parameters].map(([key, value]) => `${key}=${value}`));
  return { page: PAGES.includes(path) ? path : "overview", unknown, linked, ...chosen };
}

// What each setting can name in these records.
function nameable(view) {
  const { cells, runs, studies, ladders, recall, curves } = store.data;
  const study = chosenStudy();
  const tags = distinct(curves.map((entry) => entry.tag));
  const cell = (address) => cellAt(address) !== null;
  const column = (key) => overviewKeys(view).includes(key.replace(/^-/, ""));
  const among = (list) => (value) => list.includes(value);
  return {
    task: among(view.tasks),
    budget: among(view.budgets),
    metric: among(Object.keys(view.info.metrics)),
    base: (address) => view.scope.includes(cellAt(address)),
    hide: cell,
    pin: cell,
    against: cell,
    theme: among(["light", "dark"]),
    group: column,
    columns: column,
    sort: (value) => !value.startsWith("overview:") || column(value.slice("overview:".length)),
    x: among(Object.keys(AXES)),
    left: among(tags),
    right: among(tags),
    seeds: among(["band", "lines"]),
    cost: among(Object.keys(COSTS)),
    device: among(distinct(cells.flatMap((owner) => runsOf(owner).map((run) => placeOf(run, owner))))),
    mode: among(["value", "difference"]),
    part: among(recall.map((entry) => entry.part)),
    length: among(recall.flatMap((entry) => entry.rows).map(String)),
    ladder: among(ladders.map((other) => other.folder)),
    study: among(studies.map((other) => other.name)),
    top: among(Object.keys(BEST)),
    across: among(study ? parametersOf(study) : []),
    down: among(study ? parametersOf(study) : []),
    importance: among(study ? Object.keys(study.importances) : []),
    run: among(runs.map((run) => run.path)),
    memory: among(memoryRuns().map((run) => run.path)),
  };
}

// What the link names and nothing here is called: settings, and values of settings. What was chosen since is no longer meant.
function unknownNames(view) {
  if (state.linked.size === 0) return state.unknown;
  const values = Object.entries(nameable(view)).flatMap(([key, known]) =>
    [state[key]]
      .flat()
      .filter((value) => value !== DEFAULTS[key] && state.linked.has(`${key}=${value}`) && !known(value))
      .map((value) => `${key}=${value}`),
  );
  return [...state.unknown, ...values];
}

function fragmentOf(wanted) {
  const parameters = new URLSearchParams();
  for (const [key, standard] of Object.entries(DEFAULTS)) {
    const value = wanted[key];
    if (Array.isArray(standard)) value.forEach((item) => parameters.append(key, item));
    else if (value === standard) continue;
    else parameters.append(key, typeof value === "boolean" ? (value ? "1" : "0") : value);
  }
  const query = parameters.toString().replaceAll("%7E", "~");
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
