/* Names without what all of them share, and labels that keep apart. */

// "gla · expand=elu · width=64" beside "gla · width=64" is "expand=elu"; the one with nothing of its own is its model.
function shortNames(cells) {
  const parts = cells.map((cell) => cell.name.split(" · "));
  const shared = new Set((parts[0] ?? []).filter((part) => parts.every((others) => others.includes(part))));
  const names = parts.map(
    (own, place) => own.filter((part) => !shared.has(part)).join(" · ") || cells[place].model || cells[place].name,
  );
  // Two budgets or tasks may leave the same name: then the whole name stays.
  return new Map(
    cells.map((cell, place) => [
      cell.id,
      names.indexOf(names[place]) === names.lastIndexOf(names[place]) ? names[place] : cell.name,
    ]),
  );
}

// Beside cells of other budgets a cell says its own, which its name does not.
function cellTitle(cell) {
  const several = remembered("several budgets", () => distinct(store.data.cells.map((other) => other.budget)).length > 1);
  return several ? `${cell.name} · ${cell.budget}` : cell.name;
}

// Moves places apart until neighbours of the given sizes do not meet, near where they were, inside [low, high].
function spread(places, sizes, low, high) {
  const order = places.map((place, index) => ({ place, index, size: sizes[index] })).sort((a, b) => a.place - b.place);
  for (let round = 0; round < 60; round += 1) {
    for (let k = 1; k < order.length; k += 1) {
      const overlap = (order[k].size + order[k - 1].size) / 2 - (order[k].place - order[k - 1].place);
      if (overlap <= 0) continue;
      order[k - 1].place -= overlap / 2;
      order[k].place += overlap / 2;
    }
    for (const entry of order) {
      entry.place = Math.min(high - entry.size / 2, Math.max(low + entry.size / 2, entry.place));
    }
  }
  const result = [...places];
  order.forEach(({ place, index }) => (result[index] = place));
  return result;
}

// For each point the first place near it where its label meets no point, interval or other label, nor what is
// kept free; null if there is none.
function labelPlaces(points, texts, size, kept) {
  const taken = points.map(({ x, y }) => ({ x0: x - 7, x1: x + 7, y0: y - 7, y1: y + 7 }));
  taken.push(kept);
  const bars = points.map(({ x, top, bottom }) => ({ x0: x - 3, x1: x + 3, y0: top, y1: bottom }));
  const meets = (a, b) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;
  return points.map((point, place) => {
    if (texts[place] === null) return null;
    const wide = texts[place].length * size * 0.56;
    const [near, up] = [10, size * 0.95];
    const near8 = [
      [near, -up, "left"],
      [-near, -up, "right"],
      [near, up, "left"],
      [-near, up, "right"],
      [-near, 0, "right"],
      [near, 0, "left"],
      [0, -up - 4, "center"],
      [0, up + 4, "center"],
    ];
    const tries = [1, 2.4, 3.8].flatMap((away) =>
      near8.map(([dx, dy, anchor]) => [dx * (away > 1 ? 1.6 : 1), dy * away, anchor, away > 1]),
    );
    const own = taken[place];
    const boxOf = ([dx, dy, anchor]) => {
      const from = point.x + dx - (anchor === "left" ? 0 : anchor === "right" ? wide : wide / 2);
      return { x0: from, x1: from + wide, y0: point.y + dy - size * 0.6, y1: point.y + dy + size * 0.6 };
    };
    const free = (box, others) =>
      box.x0 >= 0 &&
      box.x1 <= point.width &&
      box.y0 >= 0 &&
      box.y1 <= point.height &&
      !others.some((other) => other !== own && meets(box, other));
    // Over the bar of an interval rather than not at all.
    const found =
      tries.find((one) => free(boxOf(one), [...taken, ...bars])) ?? tries.find((one) => free(boxOf(one), taken));
    if (!found) return null;
    taken.push(boxOf(found));
    const [dx, dy, anchor, far] = found;
    return { dx, dy, anchor, far };
  });
}
