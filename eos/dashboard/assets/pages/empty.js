/* Pages without data say what would give them data. */

function command(text) {
  return h(
    "p",
    { class: "command" },
    h("code", {}, text),
    " ",
    button("Copy", `copy ${text}`, () => copyText(text, "Command"), { "aria-label": `Copy ${text}` }),
  );
}

function teach(title, ...children) {
  return h("section", { class: "teach" }, h("h3", {}, title), children);
}

function noRuns() {
  const { searched } = store.data;
  return [
    teach(
      "There are no runs here yet",
      para(
        "Searched: ",
        searched.length ? searched.map((folder, place) => [place ? ", " : "", h("code", {}, folder)]) : "no folder",
        ".",
      ),
      para(
        "A run is a folder that ",
        h("code", {}, "eos train"),
        " writes, with its recipe, its log and its results. To make one and look at it:",
      ),
      command("eos train experiment=mqar_small model=gla seeds=3"),
      command(store.data.command),
    ),
  ];
}

function allFailed(view) {
  const runs = view.scope.flatMap(runsOf);
  if (runs.some((run) => ["ok", "running", "stopped"].includes(run.status))) return null;
  const reasons = new Map();
  for (const run of runs) {
    const reason = `${run.status}: ${run.reason ?? "no reason was written"}`;
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return teach(
    "No run here has finished",
    h(
      "ul",
      {},
      [...reasons]
        .sort((a, b) => b[1] - a[1])
        .map(([reason, count]) => h("li", {}, `${plural(count, "run")}, `, named(reason))),
    ),
  );
}

// Below the table: what could not be read, and what the reader of the folders warns of.
function troubles() {
  const { warnings, unreadable } = store.data;
  const list = (title, items) =>
    items.length ? h("section", { class: "troubles" }, h("h3", {}, title), h("ul", {}, items)) : null;
  return [
    list(
      "Warnings",
      warnings.map((entry) =>
        h(
          "li",
          {},
          named(entry.text),
          entry.cells.length
            ? ` (${entry.cells.map((id) => store.data.cells.find((cell) => cell.id === id)?.name ?? id).join("; ")})`
            : "",
        ),
      ),
    ),
    list(
      "Folders that could not be read",
      unreadable.map((entry) => h("li", {}, h("code", {}, entry.path), ": ", named(entry.error))),
    ),
  ];
}
