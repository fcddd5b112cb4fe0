/* Figures: drawn for the screen, drawn anew in light colours and 8 pt text for paper. */

const CONFIG = {
  displaylogo: false,
  displayModeBar: false,
  responsive: true,
  doubleClick: "reset+autosize",
  showTips: false,
};
const MILLIMETRE = 96 / 25.4;

// Plots of the page that is shown, by name: kept when the page is drawn anew, so that zoom stays.
const plots = new Map();
let waiting = [];

// `build(look)` gives {data, layout}; `click(point)` gets the point that was clicked.
function figure({ name, title, description, build, click }) {
  const place = plots.get(name) ?? h("div", { class: "plot", "aria-hidden": "true" });
  plots.set(name, place);
  // Zoom stays while the figure is of the same thing, whatever is filtered, hidden or updated.
  const subject = fragmentOf({ ...state, filter: "", hide: [], pin: [], sort: [], columns: [], theme: "", group: "" });
  waiting.push(async () => {
    const { data, layout } = build(screenLook());
    layout.uirevision = subject;
    await Plotly.react(place, data, layout, CONFIG);
    place.removeAllListeners?.("plotly_click");
    if (click) place.on("plotly_click", (event) => click(event.points[0]));
    place.querySelectorAll("a, [tabindex]").forEach((node) => node.setAttribute("tabindex", "-1"));
  });
  const id = `figure-${name}`;
  return h(
    "figure",
    { role: "group", "aria-labelledby": id, "aria-describedby": `${id}-text`, "data-figure": name },
    h("div", { class: "tools" }, h("h3", { id, class: "grow" }, title), figureMenu(name, build)),
    h("p", { id: `${id}-text`, class: "hint" }, description),
    place,
  );
}

function figureMenu(name, build) {
  const full = fileName(state.page, name === state.page ? "" : name, state.task, state.metric);
  const rows = [85, 175].map((width) =>
    h(
      "div",
      { class: "pair" },
      h("span", {}, `${width} mm`),
      ["svg", "png"].map((format) =>
        button(
          format.toUpperCase(),
          `figure ${name} ${format} ${width}`,
          () => saveFigure(full, build, format, width),
          { "aria-label": `Save as ${format.toUpperCase()}, ${width} mm wide` },
        ),
      ),
    ),
  );
  return dropdown("Save figure", `figure ${name}`, rows);
}

async function figureImage(build, format, width) {
  const look = paperLook(Math.round(width * MILLIMETRE));
  const { data, layout } = build(look);
  const size = { width: look.paperWidth, height: Math.round(layout.height), scale: format === "png" ? 3 : 1 };
  const url = await Plotly.toImage(
    { data, layout: { ...layout, hovermode: false }, config: { staticPlot: true } },
    { format, ...size },
  );
  if (format === "svg") return decodeURIComponent(url.slice(url.indexOf(",") + 1));
  return Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
}

async function saveFigure(name, build, format, width) {
  const image = await figureImage(build, format, width);
  save(`${name}.${format}`, image, format === "svg" ? "image/svg+xml" : "image/png");
}

// After the page's elements stand, since a plot takes the width it finds.
async function drawPlots() {
  const jobs = waiting;
  waiting = [];
  for (const job of jobs) await job();
}

function dropPlots(keep = () => false) {
  for (const [name, place] of plots) {
    if (keep(place)) continue;
    Plotly.purge(place);
    plots.delete(name);
  }
}
