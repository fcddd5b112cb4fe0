/* Curves: gunzip, undo the shuffle of bytes, and give one curve when it is asked for. */

// A server may say that the bytes are compressed: then the browser has undone it already.
async function gunzip(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function curveBytes() {
  if (store.live) return new Uint8Array(await (await fetch("/curves.bin", { cache: "no-store" })).arrayBuffer());
  const text = document.getElementById("eos-curves").textContent.trim();
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// Byte k of every word stands in the k-th quarter.
function unshuffled(bytes) {
  const words = bytes.length / 4;
  const result = new Uint8Array(bytes.length);
  for (let k = 0; k < 4; k += 1) {
    const quarter = bytes.subarray(k * words, (k + 1) * words);
    for (let word = 0; word < words; word += 1) result[4 * word + k] = quarter[word];
  }
  return result.buffer;
}

async function readCurves() {
  const bytes = await curveBytes();
  store.curves = bytes.length ? unshuffled(await gunzip(bytes)) : new ArrayBuffer(0);
  store.decoded = new Map();
  if (["curves", "run"].includes(state.page)) await draw("page");
}

function steps(offset, count) {
  const result = new Float64Array(count);
  let at = 0;
  new Uint32Array(store.curves, offset, count).forEach((difference, place) => (result[place] = at += difference));
  return result;
}

// {x, y, bucketX, means, seconds} of a run's curve; {x, mean, low, high} of a cell's.
function curve(entry) {
  if (!store.decoded.has(entry)) {
    const { points, buckets, offset } = entry;
    const floats = (start, count) => new Float32Array(store.curves, start, count);
    const first = offset + 4 * points;
    const later = offset + 8 * points;
    store.decoded.set(
      entry,
      entry.run === undefined
        ? {
            x: steps(offset, points),
            mean: floats(first, points),
            low: floats(later, points),
            high: floats(later + 4 * points, points),
          }
        : {
            x: steps(offset, points),
            y: floats(first, points),
            bucketX: steps(later, buckets),
            means: floats(later + 4 * buckets, buckets),
            seconds: floats(later + 8 * buckets, buckets),
          },
    );
  }
  return store.decoded.get(entry);
}
