"use strict";

// One photo: what is filled in of its entry, and its scene for the map.

function leadOfPhoto(entry, isAlone) {
  const { verdict, photo } = entry;
  const { truth } = entry.ranking;
  const lead = filled("lead-of-photo", {
    back: isAlone ? null : filled("back"),
    before: verdict.before,
    title: verdict.title,
    below: verdict.below,
    point: entry.point,
    truth: truth && `The truth, ${entry.truth}, is ${kilometres(truth.distance_km)} from there.`,
    links: entry.links && listed("li", entry.links.map(linked)),
    photo: photo && { src: photo.uri, alt: `The photo that was asked about: ${entry.name}` },
    name: entry.name,
    size: photo && `${photo.width.toLocaleString("en")} × ${photo.height.toLocaleString("en")} pixels`,
  });
  lead.querySelector(".verdict").classList.add(verdict.state);
  if (!photo) lead.querySelector("figure").classList.add("empty");
  return lead;
}

function sureness({ chances, regions }) {
  if (!chances || !chances.length) return null;
  const bars = chances.map(({ km, chance, text }) => {
    const bar = filled("chance", { km: `within ${km.toLocaleString("en")} km`, text });
    bar.querySelector(".bar span").style.width = `${100 * chance}%`;
    return bar.firstElementChild;
  });
  const all = new DocumentFragment();
  all.append(...bars);
  const sure = filled("sure", { bars: all, regions: listed("li", regions || []) });
  if (!regions?.length) sure.querySelector("details").remove();
  return sure;
}

function restOfPhoto(entry, map) {
  const { ranking, candidates } = entry;
  const rows = (candidates || []).map((more, number) => candidateRow(entry, number, map));
  const list = new DocumentFragment();
  list.append(...rows);
  const lines = (texts) => (texts && texts.length ? listed("li", texts) : null);
  const { versions = {}, time } = entry.made || {};
  const rest = filled("rest-of-photo", {
    sure: sureness(entry),
    candidates: rows.length ? list : null,
    decided: entry.decided,
    used: lines(ranking.used),
    notes: lines(ranking.notes),
    problems: lines(entry.problems),
    row: entry.made ? null : "This photo was located by a run without a report: its place is all that the page knows.",
    gps: gpsNote(entry.has_gps),
    unknown: ranking.why_unknown,
    demand: ranking.demand && `${+(100 * ranking.demand.confidence).toFixed(6)}% within ${ranking.demand.within_km.toLocaleString("en")} km`,
    time,
    versions: Object.entries(versions)
      .map((pair) => pair.join(" "))
      .join(", "),
  });
  for (const said of rest.querySelectorAll("dd")) {
    if (said.textContent.trim()) continue;
    said.previousElementSibling.remove();
    said.remove();
  }
  if (!rows.length) rest.querySelector(".compared").remove();
  return rest;
}

function gpsNote(has) {
  return has
    ? "This photo carries coordinates in its EXIF. They were not used."
    : "Coordinates that a photo carries in its EXIF are never used.";
}

function candidateRow(entry, number, map) {
  const { place, share: part } = entry.ranking.candidates[number];
  const more = entry.candidates[number];
  const row = filled("candidate", {
    number: number + 1,
    place,
    point: more.point,
    source: more.source,
    reward: more.reward && `reward ${more.reward}`,
    truth: more.to_truth && `${more.to_truth} from the truth`,
    share: more.share,
    photo: more.photo && { src: more.photo.uri, alt: `The candidate's own photo` },
    none: more.photo ? null : "no photo",
    credit: more.credit && creditLine(more.credit),
    answer: number === entry.answer ? (entry.verdict.state === "unsure" ? "the best" : "answer") : null,
  }).firstElementChild;
  const colour = shareColour(part / largestShare(entry));
  const badge = row.querySelector(".number").style;
  [badge.background, badge.color] = [colour.fill, colour.ink];
  row.querySelector(".bar span").style.width = `${100 * part}%`;
  const button = row.querySelector("button");
  button.addEventListener("pointerenter", () => map.light(number, false));
  button.addEventListener("pointerleave", () => map.light(null));
  button.addEventListener("focus", () => map.light(number, false));
  button.addEventListener("blur", () => map.light(null));
  button.addEventListener("click", () => {
    map.light(number);
    map.reveal(number);
  });
  return row;
}

// Photo: AUTHOR, SOURCE, LICENCE
function creditLine(parts) {
  const line = new DocumentFragment();
  parts.forEach((part, number) => line.append(number ? ", " : "Photo: ", part.url ? linked(part) : part.name));
  return line;
}

function sceneOfPhoto(entry) {
  const { ranking } = entry;
  if (!ranking.prediction) return { pins: [], regions: [] };
  const pins = (ranking.candidates || []).map((place, number) => ({
    latitude: place.latitude,
    longitude: place.longitude,
    share: place.share / largestShare(entry),
    label: String(number + 1),
    title: `${number + 1}: ${place.place}, ${entry.candidates[number].share}`,
  }));
  if (!pins.length) pins.push({ ...ranking.prediction, share: 1, label: "", title: ranking.prediction.place });
  const regions = ["50", "90"].filter((level) => ranking.regions?.[level]);
  return {
    pins,
    answer: entry.answer || 0,
    truth: ranking.truth,
    regions: regions.map((level) => ({ level: Number(level), discs: ranking.regions[level].discs })),
  };
}

function largestShare(entry) {
  return Math.max(...entry.ranking.candidates.map((place) => place.share));
}

function kilometres(km) {
  return `${km.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} km`;
}
