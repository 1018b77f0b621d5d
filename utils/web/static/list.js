// The list of the photos: what became of each, and what can be done with it.

const STAGES = {
  sending: "Sending it",
  reading: "Reading the photo",
  candidates: "Looking for candidates",
  ranking: "Deciding",
};

export function stateOf(photo) {
  const { stage, before, shown, problem } = photo;
  if (stage === "done") {
    const { verdict, said } = shown.entry;
    return verdict.state === "unsure" ? verdict.title : `${verdict.title} · ${said}`;
  }
  if (stage === "failed") return `No place: ${problem}`;
  if (stage === "new") return photo.isFull ? "Waits for room in the queue" : "Waits to be sent";
  if (stage === "waiting") return before ? `Waiting, ${before} before it` : "Waiting, it is next";
  return STAGES[stage];
}

export class List {
  // `actions`: {show, save, again, remove}, each called with a photo.
  constructor(element, actions) {
    [this.element, this.actions, this.rows] = [element, actions, new Map()];
  }

  update(photo) {
    const row = this.rows.get(photo) || this.added(photo);
    const part = (name) => row.querySelector(`[data-part=${name}]`);
    const button = (name) => row.querySelector(`[data-do=${name}]`);
    const { stage, shown, retry } = photo;
    part("state").textContent = stateOf(photo);
    row.classList.toggle("failed", stage === "failed");
    row.querySelector("progress").hidden = ["done", "failed"].includes(stage);
    button("show").hidden = button("save").hidden = stage !== "done";
    button("again").hidden = stage !== "failed" || !retry;
    if (shown?.entry.photo) this.picture(row, shown.entry.photo.uri);
  }

  added(photo) {
    const row = document.getElementById("asked-photo").content.cloneNode(true).firstElementChild;
    row.querySelector("[data-part=name]").textContent = photo.name;
    row.querySelector("progress").setAttribute("aria-label", `${photo.name} is being located`);
    for (const button of row.querySelectorAll("[data-do]")) {
      button.setAttribute("aria-label", `${button.textContent}: ${photo.name}`);
      button.addEventListener("click", () => this.actions[button.dataset.do](photo));
    }
    photo.preview = URL.createObjectURL(photo.file);
    this.picture(row, photo.preview);
    this.element.append(row);
    this.rows.set(photo, row);
    return row;
  }

  // Not every browser can show every photo that the app can read.
  picture(row, uri) {
    const image = row.querySelector("img");
    image.onload = () => ([image.hidden, row.querySelector(".none").hidden] = [false, true]);
    image.onerror = () => (image.hidden = true);
    if (image.src !== uri) image.src = uri;
  }

  remove(photo) {
    const row = this.rows.get(photo);
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    this.rows.delete(photo);
    URL.revokeObjectURL(photo.preview);
    (next?.querySelector("[data-do=remove]") || document.getElementById("files")).focus();
  }

  mark(shown) {
    for (const [photo, row] of this.rows) {
      row.classList.toggle("shown", photo === shown);
      if (photo === shown) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }
}
