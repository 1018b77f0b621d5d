"use strict";

// Hands on a map: mouse, fingers, keys and buttons.
class MapControls {
  constructor(map) {
    this.map = map;
    this.fingers = new Map(); // pointer -> [x, y]
    this.moved = 0; // pixels since the first finger came
    const { canvas, element } = map;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => map.light(null));
    canvas.addEventListener("dblclick", (event) => this.zoom(2, ...this.at(event)));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const button of element.querySelectorAll("[data-map]")) {
      button.addEventListener("click", () => MapControls.KEYS[button.dataset.map](this));
    }
  }

  at(event) {
    const box = this.map.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (!this.fingers.size) this.moved = 0;
    this.map.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.at(event));
  }

  move(event) {
    const { map, fingers } = this;
    const now = this.at(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      const pin = map.pinAt(...now);
      map.canvas.classList.toggle("over", pin !== null);
      return map.light(pin);
    }
    const others = [...fingers].filter(([id]) => id !== event.pointerId);
    fingers.set(event.pointerId, now);
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    map.view.move((now[0] - before[0]) / fingers.size, (now[1] - before[1]) / fingers.size);
    if (others.length) {
      const [x, y] = others[0][1];
      const [wide, narrow] = [now, before].map((finger) => Math.hypot(finger[0] - x, finger[1] - y));
      map.view.zoom(wide / Math.max(narrow, 1), (now[0] + x) / 2, (now[1] + y) / 2);
    }
    map.draw();
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (this.moved > 4) return;
    const pin = this.map.pinAt(...this.at(event));
    this.map.light(pin);
    if (pin !== null) this.map.onChoose(pin);
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode ? 30 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * 0.0018), ...this.at(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = MapControls.KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act(this);
  }

  zoom(factor, x, y) {
    this.map.view.zoom(factor, x, y);
    this.map.draw();
  }

  pan(right, down) {
    const { view } = this.map;
    view.move((right * view.width) / 6, (down * view.height) / 6);
    this.map.draw();
  }

  // The next pin, or the one before, lights up.
  step(by) {
    const { map } = this;
    const count = map.scene.pins.length;
    if (!count) return;
    const next = map.lit === null ? (by > 0 ? 0 : count - 1) : (map.lit + by + count) % count;
    map.light(next);
    map.reveal(next);
  }
}
MapControls.KEYS = {
  ArrowLeft: (hands) => hands.pan(1, 0),
  ArrowRight: (hands) => hands.pan(-1, 0),
  ArrowUp: (hands) => hands.pan(0, 1),
  ArrowDown: (hands) => hands.pan(0, -1),
  "+": (hands) => hands.zoom(1.5),
  "=": (hands) => hands.zoom(1.5),
  "-": (hands) => hands.zoom(1 / 1.5),
  0: (hands) => hands.map.fit(),
  n: (hands) => hands.step(1),
  p: (hands) => hands.step(-1),
  Enter: (hands) => hands.map.lit !== null && hands.map.onChoose(hands.map.lit),
};
