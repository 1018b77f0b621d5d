"use strict";

// Several photos: their list, and one scene with all their places.

function leadOfList(entries) {
  const placed = entries.filter((entry) => entry.ranking.prediction).length;
  const counts = {};
  for (const { verdict } of entries) counts[verdict.state] = (counts[verdict.state] || 0) + 1;
  const kinds = [
    ["of known confidence", (counts.likely || 0) + (counts.unlikely || 0)],
    ["not as sure as was demanded", counts.unsure],
    ["of unknown confidence", counts.unknown],
    ["without a place", counts.problem],
  ];
  return filled("lead-of-list", {
    title: `${placed.toLocaleString("en")} of ${entries.length.toLocaleString("en")} photos have a place`,
    counts: listed("li", kinds.filter(([, count]) => count).map(([words, count]) => `${count.toLocaleString("en")} ${words}`)),
  });
}

function listOfPhotos(entries, map) {
  const list = filled("list-of-photos");
  const rows = [];
  const scene = { pins: [], regions: [], entries: [], span: 30 };
  const all = new DocumentFragment();
  entries.forEach((entry, number) => {
    const item = photoRow(entry, number);
    all.append(item);
    if (!entry.ranking.prediction) return;
    const pin = scene.pins.length;
    const { latitude, longitude, place } = entry.ranking.prediction;
    const [colour, title] = [`pin-${entry.verdict.state}`, `${entry.name}: ${place}`];
    scene.pins.push({ latitude, longitude, share: 1, small: true, colour, title });
    scene.entries.push(number);
    rows.push(item);
    const link = item.querySelector("a");
    for (const name of ["pointerenter", "focus"]) link.addEventListener(name, () => map.light(pin, false));
    for (const name of ["pointerleave", "blur"]) link.addEventListener(name, () => map.light(null));
  });
  list.querySelector("ol").append(all);
  const filter = list.querySelector("input");
  const found = list.querySelector("[role=status]");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLocaleLowerCase();
    let count = 0;
    [...filter.closest("section").querySelector("ol").children].forEach((item, number) => {
      const { name, ranking } = entries[number];
      const text = `${name} ${ranking.prediction ? ranking.prediction.place : ""}`.toLocaleLowerCase();
      item.hidden = !text.includes(wanted);
      count += !item.hidden;
    });
    found.textContent = wanted ? `${count.toLocaleString("en")} found` : "";
  });
  return { list, rows, scene };
}

function photoRow(entry, number) {
  const { photo, verdict, ranking } = entry;
  const [title, below] = ranking.prediction ? [ranking.prediction.place, entry.name] : [entry.name, verdict.below];
  const row = filled("photo-row", {
    photo: photo && { src: photo.uri, alt: "" },
    none: photo ? null : "no photo",
    place: title,
    name: below,
    said: entry.said,
  }).firstElementChild;
  row.classList.add(verdict.state);
  row.querySelector("a").href = `#photo-${number + 1}`;
  return row;
}
