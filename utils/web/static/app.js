import { together } from "./files.js";
import { List, stateOf } from "./list.js";
import { Photos } from "./photos.js";
import { ask } from "./server.js";
import { Settings } from "./settings.js";

// The page: photos in by choosing, dropping and pasting; the report of one of them, or of all, below.
const at = (id) => document.getElementById(id);
const say = (text) => (at("said").textContent = text);
const warn = (text) => (at("alert").textContent = text);

const list = new List(at("asked").querySelector("ol"), { show, save, again: (photo) => photos.again(photo), remove });
const photos = new Photos(changed, silent);
let settings, report, shown;
const worlds = fetch("world.json").then((response) => response.json());
worlds.catch(() => {}); // said where it is needed

function changed(photo) {
  at("asked").hidden = false;
  list.update(photo);
  const done = photos.all.filter(({ stage }) => stage === "done");
  at("all").hidden = done.length < 2;
  if (!["done", "failed"].includes(photo.stage)) return;
  const left = photos.all.filter(({ stage }) => !["done", "failed"].includes(stage)).length;
  say(`${photo.name}: ${stateOf(photo)}.${left ? ` ${left} to go.` : ""}`);
  if (photo.stage === "done" && shown === undefined) open([photo]);
}

function silent(is) {
  warn(is ? "The app does not answer. It may have been stopped; what was found stays here. Trying again." : "");
}

// ---- photos in ----

async function take(files) {
  if (!files.length) return;
  const what = files.length === 1 ? files[0].name || "the photo" : `${files.length} photos`;
  if (!settings) warn(`Not sent yet: ${what}. The app is still asked what it offers.`);
  const problem = await ready;
  if (problem) return warn(`Not sent: ${what}. ${problem}`);
  const fields = settings.fields();
  if (!fields) return;
  warn("");
  for (const file of files) photos.add(file, fields, settings.options.most_upload_bytes);
}

at("files").addEventListener("change", ({ target }) => {
  take([...target.files]);
  target.value = ""; // the same photo may be chosen again
});
addEventListener("paste", ({ clipboardData, target }) => {
  if (clipboardData.files.length) take([...clipboardData.files]);
  else if (!target.closest?.("input")) say("There is no photo on the clipboard.");
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") take([...event.dataTransfer.files]);
  });
}

// ---- what was found ----

async function open(some) {
  shown = some;
  let world;
  try {
    world = await worlds;
  } catch {
    return warn("The map could not be loaded: load this page again.");
  }
  if (shown !== some) return;
  at("result").hidden = false;
  report ??= new Report(at("result"), world);
  history.replaceState(null, "", location.pathname);
  report.map.towns = [...some.flatMap((photo) => photo.shown.towns), ...world.towns];
  const files = some.map((photo) => photo.shown.files);
  const entries = some.map((photo) => photo.shown.entry);
  report.show(entries, files.length === 1 ? files[0] : together(files, "Where were these photos taken?"));
  list.mark(some.length === 1 ? some[0] : null);
}

async function look(some) {
  await open(some);
  at("result").querySelector("h1")?.focus({ preventScroll: true });
  at("result").scrollIntoView({ behavior: Report.calm() ? "auto" : "smooth" });
}

function show(photo) {
  look([photo]);
}

at("all").addEventListener("click", () => look(photos.all.filter(({ stage }) => stage === "done")));

async function save(photo) {
  try {
    download(`${photo.name.replace(/\.\w+$/, "")}.html`, "text/html", await ask(`jobs/${photo.job}/report`));
  } catch (error) {
    warn(`The report of ${photo.name} cannot be saved: ${error.message}.`);
  }
}

function remove(photo) {
  photos.remove(photo);
  list.remove(photo);
  at("asked").hidden = !photos.all.length;
  if (!shown?.includes(photo)) return;
  const rest = shown.filter((other) => other !== photo);
  if (rest.length) return void open(rest);
  shown = undefined;
  at("result").hidden = true;
}

// ---- what there is ----

// Why the app did not say what it offers; null where it did.
async function begin() {
  let options;
  try {
    options = await ask("options");
  } catch (error) {
    const problem = `${error.message[0].toUpperCase()}${error.message.slice(1)}: load this page again.`;
    warn(problem);
    return problem;
  }
  settings = new Settings(at("settings"), options);
  const places = Object.values(options.sources).flat();
  at("decides").textContent = `Decided by ${options.decides.join(" or ")}. Candidates: ${places.join("; ")}.`;
  const megapixels = Math.floor(options.most_pixels / 1e6);
  at("most").textContent = `, of at most ${Math.round(options.most_upload_bytes / 2 ** 20)} MB and ${megapixels} megapixels each`;
  const kept = options.kept ? "The app keeps photos and places on its disk." : "The app keeps no photo.";
  at("whereto").textContent = options.sent_to ? `${kept} It sends them to the server of ${options.sent_to}.` : kept;
  return null;
}

const ready = begin();
