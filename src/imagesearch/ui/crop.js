// Drawing a box on the query picture writes its four numbers to the text field.
(() => {
  "use strict";
  const find = (selector) => document.querySelector(selector);
  const picture = () => find("#is-picture img");
  const field = () => find("#is-crop textarea, #is-crop input");
  const isOn = () => Boolean(find("#is-crop-on input")?.checked && picture());
  let start = null;

  // The area of the pixels: the element may be larger than the picture in it.
  function pixelArea(image) {
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const width = image.naturalWidth * scale;
    const height = image.naturalHeight * scale;
    const fits = getComputedStyle(image).objectFit;
    if (fits !== "contain" && fits !== "scale-down") return box;
    return new DOMRect(
      box.left + (box.width - width) / 2, box.top + (box.height - height) / 2, width, height);
  }

  function share(event) {
    const area = pixelArea(picture());
    const clamp = (value) => Math.max(0, Math.min(100, value * 100));
    return [
      clamp((event.clientX - area.left) / area.width),
      clamp((event.clientY - area.top) / area.height),
    ];
  }

  function between(first, second) {
    return [
      Math.min(first[0], second[0]), Math.min(first[1], second[1]),
      Math.max(first[0], second[0]), Math.max(first[1], second[1]),
    ];
  }

  function draw(box) {
    find(".is-crop-frame")?.remove();
    const root = find("#is-picture");
    root?.classList.toggle("is-cropping", isOn());
    if (!box || !isOn()) return;
    const area = pixelArea(picture());
    const outer = root.getBoundingClientRect();
    const frame = document.createElement("div");
    frame.className = "is-crop-frame";
    frame.style.left = `${area.left - outer.left - root.clientLeft}px`;
    frame.style.top = `${area.top - outer.top - root.clientTop}px`;
    frame.style.width = `${area.width}px`;
    frame.style.height = `${area.height}px`;
    const inner = document.createElement("div");
    inner.className = "is-crop-box";
    inner.style.left = `${box[0]}%`;
    inner.style.top = `${box[1]}%`;
    inner.style.width = `${box[2] - box[0]}%`;
    inner.style.height = `${box[3] - box[1]}%`;
    frame.append(inner);
    root.append(frame);
  }

  function written() {
    const numbers = (field()?.value ?? "").split(/[\s,，;；%]+/).filter(Boolean).map(Number);
    return numbers.length === 4 && numbers.every(Number.isFinite) ? numbers : null;
  }

  function write(box) {
    const target = field();
    if (!target) return;
    target.value = box ? box.map((value) => Math.round(value)).join(", ") : "";
    target.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("pointerdown", (event) => {
    if (!isOn() || event.target !== picture() || event.button !== 0) return;
    event.preventDefault();
    start = share(event);
  }, true);
  document.addEventListener("dragstart", (event) => {
    if (start) event.preventDefault();
  }, true);
  document.addEventListener("pointermove", (event) => {
    if (start) draw(between(start, share(event)));
  }, true);
  document.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = between(start, share(event));
    start = null;
    const isBox = box[2] - box[0] >= 3 && box[3] - box[1] >= 3;
    write(isBox ? box : null);
    draw(isBox ? box : null);
    // After the input event of the field, so that the search uses the new box.
    setTimeout(() => find("#is-search")?.click(), 150);
  }, true);
  window.addEventListener("resize", () => draw(written()));

  const isNarrow = () => window.innerWidth < 800;
  const show = (selector) =>
    find(selector)?.scrollIntoView({ behavior: "smooth", block: "nearest" });
  window.imagesearchDrawCrop = () => setTimeout(() => draw(written()), 50);
  window.imagesearchShowResults = () => { if (isNarrow()) find("#is-status")?.scrollIntoView({ behavior: "smooth" }); };
  window.imagesearchOpenOptions = () => ({ __type__: "update", open: !isNarrow() });
  window.imagesearchShowDetail = () => setTimeout(() => show("#is-detail-box"), 100);
})();
