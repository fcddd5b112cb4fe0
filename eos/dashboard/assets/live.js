/* A saved page holds its records; a served one asks for them, again every five seconds. */

const EVERY = 5000;
let tag = null;

store.live = document.documentElement.dataset.live !== undefined;

async function firstData() {
  if (!store.live) return JSON.parse(document.getElementById("eos-data").textContent);
  return fetchData();
}

// Null where nothing has changed.
async function fetchData() {
  const answer = await fetch("/data.json", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  tag = answer.headers.get("ETag");
  return answer.json();
}

async function poll() {
  try {
    const data = await fetchData();
    if (data !== null) {
      takeData(data);
      await readCurves();
    }
    const changed = new Date(store.data.made).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    say(`last change ${changed}`, false);
    if (data !== null) await draw();
  } catch {
    say("server gone: this is what it last sent", true);
  }
  setTimeout(poll, EVERY);
}

function say(text, gone) {
  if (gone && store.updated !== text) announce(text);
  store.updated = text;
  const place = document.getElementById("live");
  place.textContent = text;
  place.classList.toggle("gone", gone);
}
