"use strict";

// Lines in degrees, [longitude, latitude, longitude, latitude, ...], and how they get onto a canvas.
class Line {
  constructor(degrees) {
    this.degrees = degrees;
    [this.west, this.south, this.east, this.north] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < degrees.length; i += 2) {
      this.west = Math.min(this.west, degrees[i]);
      this.east = Math.max(this.east, degrees[i]);
      this.south = Math.min(this.south, degrees[i + 1]);
      this.north = Math.max(this.north, degrees[i + 1]);
    }
  }

  // Google's encoded polyline, longitude first, in units of so many degrees.
  static decoded(text, unit) {
    const numbers = [];
    let [value, shift] = [0, 0];
    const last = [0, 0];
    for (let i = 0; i < text.length; i++) {
      const chunk = text.charCodeAt(i) - 63;
      value += (chunk & 31) << shift;
      shift += 5;
      if (chunk < 32) {
        const axis = numbers.length % 2;
        last[axis] += value & 1 ? ~(value >> 1) : value >> 1;
        numbers.push(last[axis] * unit);
        [value, shift] = [0, 0];
      }
    }
    return new Line(numbers);
  }

  // The edge of a disc, clockwise; its longitudes run on beyond 180, and around a pole to the map's edge.
  static around(disc, corners = 90) {
    const angle = Math.min(disc.radius_km / 6371.0088, Math.PI);
    const up = (disc.latitude * Math.PI) / 180;
    const degrees = [];
    let [turns, before] = [0, 0];
    for (let i = 0; i <= corners; i++) {
      const bearing = (2 * Math.PI * i) / corners;
      const sine = Math.sin(up) * Math.cos(angle) + Math.cos(up) * Math.sin(angle) * Math.cos(bearing);
      const north = Math.asin(Math.min(Math.max(sine, -1), 1));
      const east = Math.atan2(
        Math.sin(bearing) * Math.sin(angle) * Math.cos(up),
        Math.cos(angle) - Math.sin(up) * Math.sin(north),
      );
      turns -= Math.round((east - before) / (2 * Math.PI));
      before = east;
      degrees.push(disc.longitude + ((east + 2 * Math.PI * turns) * 180) / Math.PI, (north * 180) / Math.PI);
    }
    const line = new Line(degrees);
    const [toNorth, toSouth] = [Math.PI / 2 - up, Math.PI / 2 + up];
    // One that holds both poles is all but a disc on the other side, which its edge runs around the other way.
    line.isOutside = angle > Math.max(toNorth, toSouth);
    if (!line.isOutside && angle > Math.min(toNorth, toSouth)) line.closeAt(toNorth < toSouth ? 90 : -90);
    return line;
  }

  // A ring that runs around a pole, by way of the map's edge there.
  closeAt(latitude) {
    const [first, last] = [this.degrees[0], this.degrees[this.degrees.length - 2]];
    this.degrees.push(last, latitude, first, latitude);
    this.north = Math.max(this.north, latitude);
    this.south = Math.min(this.south, latitude);
  }

  // Adds all copies of the line that are inside of the view.
  trace(path, view) {
    const half = view.width / 2 / view.across;
    const tall = view.height / 2 / view.scale;
    if (this.south > view.latitude + tall || this.north < view.latitude - tall) return;
    const first = Math.ceil((view.longitude - half - this.east) / 360);
    const last = Math.floor((view.longitude + half - this.west) / 360);
    for (let copy = first; copy <= last; copy++) this.traceOne(path, view, 360 * copy);
  }

  traceOne(path, view, shift) {
    const [x, y] = [view.width / 2 + view.across * (shift - view.longitude), view.height / 2];
    const { degrees } = this;
    for (let i = 0; i < degrees.length; i += 2) {
      const [right, down] = [x + view.across * degrees[i], y - view.scale * (degrees[i + 1] - view.latitude)];
      if (i) path.lineTo(right, down);
      else path.moveTo(right, down);
    }
  }
}
