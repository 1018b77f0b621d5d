"use strict";

// What is on a map. `pen` is a canvas's context in pixels of the page, `colour` gives the style's colours by name.

const SHARE_COLOURS = ["#fff7bc", "#fec44f", "#f1731c", "#c51b1b", "#7a0177"]; // light to dark: reads without colour

// A colour for a share of the largest one (0 to 1), and that of text on it: with white or black a contrast of 4.5.
function shareColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (SHARE_COLOURS.length - 1);
  const below = Math.min(Math.floor(place), SHARE_COLOURS.length - 2);
  const parts = [1, 3, 5].map((at) => {
    const [a, b] = [0, 1].map((next) => parseInt(SHARE_COLOURS[below + next].slice(at, at + 2), 16));
    return Math.round(a + (b - a) * (place - below));
  });
  const [red, green, blue] = parts.map((part) => (part > 10 ? ((part / 255 + 0.055) / 1.055) ** 2.4 : part / 3294));
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue; // relative luminance of WCAG
  return { fill: `rgb(${parts.join(",")})`, ink: 1.05 / (light + 0.05) >= 4.5 ? "#fff" : "#000" };
}

function pinRadius(pin) {
  return pin.small ? 5 : 8 + 7 * Math.sqrt(pin.share);
}

function paintEarth(pen, view, map, colour) {
  pen.fillStyle = colour("beyond");
  pen.fillRect(0, 0, view.width, view.height);
  const top = Math.max(view.pixel(90, 0)[1], 0);
  const bottom = Math.min(view.pixel(-90, 0)[1], view.height);
  pen.save();
  pen.beginPath();
  pen.rect(0, top, view.width, bottom - top);
  pen.clip();
  pen.fillStyle = colour("sea");
  pen.fillRect(0, top, view.width, bottom - top);
  const land = new Path2D();
  for (const line of map.land) line.trace(land, view);
  pen.fillStyle = colour("land");
  pen.fill(land, "evenodd");
  if (map.background.complete) {
    // Closer, where a pixel of the picture is many of the screen, it only blurs.
    pen.globalAlpha = Number(colour("marble")) * Math.min(Math.max(1.25 - Math.log2(view.scale / 12) / 4, 0.4), 1);
    const width = 360 * view.across;
    const y = view.pixel(90, 0)[1];
    let x = view.width / 2 + view.across * (-180 - view.longitude);
    x -= width * Math.ceil(x / width);
    for (; x < view.width; x += width) pen.drawImage(map.background, x, y, width, 180 * view.scale);
    pen.globalAlpha = 1;
  }
  pen.lineJoin = "round";
  const borders = new Path2D();
  for (const line of map.borders) line.trace(borders, view);
  pen.strokeStyle = colour("border");
  pen.lineWidth = 0.9;
  pen.stroke(borders);
  pen.strokeStyle = colour("coast");
  pen.lineWidth = 0.8;
  pen.stroke(land);
  pen.restore();
}

// The union of the region's discs, its edge outside of all of them, by way of a canvas of its own.
function paintRegion(pen, view, region, colour, dense) {
  const path = new Path2D();
  for (const disc of region.discs) {
    const line = Line.around(disc);
    if (line.isOutside) new Line([-180, 90, 180, 90, 180, -90, -180, -90]).trace(path, view);
    line.trace(path, view);
  }
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [pen.canvas.width, pen.canvas.height];
  const own = sheet.getContext("2d");
  own.scale(dense, dense);
  own.strokeStyle = colour("region");
  own.lineWidth = region.level === 50 ? 4 : 3;
  if (region.level !== 50) own.setLineDash([7, 5]);
  own.stroke(path);
  own.globalCompositeOperation = "destination-out";
  own.fill(path, "nonzero");
  pen.save();
  pen.globalAlpha = 0.16;
  pen.fillStyle = colour("region");
  pen.fill(path, "nonzero");
  pen.globalAlpha = 0.95;
  pen.resetTransform();
  pen.drawImage(sheet, 0, 0);
  pen.restore();
}

// The great circle between answer and truth.
function paintPath(pen, view, from, to, colour) {
  const [a, b] = [from, to].map(({ latitude, longitude }) => {
    const [up, east] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180];
    return [Math.cos(up) * Math.cos(east), Math.cos(up) * Math.sin(east), Math.sin(up)];
  });
  const angle = Math.acos(Math.min(Math.max(a[0] * b[0] + a[1] * b[1] + a[2] * b[2], -1), 1));
  if (angle < 1e-6) return;
  const degrees = [];
  for (let i = 0; i <= 100; i++) {
    const [p, q] = [Math.sin((1 - i / 100) * angle), Math.sin((i / 100) * angle)];
    const [x, y, z] = a.map((value, axis) => p * value + q * b[axis]);
    const longitude = (Math.atan2(y, x) * 180) / Math.PI;
    const before = i ? degrees[degrees.length - 2] : from.longitude;
    degrees.push(before + View.wrapped(longitude - before), (Math.atan2(z, Math.hypot(x, y)) * 180) / Math.PI);
  }
  const path = new Path2D();
  new Line(degrees).trace(path, view);
  pen.save();
  pen.strokeStyle = colour("halo");
  pen.lineWidth = 4;
  pen.stroke(path);
  pen.strokeStyle = colour("truth");
  pen.lineWidth = 2;
  pen.setLineDash([6, 5]);
  pen.stroke(path);
  pen.restore();
}

function paintText(pen, text, x, y, ink, halo) {
  pen.lineJoin = "round";
  pen.lineWidth = 3;
  pen.strokeStyle = halo;
  pen.strokeText(text, x, y);
  pen.fillStyle = ink;
  pen.fillText(text, x, y);
}

// Names of towns, the largest first, where they cover nothing.
function paintTowns(pen, view, towns, taken, colour) {
  pen.font = "11.5px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  const most = Math.min(40, Math.round((view.width * view.height) / 9000));
  let shown = 0;
  for (const [name, latitude, longitude] of towns) {
    if (shown === most) break;
    const [x, y] = view.pixel(latitude, longitude);
    if (x < 0 || y < 8 || x > view.width || y > view.height - 8) continue;
    const box = [x - 4, y - 9, x + 9 + pen.measureText(name).width, y + 9];
    const isFree = box[2] < view.width && !taken.some((other) => overlaps(box, other));
    if (!isFree) continue;
    taken.push(box);
    shown += 1;
    pen.beginPath();
    pen.arc(x, y, 2.2, 0, 2 * Math.PI);
    pen.fillStyle = colour("label");
    pen.strokeStyle = colour("halo");
    pen.lineWidth = 2;
    pen.stroke();
    pen.fill();
    paintText(pen, name, x + 6, y, colour("label"), colour("halo"));
  }
}

// From the place of a pin to where it stands.
function paintLeader(pen, place, spot, isLit, colour) {
  if (place[0] === spot[0] && place[1] === spot[1]) return;
  pen.beginPath();
  pen.moveTo(...place);
  pen.lineTo(...spot);
  pen.lineWidth = isLit ? 6 : 4;
  pen.strokeStyle = colour("halo");
  pen.stroke();
  pen.lineWidth = isLit ? 3 : 1.4;
  pen.strokeStyle = colour("pin-ring");
  pen.stroke();
  pen.beginPath();
  pen.arc(...place, 3, 0, 2 * Math.PI);
  pen.fillStyle = colour("pin-ring");
  pen.fill();
}

function paintPin(pen, [x, y], pin, isAnswer, isLit, colour) {
  const radius = pinRadius(pin) + (isLit ? 4 : 0);
  const { fill, ink } = pin.colour ? { fill: colour(pin.colour), ink: "#fff" } : shareColour(pin.share);
  const disc = (grown, style) => {
    pen.beginPath();
    pen.arc(x, y, radius + grown, 0, 2 * Math.PI);
    pen.fillStyle = style;
    pen.fill();
  };
  if (isLit) disc(7, colour("lit"));
  if (isAnswer) disc(5, colour("pin-ring"));
  if (isAnswer) disc(3, colour("pin-edge"));
  disc(pin.small ? 1 : 1.5, isAnswer ? colour("pin-ring") : colour("pin-edge"));
  disc(0, fill);
  if (!pin.label) return;
  pen.font = `600 ${isLit ? 13 : 11}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = ink;
  pen.fillText(pin.label, x, y + 0.5);
}

const STICK = 34; // pixels

// Of the star and its word: what stands in the place itself leaves the stick to be seen.
function truthBox(view, truth) {
  const [x, y] = view.pixel(truth.latitude, truth.longitude);
  return [x - 12, y - STICK - 12, x + 52, y - STICK + 12];
}

// A star on a stick, so that it does not cover what it stands among.
function paintTruth(pen, view, truth, colour) {
  const [x, y] = view.pixel(truth.latitude, truth.longitude);
  pen.save();
  pen.strokeStyle = colour("ink");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x, y - STICK);
  pen.stroke();
  pen.fillStyle = colour("truth");
  pen.beginPath();
  pen.arc(x, y, 3.5, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
  pen.beginPath();
  for (let i = 0; i < 10; i++) {
    const [radius, turn] = [i % 2 ? 4.4 : 10.5, (Math.PI * i) / 5];
    pen.lineTo(x + radius * Math.sin(turn), y - STICK - radius * Math.cos(turn));
  }
  pen.closePath();
  pen.fill();
  pen.lineWidth = 1.4;
  pen.stroke();
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  paintText(pen, "truth", x + 14, y - STICK, colour("label"), colour("halo"));
  pen.restore();
}

// A bar of a round number of kilometres, as long as they are in the middle of the map.
function paintScale(pen, view, colour) {
  const most = 110 / view.perKm;
  const power = 10 ** Math.floor(Math.log10(most));
  const km = [5, 2, 1].map((part) => part * power).find((part) => part <= most);
  const [right, y] = [view.width - 14, view.height - 12];
  const left = right - km * view.perKm;
  pen.lineWidth = 4;
  for (const [width, style] of [
    [5, colour("halo")],
    [1.8, colour("label")],
  ]) {
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.beginPath();
    pen.moveTo(left, y - 5);
    pen.lineTo(left, y);
    pen.lineTo(right, y);
    pen.lineTo(right, y - 5);
    pen.stroke();
  }
  pen.font = "11.5px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "bottom";
  paintText(pen, `${km >= 1 ? km.toLocaleString("en") : km} km`, right, y - 7, colour("label"), colour("halo"));
}

// Where the inset is, [left, top, right, bottom]; null where there is no need or no room, or a pin lies there.
function insetBox(view, pins) {
  const box = [12, view.height - 84, 156, view.height - 12];
  const covers = (pin) => overlaps(box, boxAround(view.pixel(pin.latitude, pin.longitude), pinRadius(pin)));
  return view.width > 420 && view.scale > 12 && !pins.some(covers) ? box : null;
}

// The whole Earth in a corner, and where the map is.
function paintInset(pen, view, map, [left, top, right, bottom], colour) {
  const [width, height] = [right - left, bottom - top];
  pen.save();
  pen.beginPath();
  pen.roundRect(left, top, width, height, 6);
  pen.lineWidth = 4;
  pen.strokeStyle = colour("halo");
  pen.stroke();
  pen.clip();
  pen.fillStyle = colour("sea");
  pen.fillRect(left, top, width, height);
  if (map.background.complete) pen.drawImage(map.background, left, top, width, height);
  const unit = width / 360;
  const wide = Math.max((view.width / view.across) * unit, 7);
  const high = Math.max((view.height / view.scale) * unit, 7);
  const y = top + unit * (90 - view.latitude);
  for (const x of [-1, 0, 1].map((copy) => left + unit * (view.longitude + 180 + 360 * copy))) {
    pen.lineWidth = 3;
    pen.strokeStyle = "rgba(0, 0, 0, 0.6)";
    pen.strokeRect(x - wide / 2, y - STICK / 2, wide, high);
    pen.lineWidth = 1.5;
    pen.strokeStyle = "#fff";
    pen.strokeRect(x - wide / 2, y - STICK / 2, wide, high);
  }
  pen.restore();
}
