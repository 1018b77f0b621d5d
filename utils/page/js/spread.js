"use strict";

// Where pins with numbers stand: in their places, or where these are taken as near as there is room.

const [STEP, TURNS, FARTHEST] = [3, 16, 300]; // pixels, directions, pixels
const ENOUGH = 0.6; // so much of a pin has to be free where it belongs: its number is in the middle

// [x, y] of each pin. No box of `taken` ([left, top, right, bottom]) hides a number, and none another one; the answer
// has the first choice, then the likelier ones. What lies outside of the view stays there.
function spread(view, pins, answer, taken) {
  const spots = pins.map((pin) => view.pixel(pin.latitude, pin.longitude));
  const boxes = [...taken];
  const order = [...pins.keys()].sort((a, b) => (b === answer) - (a === answer));
  for (const number of order.filter((number) => pins[number].label && isInside(view, spots[number], 0))) {
    const size = pinRadius(pins[number]) + (number === answer ? 5 : 1.5);
    spots[number] = freeSpot(view, spots[number], size, boxes);
    boxes.push(boxAround(spots[number], size));
  }
  return spots;
}

// The nearest one with room, rather on the side that is turned away from what stands in the place; else the place.
function freeSpot(view, place, size, boxes) {
  const hit = boxes.find((box) => overlaps(box, boxAround(place, ENOUGH * size)));
  if (!hit && isInside(view, place, size)) return place;
  const [left, top, right, bottom] = hit || [0, 0, view.width, view.height];
  const away = Math.atan2(place[1] - (top + bottom) / 2, place[0] - (left + right) / 2);
  for (let far = STEP; far < FARTHEST; far += STEP) {
    for (let turn = 0; turn < TURNS; turn++) {
      const angle = away + ((turn % 2 ? 1 : -1) * Math.ceil(turn / 2) * 2 * Math.PI) / TURNS;
      const spot = [place[0] + far * Math.cos(angle), place[1] + far * Math.sin(angle)];
      if (isInside(view, spot, size) && !boxes.some((box) => overlaps(box, boxAround(spot, size)))) return spot;
    }
  }
  return place;
}

function boxAround([x, y], size) {
  return [x - size, y - size, x + size, y + size];
}

function isInside(view, [x, y], margin) {
  return x >= margin && y >= margin && x <= view.width - margin && y <= view.height - margin;
}

function overlaps(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
