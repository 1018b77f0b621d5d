"use strict";

// The map: draws a scene, and is panned and zoomed by mouse, touch and keys.
//   scene.pins     [{latitude, longitude, share (0 to 1, of the largest), label, title}], the likeliest first
//   scene.answer   which of the pins has the ring; scene.truth {latitude, longitude}; both may be missing
//   scene.regions  [{level, discs: [{latitude, longitude, radius_km}]}], the smallest first
class WorldMap {
  constructor(element, world) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.live = element.querySelector("[aria-live]");
    this.view = new View();
    this.land = world.outlines.land.map((line) => Line.decoded(line, world.outlines.degrees));
    this.borders = world.outlines.borders.map((line) => Line.decoded(line, world.outlines.degrees));
    for (const line of this.land) {
      const { degrees } = line;
      if (Math.abs(degrees[degrees.length - 2] - degrees[0]) > 180) line.closeAt(-90);
    }
    this.towns = world.towns;
    this.background = new Image();
    this.background.addEventListener("load", () => this.draw());
    this.background.src = world.background;
    this.scene = { pins: [], regions: [] };
    this.lit = null; // which pin stands out
    this.onScreen = null; // the view there, while it is on paper
    this.onLight = this.onChoose = () => {};
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    addEventListener("beforeprint", () => this.onPaper(true));
    addEventListener("afterprint", () => this.onPaper(false));
    new MapControls(this);
    this.resize();
  }

  show(scene) {
    this.scene = scene;
    this.lit = null;
    this.resize(); // which may be new with what is shown, before its observer hears of it
    this.fit();
  }

  // The answer with what is likely, and the truth: no outlier that few believe stretches it, but its edge cuts no pin.
  fit() {
    const { pins, answer, truth, regions, span } = this.scene;
    const discs = regions.flatMap((region) => (region.level === 50 ? region.discs : region.discs.slice(0, 1)));
    const places = [...discs.flatMap(discEdges), ...pins.filter((pin) => pin.share >= 0.25)];
    if (answer !== undefined) places.unshift(pins[answer]);
    if (truth) places.push(truth);
    for (let cut = []; ; places.push(...cut)) {
      this.view.fit(places, span || 5);
      cut = pins.filter((pin) => !places.includes(pin) && isCut(this.view, pin));
      if (!cut.length) break;
    }
    this.draw();
  }

  light(number, say = true) {
    if (number === this.lit) return;
    this.lit = number;
    if (say) this.live.textContent = number === null ? "" : this.scene.pins[number].title;
    this.draw();
    this.onLight(number);
  }

  // Into the middle, unless it can be seen already.
  reveal(number) {
    const { latitude, longitude } = this.scene.pins[number];
    const [x, y] = this.view.pixel(latitude, longitude);
    if (x < 30 || y < 30 || x > this.view.width - 30 || y > this.view.height - 30) {
      Object.assign(this.view, { latitude, longitude });
      this.view.settle();
      this.draw();
    }
  }

  // What else is drawn where pins are not: boxes of pixels.
  taken() {
    const { view, scene } = this;
    const inset = insetBox(view, scene.pins);
    const buttons = [view.width - 60, 0, view.width, 150];
    const scale = [view.width - 150, view.height - 34, view.width, view.height];
    return [buttons, scale, ...(inset ? [inset] : []), ...(scene.truth ? [truthBox(view, scene.truth)] : [])];
  }

  // Where the pins stand, [x, y] each.
  spots() {
    return spread(this.view, this.scene.pins, this.scene.answer, this.taken());
  }

  pinAt(x, y) {
    const { pins } = this.scene;
    const near = ([right, down], number) => Math.hypot(right - x, down - y) <= Math.max(pinRadius(pins[number]), 9) + 2;
    const found = this.spots().findIndex(near);
    return found < 0 ? null : found;
  }

  resize() {
    if (this.onScreen) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const isFirst = this.view.width === 1;
    this.view.resize(width, height);
    if (isFirst) this.fit();
    else this.draw();
  }

  // On paper it is as wide as a page, and shows what could be seen on the screen.
  onPaper(isPaper) {
    document.documentElement.classList.toggle("paper", isPaper);
    const { view } = this;
    if (isPaper) {
      this.onScreen ||= { ...view };
      const { width, height, scale } = this.onScreen;
      const [wide, high] = WorldMap.PAPER;
      view.resize(wide, high);
      view.zoom((scale / view.scale) * Math.min(wide / width, high / height));
    } else {
      Object.assign(view, this.onScreen);
      this.onScreen = null;
      this.resize();
    }
    this.paint();
  }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.paint();
    });
  }

  paint() {
    const { view, canvas, scene } = this;
    const dense = Math.max(devicePixelRatio || 1, this.onScreen ? 2 : 1);
    canvas.width = Math.round(view.width * dense);
    canvas.height = Math.round(view.height * dense);
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    const colours = getComputedStyle(this.element);
    const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
    paintEarth(pen, view, this, colour);
    for (const region of [...scene.regions].reverse()) paintRegion(pen, view, region, colour, dense);
    if (scene.truth && scene.answer !== undefined) paintPath(pen, view, scene.pins[scene.answer], scene.truth, colour);
    const spots = this.spots();
    const discs = scene.pins.map((pin, number) => boxAround(spots[number], pinRadius(pin) + 1));
    paintTowns(pen, view, this.towns, [...discs, ...this.taken()], colour);
    paintScale(pen, view, colour);
    const inset = insetBox(view, scene.pins);
    if (inset) paintInset(pen, view, this, inset, colour);
    const numbers = [...scene.pins.keys()].reverse().filter((number) => number !== this.lit);
    const leader = ({ latitude, longitude }, number) =>
      paintLeader(pen, view.pixel(latitude, longitude), spots[number], number === this.lit, colour);
    scene.pins.forEach(leader);
    if (scene.truth) paintTruth(pen, view, scene.truth, colour);
    if (this.lit !== null) numbers.push(this.lit);
    for (const number of numbers) {
      paintPin(pen, spots[number], scene.pins[number], number === scene.answer, number === this.lit, colour);
    }
  }
}

WorldMap.PAPER = [720, 480]; // pixels

// Whether a part of it would be seen, and a part not.
function isCut(view, pin) {
  const [place, size] = [view.pixel(pin.latitude, pin.longitude), pinRadius(pin) + 1.5];
  return overlaps(boxAround(place, size), [0, 0, view.width, view.height]) && !isInside(view, place, size);
}

function discEdges({ latitude, longitude, radius_km: radius }) {
  const up = radius / View.KM;
  const across = Math.min(up / Math.max(Math.cos((latitude * Math.PI) / 180), 0.1), 179);
  return [
    { latitude: Math.min(latitude + up, 90), longitude: longitude + across },
    { latitude: Math.max(latitude - up, -90), longitude: longitude - across },
  ];
}
