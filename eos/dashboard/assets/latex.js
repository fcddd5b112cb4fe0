/* Tables for papers: booktabs, in characters that every LaTeX knows. */

const LATEX = {
  "\\": "\\textbackslash{}",
  "&": "\\&",
  "%": "\\%",
  $: "\\$",
  "#": "\\#",
  _: "\\_",
  "{": "\\{",
  "}": "\\}",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
  "<": "$<$",
  ">": "$>$",
  "|": "$|$",
  '"': "''",
  "\u2212": "$-$",
  "±": "$\\pm$",
  "↑": "$\\uparrow$",
  "↓": "$\\downarrow$",
  "→": "$\\to$",
  "·": "$\\cdot$",
  "×": "$\\times$",
  "∞": "$\\infty$",
  "≤": "$\\le$",
  "≥": "$\\ge$",
  Δ: "$\\Delta$",
  "○": "$\\circ$",
  "∘": "$\\circ$",
  "●": "$\\bullet$",
  "†": "$\\dagger$",
  "✕": "$\\times$",
  "≈": "$\\approx$",
  "…": "\\dots{}",
  "—": "---",
  "–": "--",
  "⊘": "$\\oslash$",
  "½": "$\\frac12$",
  "◐": "running ",
  "■": "stopped ",
  "◇": "pruned ",
  "★": "$\\star$",
  "☆": "$\\star$",
  "²": "$^2$",
  "¹": "$^1$",
  µ: "$\\mu$",
  λ: "$\\lambda$",
};
const GREEK = { α: "alpha", β: "beta", γ: "gamma", δ: "delta", φ: "phi", σ: "sigma", θ: "theta", ω: "omega" };

function latexText(text) {
  return [...visible(text).replace(/\s+/g, " ")]
    .map((character) => {
      if (Object.hasOwn(LATEX, character)) return LATEX[character];
      if (Object.hasOwn(GREEK, character)) return `$\\${GREEK[character]}$`;
      const code = character.codePointAt(0);
      // Accented letters of Latin scripts are known to LaTeX; of all else the code is written.
      if (code < 0x7f || (code > 0xbf && code < 0x180)) return character;
      return `\\texttt{U+${code.toString(16).toUpperCase().padStart(4, "0")}}`;
    })
    .join("");
}

function toLatex({ columns, rows, caption, best }) {
  const shown = written(columns);
  const field = (column, row) => {
    const text = latexText(columnText(column, row));
    if (!column.marked || !best) return text;
    if (best.row === row) return `\\textbf{${text}}`;
    return best.alike.has(row) ? `${text}\\textsuperscript{$\\dagger$}` : text;
  };
  const line = (fields) => `    ${fields.join(" & ")} \\\\\n`;
  // The command that makes the page stays last.
  const { command } = store.data;
  const told = caption.endsWith(command) ? caption.slice(0, -command.length).trimEnd() : caption;
  const mark = best ? " Bold: the best; $\\dagger$: not distinguishable from the best (p $\\ge$ 0.05)." : "";
  const end = told === caption ? "" : ` ${latexText(command)}`;
  return [
    "% \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n",
    `  \\caption{${latexText(told)}${mark}${end}}\n`,
    `  \\begin{tabular}{${shown.map((column) => (column.numeric ? "r" : "l")).join("")}}\n    \\toprule\n`,
    line(shown.map((column) => latexText(column.title))),
    "    \\midrule\n",
    ...rows.map((row) => line(shown.map((column) => field(column, row)))),
    "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n",
  ].join("");
}
