// The files of several photos, made of those of each: where they were taken, as the report of a folder has it.

// `files` are {geojson, kml} of each photo, as texts; so is what is returned.
export function together(files, title) {
  return { geojson: geojson(files.map((of) => of.geojson)), kml: kml(files.map((of) => of.kml), title) };
}

function geojson(texts) {
  const features = texts.flatMap((text) => JSON.parse(text).features);
  return JSON.stringify({
    type: "FeatureCollection",
    features: features.filter(({ properties }) => properties.kind === "answer"),
  });
}

function kml(texts, title) {
  const [all, ...others] = texts.map((text) => new DOMParser().parseFromString(text, "text/xml"));
  const list = all.querySelector("Document");
  list.querySelector("name").textContent = title;
  for (const placemark of list.querySelectorAll("Placemark")) if (!isAnswer(placemark)) placemark.remove();
  for (const other of others) list.append(...[...other.querySelectorAll("Placemark")].filter(isAnswer));
  return new XMLSerializer().serializeToString(all);
}

function isAnswer(placemark) {
  return placemark.querySelector("[name=kind] > value").textContent === "answer";
}
