/* Starts the page, draws it anew when something changes, and keeps scroll and focus meanwhile. */

let drawnPage = null;

function draw(part = "all") {
  const view = currentView();
  document.documentElement.dataset.theme = themeName();
  const kept = focusedPlace();
  const samePage = drawnPage === state.page;
  const scroll = {
    x: scrollX,
    y: scrollY,
    boxes: [...document.querySelectorAll("#content .scroll")].map((box) => box.scrollLeft),
  };
  const open = [...document.querySelectorAll("details[open] > summary[data-key]")].map((node) => node.dataset.key);
  if (part === "all") drawFrame(view);
  else
    document
      .querySelectorAll("nav a")
      .forEach((link, place) => link.setAttribute("href", linkTo({ page: PAGES[place] })));
  if (!samePage) dropPlots();
  const content = document.getElementById("content");
  content.dataset.page = state.page;
  content.replaceChildren(...flatNodes(drawPage(view)));
  dropPlots((place) => place.isConnected);
  if (part === "all") drawFoot();
  if (samePage) restore(scroll, open, kept);
  else if (drawnPage !== null) scrollTo(0, 0);
  document.title = `${TITLES[state.page]} · EOS report`;
  drawnPage = state.page;
  return drawPlots();
}

function flatNodes(parts) {
  return [parts].flat(Infinity).filter((part) => part !== null && part !== undefined && part !== false);
}

function drawPage(view) {
  const page = pages[state.page];
  const reason = page.missing(view);
  if (reason && state.page !== "overview") return [h("h2", {}, TITLES[state.page]), reason];
  return page.draw(view);
}

function focusedPlace() {
  const node = document.activeElement;
  if (!node?.dataset?.key) return null;
  return { key: node.dataset.key, start: node.selectionStart ?? null, end: node.selectionEnd ?? null };
}

function byKey(key) {
  return document.querySelector(`[data-key="${CSS.escape(key)}"]`);
}

function restore(scroll, open, kept) {
  for (const key of open) {
    const details = byKey(key)?.parentElement;
    if (details) details.open = true;
  }
  [...document.querySelectorAll("#content .scroll")].forEach(
    (box, place) => (box.scrollLeft = scroll.boxes[place] ?? 0),
  );
  const node = kept ? byKey(kept.key) : null;
  if (node && node !== document.activeElement) {
    node.focus({ preventScroll: true });
    if (kept.start !== null && node.type === "search") node.setSelectionRange(kept.start, kept.end);
  }
  scrollTo(scroll.x, scroll.y);
}

function onKey(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (event.key === "Escape") closeMenus(null);
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !typing) {
    event.preventDefault();
    unfoldSelection(true);
    byKey("filter")?.focus();
  } else if (event.key === "?" && !typing && !document.querySelector("dialog[open]")) showHelp();
  else if (event.target.dataset?.key?.startsWith("tab ") && ["ArrowRight", "ArrowLeft"].includes(event.key)) {
    const tabs = [...document.querySelectorAll("nav a")];
    const next = tabs.indexOf(event.target) + (event.key === "ArrowRight" ? 1 : -1);
    tabs[(next + tabs.length) % tabs.length].focus();
  }
}

function closeMenus(inside) {
  for (const details of document.querySelectorAll("details.menu[open]")) {
    if (inside && details.contains(inside)) continue;
    const had = details.contains(document.activeElement) && document.activeElement !== document.body;
    details.open = false;
    if (had && !inside) details.querySelector("summary").focus();
  }
}

function readAddress() {
  Object.assign(state, readFragment(location.hash));
  draw();
}

async function start() {
  try {
    takeData(await firstData());
  } catch (error) {
    document
      .getElementById("content")
      .replaceChildren(h("p", { class: "warning" }, `The records could not be read: ${error.message}`));
    document.documentElement.dataset.ready = "failed";
    return;
  }
  addEventListener("popstate", readAddress);
  addEventListener("keydown", onKey);
  addEventListener("click", (event) => {
    // A file is saved by a click on a link that is made for it: that closes no menu.
    if (!event.target.hasAttribute("download")) closeMenus(event.target);
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("content").focus();
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => draw());
  }
  Object.assign(state, readFragment(location.hash));
  await draw();
  document.documentElement.dataset.ready = "";
  await readCurves();
  document.documentElement.dataset.curves = "";
  if (store.live) poll();
}

start();
