"use strict";

// A copy of a template with its slots filled: text where `values` has some, and gone where it has none.
function filled(id, values = {}) {
  const copy = document.getElementById(id).content.cloneNode(true);
  for (const slot of copy.querySelectorAll("[data-slot]")) {
    const value = values[slot.dataset.slot];
    if (value === undefined || value === null || value === "") slot.remove();
    else if (value instanceof Node) slot.replaceChildren(value);
    else if (slot.tagName === "IMG") Object.assign(slot, value);
    else slot.textContent = value;
  }
  return copy;
}

// Elements of a kind, one for each text or node.
function listed(tag, contents) {
  const all = new DocumentFragment();
  for (const content of contents) {
    const element = document.createElement(tag);
    element.append(content);
    all.append(element);
  }
  return all;
}

// A link to another page, which learns nothing of this one.
function linked({ name, url }) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, textContent: name, target: "_blank", rel: "noopener noreferrer" });
  return link;
}

// Offers a text as a file.
function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
