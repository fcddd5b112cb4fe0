/* Elements are made here and nowhere else: text reaches the page as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

// Characters that cannot be seen or that turn the direction of writing; shown by their codes.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function visible(text) {
  const code = (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
  return String(text).replace(UNSEEN, code).replace(LONE, code);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : visible(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : visible(child));
  }
  return node;
}

function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function para(...children) {
  return h("p", {}, children);
}

function hint(...children) {
  return h("p", { class: "hint" }, children);
}

// A name that a user chose: its direction of writing stays its own.
function named(text) {
  return h("bdi", {}, text);
}

// `data-key` finds a control again after the page is drawn anew, so that focus stays.
function button(label, key, click, attributes = {}) {
  return h("button", { type: "button", "data-key": key, click, ...attributes }, label);
}

function menu(label, key, options, chosen, change) {
  if (options.length < 2) {
    return h("span", { class: "choice" }, label, " ", h("b", {}, options.length ? named(options[0].label) : "none"));
  }
  const list = options.map((option) =>
    h("option", { value: option.value, selected: option.value === chosen }, option.label),
  );
  const select = h("select", { "data-key": key, change: (event) => change(event.target.value) }, list);
  return h("label", { class: "choice" }, label, " ", select);
}

function checkbox(label, key, checked, change) {
  const input = h("input", {
    type: "checkbox",
    "data-key": key,
    checked,
    change: (event) => change(event.target.checked),
  });
  return h("label", { class: "check" }, input, " ", label);
}

// Native disclosure; Esc closes it (see frame.js).
function dropdown(label, key, ...children) {
  return h(
    "details",
    { class: "menu" },
    h("summary", { "data-key": key }, label),
    h("div", { class: "drop" }, children),
  );
}

function announce(text) {
  document.getElementById("announce").textContent = visible(text);
}
