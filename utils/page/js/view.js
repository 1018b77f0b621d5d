"use strict";

// A window on an equirectangular Earth: which degrees lie at which pixel.
class View {
  constructor() {
    this.width = this.height = 1; // pixels
    this.latitude = this.longitude = 0; // degrees, in the middle
    this.scale = 1; // pixels a degree of latitude
  }

  // Degrees of longitude are drawn shorter by the cosine of the middle latitude, so that shapes look right.
  get across() {
    return this.scale * Math.max(Math.cos((this.latitude * Math.PI) / 180), 0.15);
  }

  get least() {
    return Math.min(this.height / 180, this.width / 360);
  }

  resize(width, height) {
    [this.width, this.height] = [width, height];
    this.settle();
  }

  // Back to what there is: no pole inside of the window where the Earth is higher than it, no zoom beyond its limits.
  settle() {
    this.scale = Math.min(Math.max(this.scale, this.least), View.MOST);
    const spare = Math.max(90 - this.height / 2 / this.scale, 0);
    this.latitude = Math.min(Math.max(this.latitude, -spare), spare);
    this.longitude = View.wrapped(this.longitude);
  }

  // The pixel of a place; of its copies around the Earth that nearest to the middle.
  pixel(latitude, longitude) {
    return [
      this.width / 2 + this.across * View.wrapped(longitude - this.longitude),
      this.height / 2 - this.scale * (latitude - this.latitude),
    ];
  }

  degrees(x, y) {
    return [
      this.latitude - (y - this.height / 2) / this.scale,
      this.longitude + (x - this.width / 2) / this.across,
    ];
  }

  move(right, down) {
    this.longitude -= right / this.across;
    this.latitude += down / this.scale;
    this.settle();
  }

  // What lies at a pixel stays there.
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [latitude, longitude] = this.degrees(x, y);
    this.scale *= factor;
    this.settle();
    this.latitude = latitude + (y - this.height / 2) / this.scale;
    this.settle();
    this.longitude = longitude - (x - this.width / 2) / this.across;
    this.settle();
  }

  // The closest window that holds all places, at least `span` degrees high, with a margin.
  fit(places, span) {
    if (!places.length) {
      Object.assign(this, { latitude: 10, longitude: 10, scale: 0 });
      return this.settle();
    }
    const first = places[0].longitude;
    const [north, south] = View.range(places.map((place) => place.latitude));
    const [east, west] = View.range(places.map((place) => View.wrapped(place.longitude - first)));
    this.latitude = (north + south) / 2;
    this.longitude = first + (east + west) / 2;
    const shrink = this.across / this.scale;
    const margin = 96; // pixels, of both sides together
    this.scale = Math.min(
      Math.max(this.height - margin, 40) / Math.max(north - south, span),
      Math.max(this.width - margin, 40) / Math.max((east - west) * shrink, 1e-9),
    );
    this.settle();
  }

  // Pixels a kilometre in the middle.
  get perKm() {
    return this.scale / View.KM;
  }

  static wrapped(longitude) {
    return longitude - 360 * Math.floor((longitude + 180) / 360);
  }

  static range(values) {
    return [values.reduce((a, b) => Math.max(a, b)), values.reduce((a, b) => Math.min(a, b))];
  }
}
View.KM = (6371.0088 * Math.PI) / 180; // a degree of latitude
View.MOST = 4000; // 28 m a pixel
