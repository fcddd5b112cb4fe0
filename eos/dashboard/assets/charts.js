/* Colours, marks and what all figures have in common. */

const LOOKS = {
  light: {
    paper: "#FFFFFF",
    text: "#1B1F24",
    muted: "#57606A",
    grid: "#E4E7EB",
    axis: "#8C959F",
    rest: "#B4BAC2",
    cells: ["#1A1A1A", "#857CE0", "#BF7F69", "#18541C", "#661373", "#847F0A", "#2E9DAC"],
    worse: "#B35806",
    middle: "#F4F4F2",
    better: "#2166AC",
    beyond: "#661373",
  },
  dark: {
    paper: "#15181C",
    text: "#E6E9ED",
    muted: "#9AA4AF",
    grid: "#2B3138",
    axis: "#6B7580",
    rest: "#525B65",
    cells: ["#F2F2F2", "#6E66D1", "#A8610D", "#3CFD8E", "#DD1977", "#F5C729", "#65ACCF"],
    worse: "#E8A05A",
    middle: "#23272D",
    better: "#6FB1E8",
    beyond: "#DD1977",
  },
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "triangle-down"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "6px,2px,2px,2px"];
// Cividis at nine places.
const CIVIDIS = ["#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#FEE838"];
// 13 px on the screen; 8 pt on paper.
const SCREEN = { size: 13, small: 12, row: 28, paperWidth: null };
const PRINT = { size: 32 / 3, small: 32 / 3, row: 20 };

function themeName() {
  if (matchMedia("print").matches) return "light";
  if (state.theme === "light" || state.theme === "dark") return state.theme;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function screenLook() {
  return { ...LOOKS[themeName()], ...SCREEN };
}

function paperLook(width) {
  return { ...LOOKS.light, ...PRINT, paperWidth: width };
}

// What a figure over the whole page is wide.
function plotWidth(look) {
  return look.paperWidth ?? Math.min(1630, innerWidth - 48);
}

// Plotly reads some HTML in text: names are escaped before they reach it.
function plotText(text) {
  return visible(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function plotLines(text, length) {
  const lines = [""];
  // A dot between parts stays with the part before it.
  for (const word of visible(text).replaceAll(" · ", "\u00a0· ").split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length + 1 > length) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines.map((line) => plotText(cutText(line, length + 6))).join("<br>");
}

function cellStyle(view, cell, look) {
  const slot = view.slots.get(cell.id);
  if (slot === undefined) return { color: look.rest, symbol: "circle-open", dash: "solid", slot: null };
  return { color: look.cells[slot], symbol: SYMBOLS[slot], dash: DASHES[slot], slot };
}

function axis(look, title, more = {}) {
  return {
    title: { text: title, font: { size: look.size }, standoff: 8 },
    color: look.muted,
    gridcolor: look.grid,
    linecolor: look.axis,
    zerolinecolor: look.axis,
    zeroline: false,
    tickfont: { size: look.small, color: look.muted },
    automargin: true,
    exponentformat: "SI",
    ...more,
  };
}

function layoutOf(look, more) {
  return {
    paper_bgcolor: look.paper,
    plot_bgcolor: look.paper,
    showlegend: false,
    autosize: look.paperWidth === null,
    font: { family: "system-ui, sans-serif", size: look.size, color: look.text },
    margin: { l: 60, r: 20, t: 16, b: 48 },
    hovermode: "closest",
    dragmode: "zoom",
    hoverlabel: {
      bgcolor: look.paper,
      bordercolor: look.axis,
      font: { color: look.text, size: look.small },
      align: "left",
    },
    ...(look.paperWidth === null ? {} : { width: look.paperWidth }),
    ...more,
  };
}

function label(look, text, more) {
  return {
    text,
    showarrow: false,
    font: { size: look.small, color: look.text },
    xanchor: "center",
    yanchor: "middle",
    ...more,
  };
}

function channels(colour) {
  return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
}

function mixed(first, second, share) {
  const [a, b] = [channels(first), channels(second)];
  return (
    "#" +
    a
      .map((value, k) =>
        Math.round(value + (b[k] - value) * share)
          .toString(16)
          .padStart(2, "0"),
      )
      .join("")
  );
}

// −1 is the worst, 0 the middle, +1 the best.
function divergingColour(look, share) {
  const size = Math.min(1, Math.abs(share));
  return mixed(look.middle, share < 0 ? look.worse : look.better, size);
}

function sequentialColour(share) {
  const place = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
  const below = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return mixed(CIVIDIS[below], CIVIDIS[below + 1], place - below);
}

function luminance(colour) {
  const [r, g, b] = channels(colour).map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Black or white, whichever contrasts more with the colour under the text.
function textOn(colour) {
  const under = luminance(colour);
  return (under + 0.05) / 0.05 >= 1.05 / (under + 0.05) ? "#000000" : "#FFFFFF";
}

function translucent(colour, opacity) {
  return `rgba(${channels(colour).join(",")},${opacity})`;
}

function sequentialScale() {
  return CIVIDIS.map((colour, place) => [place / (CIVIDIS.length - 1), colour]);
}

function divergingScale(look) {
  return [
    [0, look.worse],
    [0.5, look.middle],
    [1, look.better],
  ];
}

// What stands in the cells of a map: invisible but for its text.
function cellTexts(suffix, marks, look, more) {
  return {
    type: "scatter",
    mode: "text",
    xaxis: `x${suffix}`,
    yaxis: `y${suffix}`,
    x: marks.x,
    y: marks.y,
    text: marks.text,
    textfont: { size: look.small, color: marks.color },
    ...more,
  };
}

// A bar of colours for a map that is drawn of shapes: a trace without points carries it.
function colourKey(colours, bar, look) {
  return {
    type: "scatter",
    mode: "markers",
    x: [null],
    y: [null],
    hoverinfo: "skip",
    marker: {
      size: 0,
      color: [0],
      showscale: true,
      ...colours,
      colorbar: { outlinewidth: 0, tickfont: { size: look.small, color: look.muted }, ...bar },
    },
  };
}
