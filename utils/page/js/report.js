"use strict";

// The whole report: one photo, or the list of several and each of them, beside one map.
//   new Report(element, world).show(entries, files)
class Report {
  constructor(element, world) {
    this.element = element;
    element.replaceChildren(filled("report"));
    this.entries = [];
    [this.lead, this.rest] = ["lead", "rest"].map((name) => element.querySelector(`.${name}`));
    this.map = new WorldMap(element.querySelector(".map"), world);
    this.map.onLight = (number) => this.light(number);
    this.map.onChoose = (number) => this.choose(number);
    addEventListener("hashchange", () => this.follow(true));
    addEventListener("beforeprint", () => this.unfold());
  }

  // `files` are texts to download by name: {geojson, kml}.
  show(entries, files = {}) {
    [this.entries, this.files] = [entries, files];
    this.follow(false);
  }

  // The photo that the address names.
  follow(moves) {
    const number = Number(/^#photo-(\d+)$/.exec(location.hash)?.[1]) - 1;
    const isAlone = this.entries.length === 1;
    const entry = isAlone ? this.entries[0] : this.entries[number];
    this.shown = entry;
    this.element.firstElementChild.classList.toggle("several", !entry);
    if (entry) this.showPhoto(entry, isAlone);
    else this.showList();
    this.rest.append(this.downloads(), filled("credits"));
    if (!moves) return;
    this.lead.querySelector("h1").focus();
    scrollTo(0, 0);
  }

  showPhoto(entry, isAlone) {
    this.lead.replaceChildren(leadOfPhoto(entry, isAlone));
    this.rest.replaceChildren(restOfPhoto(entry, this.map));
    this.map.show(sceneOfPhoto(entry));
    this.rows = [...this.rest.querySelectorAll(".candidate")];
  }

  showList() {
    this.rows = [];
    this.lead.replaceChildren(leadOfList(this.entries));
    const { list, rows, scene } = listOfPhotos(this.entries, this.map);
    this.rest.replaceChildren(list);
    this.map.show(scene);
    [this.rows, this.placed] = [rows, scene.entries];
  }

  // On paper nothing can be opened.
  unfold() {
    for (const folded of this.element.querySelectorAll("details")) folded.open = true;
  }

  light(number) {
    for (const row of this.rows) row.classList.remove("lit");
    if (number !== null) this.rows[number]?.classList.add("lit");
  }

  choose(number) {
    if (!this.shown) location.hash = `photo-${this.placed[number] + 1}`;
    else this.rows[number]?.scrollIntoView({ block: "nearest", behavior: Report.calm() ? "auto" : "smooth" });
  }

  downloads() {
    const bar = filled("downloads");
    const rankings = this.entries.map((entry) => entry.ranking);
    const texts = {
      json: () => JSON.stringify(rankings.length === 1 ? rankings[0] : rankings, null, 2),
      geojson: () => this.files.geojson,
      kml: () => this.files.kml,
    };
    const types = { json: "application/json", geojson: "application/geo+json", kml: "application/vnd.google-earth.kml+xml" };
    for (const button of bar.querySelectorAll("[data-file]")) {
      const kind = button.dataset.file;
      if (kind !== "json" && !this.files[kind]) button.remove();
      button.addEventListener("click", () => download(`locations.${kind}`, types[kind], texts[kind]()));
    }
    return bar;
  }

  static calm() {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
  }
}
