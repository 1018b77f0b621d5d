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
    this.fit();
  }

  // The answer with what is likely, and the truth: no outlier that few believe stretches it.
  fit() {
    const { pins, answer, truth, regions, span } = this.scene;
    const discs = regions.flatMap((region) => (region.level === 50 ? region.discs : region.discs.slice(0, 1)));
    const places = [...discs.flatMap(discEdges), ...pins.filter((pin) => pin.share >= 0.25)];
    if (answer !== undefined) places.unshift(pins[answer]);
    this.view.fit(truth ? [...places, truth] : places, span || 5);
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

  pinAt(x, y) {
    const near = (pin) => {
      const [right, down] = this.view.pixel(pin.latitude, pin.longitude);
      return Math.hypot(right - x, down - y) <= Math.max(pinRadius(pin), 9) + 2;
    };
    const found = this.scene.pins.findIndex(near);
    return found < 0 ? null : found;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const isFirst = this.view.width === 1;
    this.view.resize(width, height);
    if (isFirst) this.fit();
    else this.draw();
  }

  onPaper(isPaper) {
    document.documentElement.classList.toggle("paper", isPaper);
    this.isPaper = isPaper;
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
    const dense = Math.max(devicePixelRatio || 1, this.isPaper ? 2 : 1);
    canvas.width = Math.round(view.width * dense);
    canvas.height = Math.round(view.height * dense);
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    const colours = getComputedStyle(this.element);
    const colour = (name) => colours.getPropertyValue(`--${name}`).trim();
    paintEarth(pen, view, this, colour);
    for (const region of [...scene.regions].reverse()) paintRegion(pen, view, region, colour, dense);
    if (scene.truth && scene.answer !== undefined) paintPath(pen, view, scene.pins[scene.answer], scene.truth, colour);
    const taken = scene.pins.map((pin) => pinBox(view, pin));
    if (scene.truth) taken.push(truthBox(view, scene.truth));
    taken.push([view.width - 150, view.height - 34, view.width, view.height], [view.width - 60, 0, view.width, 150]);
    paintTowns(pen, view, this.towns, taken, colour);
    for (let number = scene.pins.length - 1; number >= 0; number--) {
      if (number !== this.lit) paintPin(pen, view, scene.pins[number], number === scene.answer, false, colour);
    }
    if (scene.truth) paintTruth(pen, view, scene.truth, colour);
    if (this.lit !== null) paintPin(pen, view, scene.pins[this.lit], this.lit === scene.answer, true, colour);
    paintScale(pen, view, colour);
    if (view.width > 420 && view.scale > 12) paintInset(pen, view, this, colour);
  }
}

function discEdges({ latitude, longitude, radius_km: radius }) {
  const up = radius / View.KM;
  const across = Math.min(up / Math.max(Math.cos((latitude * Math.PI) / 180), 0.1), 179);
  return [
    { latitude: Math.min(latitude + up, 90), longitude: longitude + across },
    { latitude: Math.max(latitude - up, -90), longitude: longitude - across },
  ];
}
