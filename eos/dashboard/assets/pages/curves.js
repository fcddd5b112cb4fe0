/* Curves: did it train, and when do the cells part? */

const AXES = { step: "steps", token: "tokens", flop: "training FLOPs", time: "wall time" };

pages.curves = {
  missing: () =>
    store.data.curves.length
      ? null
      : teach(
          "No curves were logged",
          para(
            "Curves come from the event file of a run, which is written while it trains. Runs here have none that can be read. To train one with a curve:",
          ),
          command("eos train experiment=mqar_small model=gla seeds=3"),
        ),
  draw(view) {
    const tags = curveTags(view);
    if (tags.length === 0)
      return [
        h("h2", {}, "Curves"),
        teach("No cell of this selection has a curve", para("Choose another task or budget above.")),
      ];
    const left = tags.includes(state.left) ? state.left : tags[0];
    const right = tags.includes(state.right)
      ? state.right
      : (tags.find((tag) => tag !== left && tag.endsWith(`/${(view.metric ?? "").split("/").at(-1)}`)) ??
        tags.find((tag) => tag !== left && tag.startsWith("validation/")) ??
        tags[1]);
    const cells = coloured(view);
    const parts = [h("h2", {}, "Curves"), curveControls(view, tags, left, right)];
    if (!store.curves) return [...parts, h("p", { class: "loading" }, "Reading the curves …")];
    return [
      ...parts,
      othersText(view, cells),
      curvesLeftOut(),
      h(
        "div",
        { class: "beside halves" },
        distinct([left, right])
          .filter(Boolean)
          .map((tag, place) => curveFigure(view, tag, place, cells)),
      ),
      curveTable(view, distinct([left, right]).filter(Boolean), cells),
    ];
  },
};

// Curves of a cell's mean and of its runs, by tag.
function curveIndex() {
  return remembered("curve index", () => {
    const index = new Map();
    for (const entry of store.data.curves)
      index.set(`${entry.run === undefined ? "cell" : "run"} ${entry.run ?? entry.cell} ${entry.tag}`, entry);
    return index;
  });
}

// What had no room on the page is not passed over in silence.
function curvesLeftOut() {
  const { tags, points } = store.data.curves_left_out;
  const fewer = points < 300 ? `Curves here have at most ${points} points.` : "";
  if (tags.length === 0) return fewer ? hint(fewer) : null;
  const where = store.live ? "metrics.csv of each run" : "the folder of data beside the page";
  return hint(
    `So many runs leave no room for ${plural(tags.length, "curve")}: ${sentenceList(tags.map(tagText))}. They stand in ${where}. ${fewer}`,
  );
}

// What is trained first, then what is validated, then the rest.
function curveTags(view) {
  const runs = new Set(view.scope.flatMap(runsOf).map((run) => run.id));
  const tags = distinct(store.data.curves.filter((entry) => runs.has(entry.run)).map((entry) => entry.tag));
  const place = (tag) =>
    /^train\/(loss|nats|bits)/.test(tag) ? 0 : tag.startsWith("validation/") ? 1 : tag.startsWith("test/") ? 2 : 3;
  return tags.sort((a, b) => place(a) - place(b));
}

function curveControls(view, tags, left, right) {
  const options = tags.map((tag) => ({ value: tag, label: tagText(tag) }));
  const radios = (legendText, name, choices) =>
    h(
      "fieldset",
      {},
      h("legend", {}, legendText),
      Object.entries(choices).map(([value, text]) =>
        h(
          "label",
          { class: "check" },
          h("input", {
            type: "radio",
            name,
            "data-key": `${name} ${value}`,
            checked: state[name] === value,
            change: () => setState({ [name]: value }, { part: "page" }),
          }),
          ` ${text}`,
        ),
      ),
    );
  const smooth = h("input", {
    type: "range",
    min: 1,
    max: 25,
    step: 2,
    value: state.smooth,
    "data-key": "smooth",
    "aria-label": "Smoothing, in points",
    input: (event) => setState({ smooth: Number(event.target.value) }, { part: "page" }),
  });
  return h(
    "div",
    { class: "controls" },
    radios("x", "x", AXES),
    checkbox("log x", "logx", state.logx, (logx) => setState({ logx }, { part: "page" })),
    checkbox("log y", "logy", state.logy, (logy) => setState({ logy }, { part: "page" })),
    radios("seeds", "seeds", { band: "mean and band", lines: "lines" }),
    h(
      "label",
      { class: "choice" },
      "smooth ",
      smooth,
      h("span", {}, state.smooth > 1 ? `over ${state.smooth} points` : "off"),
    ),
    menu("left", "left", options, left, (tag) => setState({ left: tag }, { part: "page" })),
    menu("right", "right", options, right, (tag) => setState({ right: tag }, { part: "page" })),
    view.scope.length > 7
      ? checkbox("all other cells in grey", "all", state.all, (all) => setState({ all }, { part: "page" }))
      : null,
  );
}

// What the marks and colours stand for, above figures that share them.
function legend(view, cells) {
  const names = shortNames(cells);
  const look = screenLook();
  const items = cells.map((cell) => {
    const style = cellStyle(view, cell, look);
    const dash =
      { solid: "", dash: "8 4", dot: "2 3", dashdot: "8 3 2 3", longdash: "12 4", longdashdot: "12 3 2 3" }[
        style.dash
      ] ?? "6 2 2 2";
    return h(
      "li",
      {},
      svg(
        "svg",
        { width: 30, height: 12, "aria-hidden": "true" },
        svg("path", {
          d: "M1 6 H29",
          stroke: style.color,
          "stroke-width": 2.5,
          "stroke-dasharray": dash,
          fill: "none",
        }),
      ),
      named(names.get(cell.id)),
      cell === view.base ? h("span", { class: "tag" }, "baseline") : null,
    );
  });
  return [h("ul", { class: "legend", "aria-label": "Cells in colour" }, items), othersText(view, cells)];
}

function othersText(view, cells) {
  if (view.shown.length <= cells.length) return null;
  const words = state.pin.length ? "the baseline and the pinned cells" : "the baseline and the best";
  return hint(
    `${plural(cells.length, "cell")} of ${view.shown.length}: ${words}. Pin cells on the overview to see others.`,
  );
}

function curveFigure(view, tag, place, cells) {
  const others = state.all ? view.shown.filter((cell) => !cells.includes(cell)) : [];
  const drawn = cells.map((cell) => ({ cell, lines: curveLines(cell, tag) })).filter(({ lines }) => lines.length);
  const grey = others.map((cell) => ({ cell, lines: curveLines(cell, tag) }));
  const missing = cells.length - drawn.length;
  const below = state.logy
    ? drawn.flatMap(({ lines }) => lines.flatMap((line) => line.y)).filter((value) => value !== null && value <= 0)
        .length
    : 0;
  const band = state.seeds === "band" && state.x !== "time";
  const words = [
    band ? "Mean over seeds with its 95 % interval as a band." : "One line a seed; the raw values behind it are faint.",
    state.seeds === "band" && state.x === "time" ? "Seeds have no common x on wall time, so they stay apart." : "",
    state.smooth > 1 ? `Averaged over ${state.smooth} neighbouring points${band ? ", the band too" : ""}.` : "",
    "✕: a run stopped being finite.",
    missing ? `${plural(missing, "cell")} without this curve.` : "",
    below ? `The log axis leaves out ${plural(below, "value")} ≤ 0.` : "",
  ];
  return figure({
    name: `curve${place}`,
    title: tagText(tag),
    description: words.filter(Boolean).join(" "),
    build: (look) => curvePlot(view, tag, drawn, grey, look),
  });
}

function seedWords({ n, seed }) {
  if (seed !== null) return `seed ${seed}`;
  if (n.length < 2) return plural(n[0]?.[1] ?? 0, "seed");
  return `n ${n.map(([, count]) => count).join("→")} at step ${n.at(-1)[0].toLocaleString("en-GB")}`;
}

function curveTable(view, tags, cells) {
  const rows = cells.flatMap((cell) =>
    tags.flatMap((tag) => curveLines(cell, tag).map((line) => ({ cell, tag, line }))),
  );
  const lastOf = ({ line }, key) => {
    const place = line.y.findLastIndex((value) => value !== null);
    return place < 0 || !line[key] ? null : line[key][place];
  };
  const number = (key, title, none = "") => ({
    key,
    title,
    numeric: true,
    value: (row) => lastOf(row, key),
    text: (row) => (lastOf(row, key) === null ? none : threeDigits(lastOf(row, key))),
  });
  const columns = [
    { key: "cell", title: "cell", value: (row) => row.cell.name },
    { key: "tag", title: "curve", value: (row) => tagText(row.tag) },
    number("y", "last value", "no finite value"),
    number("low", "low"),
    number("high", "high"),
    {
      key: "x",
      title: `at ${AXES[state.x]}`,
      numeric: true,
      value: (row) => lastOf(row, "x"),
      text: (row) => countText(lastOf(row, "x")),
    },
    { key: "n", title: "seeds", value: (row) => seedWords(row.line) },
  ];
  return h(
    "details",
    { class: "table", open: rows.length < 30 },
    h("summary", { "data-key": "curve table" }, "Where the curves end, as a table"),
    dataTable({
      name: "curves",
      columns,
      rows,
      caption: `Last values of the curves on ${view.task}, ${view.budget}${state.smooth > 1 ? `, averaged over ${state.smooth} points` : ""}; low and high: 95 % t-interval over seeds. ${store.data.command}`,
    }),
  );
}
