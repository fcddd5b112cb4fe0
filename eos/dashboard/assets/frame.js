/* The frame of every page: title, tabs, the shared selection, warnings, foot. */

const TITLES = {
  overview: "Overview",
  stages: "Stages",
  curves: "Curves",
  tradeoffs: "Trade-offs",
  scaling: "Scaling",
  recall: "Recall maps",
  search: "Search",
  run: "Run",
  memory: "Memory",
};

function drawFrame(view) {
  const { data } = store;
  const counts = [...statusCounts(data.runs)].map(([status, count]) =>
    h("span", { class: `count ${status}` }, `${STATUS[status]} ${count} ${status}`),
  );
  if (data.unreadable.length)
    counts.push(h("span", { class: "count unreadable" }, `? ${data.unreadable.length} unreadable`));
  document.getElementById("frame").replaceChildren(
    h(
      "div",
      { class: "top" },
      h("h1", {}, "EOS report"),
      h(
        "p",
        { class: "counts" },
        h("span", { class: "count" }, `${plural(data.runs.length, "run")} in ${plural(data.cells.length, "cell")}`),
        counts,
      ),
      h("p", { class: "live", id: "live" }, store.updated),
      h(
        "p",
        { class: "buttons" },
        linksElsewhere(),
        button(themeName() === "dark" ? "Light" : "Dark", "theme", switchTheme, {
          title: "Switch between light and dark",
        }),
        button("Copy link", "copy link", () => copyText(location.href, "Link")),
        button("?", "help", showHelp, { "aria-label": "Help", title: "Help (?)" }),
      ),
    ),
    h(
      "nav",
      { "aria-label": "Pages" },
      PAGES.map((page) => tab(page, view)),
    ),
    ...(data.cells.length ? [selectionFold(view), selection(view)] : []),
    h("div", { id: "notes" }, notes(view)),
  );
}

function tab(page, view) {
  const reason = pages[page].missing(view);
  return h(
    "a",
    {
      href: linkTo({ page }),
      "data-key": `tab ${page}`,
      "aria-current": page === state.page ? "page" : null,
      class: reason ? "without" : null,
      title: reason ? `${TITLES[page]}: nothing to show yet` : null,
    },
    TITLES[page],
  );
}

// Only in a served page, and only to what answers there (TensorBoard, optuna-dashboard).
function linksElsewhere() {
  return store.data.links
    .filter((link) => /^https?:\/\//.test(link.url))
    .map((link) =>
      h("a", { href: link.url, target: "_blank", rel: "noopener noreferrer", class: "button" }, link.name, " ↗"),
    );
}

function switchTheme() {
  setState({ theme: themeName() === "dark" ? "light" : "dark" });
}

// On a narrow screen the selection folds into a button that says what is selected.
let selectionOpen = false;

function selectionFold(view) {
  const words = [view.task, view.budget, metricTitle(view), state.filter ? `filter: ${state.filter}` : ""];
  return button([named(words.filter(Boolean).join(" · ")), selectionOpen ? " ▴" : " ▾"], "selection", () => unfoldSelection(!selectionOpen), {
    class: "fold",
    "aria-expanded": String(selectionOpen),
  });
}

function unfoldSelection(open) {
  if (selectionOpen === open) return;
  selectionOpen = open;
  draw();
}

// What was chosen among the cells of one budget, or of one task, means nothing among those of another.
const OTHER_BUDGET = { base: "", left: "", right: "", part: "", length: "", device: "" };
const OTHER_TASK = { ...OTHER_BUDGET, budget: "", metric: "", hide: [], pin: [], columns: [], group: "" };

function selection(view) {
  const one = (value) => ({ value, label: value });
  const metrics = Object.entries(view.info.metrics).map(([metric, kind]) => ({
    value: metric,
    label: `${tagText(metric)} ${kind.higher ? "↑" : "↓"}`,
  }));
  const bases = view.scope.map((cell) => ({ value: store.keyOf.get(cell.id), label: cell.name }));
  return h(
    "div",
    { class: selectionOpen ? "selection open" : "selection", role: "group", "aria-label": "Selection for all pages" },
    menu("task", "task", view.tasks.map(one), view.task, (task) => setState({ ...OTHER_TASK, task })),
    menu("budget", "budget", view.budgets.map(one), view.budget, (budget) => setState({ ...OTHER_BUDGET, budget })),
    menu("metric", "metric", metrics, view.metric, (metric) => setState({ metric })),
    menu("baseline", "baseline", bases, view.base ? store.keyOf.get(view.base.id) : "", (base) => setState({ base })),
    h("label", { class: "choice filter" }, "filter ", filterInput()),
    view.trials && !view.trialsOnly
      ? checkbox(`with ${plural(view.trials, "search trial")}`, "trials", state.trials, (trials) =>
          setState({ trials }),
        )
      : null,
    view.scope.some((cell) => runsOf(cell).some((run) => run.status === "diverged"))
      ? checkbox("diverged count as worst", "worst", state.worst, (worst) => setState({ worst }))
      : null,
    chips(view),
  );
}

function filterInput() {
  const input = h("input", {
    type: "search",
    "data-key": "filter",
    value: state.filter,
    placeholder: "name, option, layers>4",
    "aria-label": "Filter cells by words or by comparisons such as layers>4",
    input: () => {
      setState({ filter: input.value }, { part: "page" });
      const view = currentView();
      announce(`${view.shown.length} of ${plural(view.scope.length, "cell")}`);
      document.getElementById("notes").replaceChildren(...notes(view));
    },
  });
  return input;
}

function chips(view) {
  const result = [];
  if (view.hidden.length)
    result.push(
      button(`${view.hidden.length} hidden ×`, "unhide", () => setState({ hide: [] }), {
        class: "chip",
        title: "Show all cells again",
      }),
    );
  if (view.pinned.length)
    result.push(
      button(`${view.pinned.length} pinned ×`, "unpin", () => setState({ pin: [] }), {
        class: "chip",
        title: "Remove all pins",
      }),
    );
  return result;
}

function warning(...children) {
  return h("p", { class: "warning" }, h("span", { "aria-hidden": "true" }, "⚠ "), children);
}

function notes(view) {
  const result = [];
  const { trouble } = store.data;
  if (trouble)
    result.push(
      warning(`Since ${trouble.since} the folders cannot be read (`, named(trouble.reason), "). This is what was read before."),
    );
  const unknown = unknownNames(view);
  if (unknown.length)
    result.push(warning("The link names what this page does not know: ", named(unknown.join(", ")), ". It was left out."));
  for (const key of ["data", "version", "precision"]) {
    const values = distinct(view.scope.map((cell) => cell[key]));
    if (values.length < 2) continue;
    const word = { data: "data versions", version: "versions of eos", precision: "precisions" }[key];
    const which = h(
      "details",
      { class: "inline" },
      h("summary", { "data-key": `which ${key}` }, "show which"),
      h(
        "ul",
        {},
        values.map((value) =>
          h(
            "li",
            {},
            h("b", {}, named(valueText(value))),
            `: ${cutText(sentenceList(view.scope.filter((cell) => cell[key] === value).map((cell) => cell.name)), 300)}`,
          ),
        ),
      ),
    );
    const words = state.join
      ? "compared with each other because you asked for it"
      : "never averaged together, not compared with each other";
    result.push(
      warning(
        `${values.length} ${word} here: ${words}. `,
        checkbox("compare them", `join ${key}`, state.join, (join) => setState({ join })),
        which,
      ),
    );
  }
  if (view.worst !== null && view.worst !== undefined && state.worst)
    result.push(warning(`Runs that diverged count as ${threeDigits(view.worst)} in all means and tests.`));
  if (state.filter && view.scope.length)
    result.push(
      hint(
        `${view.shown.length} of ${plural(view.scope.length, "cell")} match the filter. Corrections count all cells, hidden or not.`,
      ),
    );
  return result;
}

function drawFoot() {
  const { data } = store;
  document.getElementById("foot").replaceChildren(
    para(
      h("code", {}, data.command),
      " ",
      button("Copy", "copy command", () => copyText(data.command, "Command"), { "aria-label": "Copy the command" }),
      h(
        "span",
        {},
        `eos ${data.eos} · made ${data.made.replace("T", " ").replace("Z", " UTC")} · intervals are 95 % t-intervals over seeds`,
      ),
    ),
  );
}

function showNote(text) {
  document.querySelector(".toast")?.remove();
  const note = h("div", { class: "toast", "aria-hidden": "true" }, text);
  document.body.append(note);
  setTimeout(() => note.remove(), 2500);
}

const HELP = [
  ["/", "go to the filter"],
  ["?", "this help"],
  ["Esc", "close a menu or this help"],
  ["← →", "move between tabs"],
  ["word", "filter: cells whose name or options hold the word"],
  ["layers>4, norm=rms", "filter: cells whose option compares so"],
  ["parameters > 50k", "the same with spaces and with k, M or G"],
  ["status=failed", "filter: cells with such a run"],
  ["Shift and click", "pin a row of the overview, as its star does"],
  ["drag, double click", "zoom a figure, and back"],
];
const TERMS = [
  ["cell", "runs that differ in nothing but their seed"],
  ["level", "one choice of a stage, with its options"],
  ["context", "settings that are equal in all but one stage"],
  ["p_Holm", "p of a t-test, corrected for all comparisons of the panel (Holm)"],
  ["points", "hundredths of a fraction: 0.91 is 3 points above 0.88"],
  ["5/6", "5 finished seeds of 6"],
];

function showHelp() {
  const list = (rows) =>
    h(
      "dl",
      {},
      rows.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
    );
  const dialog = h(
    "dialog",
    { "aria-labelledby": "help-title", close: () => dialog.remove() },
    h("h2", { id: "help-title" }, "Help"),
    h("h3", {}, "Keys and filter"),
    list(HELP),
    h("h3", {}, "Words"),
    list(TERMS),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  document.body.append(dialog);
  dialog.showModal();
}
