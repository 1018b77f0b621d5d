"use strict";

// What the page holds, shown.
const held = (id) => JSON.parse(document.getElementById(id).textContent);
const report = new Report(document.getElementById("report-of-photos"), held("world"));
report.show(held("entries"), held("files"));
