// What may be asked otherwise than the app was started with: the form shows what there is, and says it as fields.

const WORDS = {
  list: "the list of places",
  gallery: "similar photos",
  geoclip: "GeoCLIP's points",
  guesses: "guesses",
  argmax: "the highest reward",
  consensus: "agreement of the candidates",
  fused: "the highest reward with similarity",
  fused_consensus: "agreement, with similarity",
};

export class Settings {
  constructor(form, options) {
    [this.form, this.options] = [form, options];
    const { sources, decode, generate, most_guesses: most, demand, within } = options;
    const kinds = Object.keys(sources);
    const box = form.querySelector("#sources");
    for (const kind of kinds) box.append(checkbox(kind, sources[kind].join("; ")));
    box.hidden = kinds.length < 2;
    form.querySelector("#of-generate").hidden = generate === null;
    form.querySelector("#of-decode").hidden = decode.length < 2;
    Object.assign(form.elements.generate, { max: most, value: generate ?? "" });
    form.elements.decode.append(...decode.map((name) => new Option(WORDS[name], name)));
    form.querySelector(".demand").hidden = !within.length;
    form.elements.within.append(...within.map((km) => new Option(`${km.toLocaleString("en")} km`, km)));
    form.elements.within.value = demand ? demand.within_km : 200;
    if (demand) setPercent(form.elements.min_confidence, demand.confidence);
    form.addEventListener("submit", (event) => event.preventDefault());
    box.addEventListener("change", () => {
      const [first] = box.querySelectorAll("input");
      first.setCustomValidity(box.querySelector(":checked") ? "" : "Choose at least one.");
    });
  }

  // Fields of a request, those that differ from what holds anyway; null where one cannot be used.
  fields() {
    const { form, options } = this;
    if (!form.checkValidity()) {
      form.closest("details").open = true; // what cannot be seen cannot say what is wrong with it
      form.reportValidity();
      return null;
    }
    const { generate, decode, min_confidence: confidence, within } = form.elements;
    const chosen = [...form.querySelectorAll("[name=sources]:checked")].map((box) => box.value);
    const kinds = Object.keys(options.sources);
    const found = chosen.length === kinds.length ? [] : chosen.map((kind) => ["sources", kind]);
    if (options.generate !== null && generate.value) found.push(["generate", generate.value]);
    if (options.decode.length) found.push(["decode", decode.value]);
    if (confidence.value !== "") found.push(["min_confidence", confidence.value / 100], ["within", within.value]);
    return found;
  }
}

// What the app was started with may be finer than what the field takes: then it takes that, too.
function setPercent(field, chance) {
  const percent = Number((100 * chance).toFixed(6));
  if (percent < 1 || !Number.isInteger(percent)) Object.assign(field, { min: 0, step: "any" });
  field.value = percent;
}

function checkbox(kind, title) {
  const [label, box] = [document.createElement("label"), document.createElement("input")];
  Object.assign(box, { type: "checkbox", name: "sources", value: kind, checked: true });
  label.title = title;
  label.append(box, ` ${WORDS[kind]}`);
  return label;
}
