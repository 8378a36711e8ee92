"use strict";

// What the page can do beyond being read: themes, trees that open together, and tables that sort,
// filter and page through any number of arrays. Names come from strangers and are only ever set as
// text. Python's page has all content without this script, but for the rows beyond the first page.

(() => {
  const root = document.documentElement;

  function made(tag, { text, ...properties } = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    if (text !== undefined) element.textContent = text;
    element.append(...children);
    return element;
  }

  // ----------------------------------------------------------------------------------- theme

  function setUpTheme(button) {
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const themes = isDark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    let at = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      at = (at + 1) % themes.length;
      root.dataset.theme = themes[at];
      button.textContent = `Theme: ${themes[at]}`;
    });
  }

  // ----------------------------------------------------------------------------------- trees

  function setUpTrees(sides) {
    const trees = [...sides.querySelectorAll("details")];
    if (trees.length < 2) return;
    const button = made("button", { type: "button", className: "quiet toggle" });
    const label = () => {
      button.textContent = trees.every((tree) => tree.open) ? "Close all" : "Open all";
    };
    button.addEventListener("click", () => {
      const open = !trees.every((tree) => tree.open);
      for (const tree of trees) tree.open = open;
    });
    for (const tree of trees) tree.addEventListener("toggle", label);
    label();
    sides.before(button);
  }

  // ---------------------------------------------------------------------------------- arrays

  const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

  function sizeText(bytes) {
    if (bytes === null) return "?";
    if (bytes < 1000) return `${bytes} B`;
    let unit = 0;
    for (; bytes >= 999.95 && unit < 5; unit++) bytes /= 1000;
    return `${bytes.toFixed(1)} ${UNITS[unit]}`;
  }

  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  function bar(share) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    svg.setAttribute("class", "bar");
    svg.setAttribute("viewBox", "0 0 100 8");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    rect.setAttribute("width", String(100 * share));
    rect.setAttribute("height", "8");
    svg.append(rect);
    return svg;
  }

  // Text whose found parts are marked, and that may break after a dot.
  function nameParts(name, words) {
    const lower = name.toLowerCase();
    const isFound = new Uint8Array(name.length);
    for (const word of words) {
      for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) {
        isFound.fill(1, at, at + word.length);
      }
    }
    const parts = [];
    for (let begin = 0, end; begin < name.length; begin = end) {
      end = begin + 1;
      while (end < name.length && isFound[end] === isFound[begin] && name[end - 1] !== ".") end++;
      const part = name.slice(begin, end);
      parts.push(isFound[begin] ? made("mark", { text: part }) : part);
      if (name[end - 1] === ".") parts.push(made("wbr"));
    }
    return parts;
  }

  class Arrays {
    constructor(card) {
      this.data = JSON.parse(card.querySelector("script").textContent);
      this.count = this.data.names.length;
      this.largest = this.data.bytes.reduce((most, bytes) => Math.max(most, bytes ?? 0), 1);
      this.table = card.querySelector("table.arrays");
      this.rows = Number(this.table.dataset.rows);
      this.controls = card.querySelector(".controls");
      this.search = card.querySelector("input");
      this.state = card.querySelector("output");
      this.key = "";
      this.isDown = false;
      this.page = 0;
      this.words = [];
      this.orders = { "": Array.from({ length: this.count }, (_, i) => i) };
      this.setUpSearch(card);
      this.setUpHeads();
      this.setUpPager(card);
      this.update();
    }

    setUpSearch(card) {
      this.controls.hidden = false;
      let waiting = 0;
      this.search.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => this.find(), this.count > 5000 ? 120 : 0);
      });
      for (const button of card.querySelectorAll("button[data-query]")) {
        button.disabled = false;
        button.title = "Search for these";
        button.addEventListener("click", () => {
          this.search.value = button.dataset.query;
          this.find();
          this.search.focus();
        });
      }
    }

    setUpHeads() {
      for (const head of this.table.querySelectorAll("th[data-key]")) {
        const button = made("button", { type: "button", text: head.textContent });
        button.addEventListener("click", () => this.sort(head.dataset.key));
        head.replaceChildren(button);
      }
    }

    setUpPager(card) {
      this.pager = card.querySelector(".pager");
      const turn = (text, about, to) => {
        const button = made("button", { type: "button", text, ariaLabel: about, title: about });
        button.addEventListener("click", () => this.turn(to()));
        return button;
      };
      this.back = [
        turn("«", "First page", () => 0),
        turn("‹", "Previous page", () => this.page - 1),
      ];
      this.on = [
        turn("›", "Next page", () => this.page + 1),
        turn("»", "Last page", () => this.pages - 1),
      ];
      this.number = made("input", { type: "number", min: "1", ariaLabel: "Page" });
      this.number.addEventListener("change", () => this.turn(Number(this.number.value) - 1));
      this.total = made("span");
      this.pager.append(...this.back, this.number, this.total, ...this.on);
    }

    get pages() {
      return Math.max(1, Math.ceil(this.found.length / this.rows));
    }

    find() {
      this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.page = 0;
      this.update();
    }

    // First up, then down, then as in the weights; sizes the other way round, largest first.
    sort(key) {
      const begins = key === "bytes";
      if (this.key !== key) [this.key, this.isDown] = [key, begins];
      else if (this.isDown === begins) this.isDown = !begins;
      else [this.key, this.isDown] = ["", false];
      for (const head of this.table.querySelectorAll("th[data-key]")) {
        const direction = this.isDown ? "descending" : "ascending";
        head.setAttribute("aria-sort", head.dataset.key === this.key ? direction : "none");
      }
      this.page = 0;
      this.update();
    }

    turn(page) {
      this.page = Math.min(Math.max(Math.trunc(page) || 0, 0), this.pages - 1);
      this.show();
    }

    update() {
      const order = this.order();
      this.found = this.words.length ? order.filter((i) => this.isFound(i)) : order;
      this.show();
    }

    // What is equal stays in the order of the weights, up and down.
    order() {
      const name = this.key && `${this.key} ${this.isDown}`;
      if (!this.orders[name]) {
        const value = this.sortValues();
        const sign = this.isDown ? -1 : 1;
        const compare = (a, b) => (value[a] < value[b] ? -sign : value[a] > value[b] ? sign : 0);
        this.orders[name] = [...this.orders[""]].sort(compare);
      }
      return this.orders[name];
    }

    sortValues() {
      const { names, types, type, shape, bytes } = this.data;
      // Numbers inside a name count as numbers: layer_2 comes before layer_10.
      const natural = (text) => text.replace(/\d+/g, (digits) => digits.padStart(12, "0"));
      switch (this.key) {
        case "name":
          return names.map(natural);
        case "type":
          return type.map((i) => types[i]);
        case "shape":
          return shape.map(natural);
        default:
          return bytes.map((size) => size ?? -1);
      }
    }

    isFound(i) {
      const { names, types, type, shape } = this.data;
      this.texts ??= names.map((name, j) => `${name} ${types[type[j]]} ${shape[j]}`.toLowerCase());
      return this.words.every((word) => this.texts[i].includes(word));
    }

    show() {
      const begin = this.page * this.rows;
      const shown = this.found.slice(begin, begin + this.rows);
      this.table.tBodies[0].replaceChildren(...shown.map((i) => this.row(i)));
      const bytes = this.found.reduce((sum, i) => sum + (this.data.bytes[i] ?? 0), 0);
      const of = this.words.length ? ` of ${this.count.toLocaleString("en")}` : "";
      this.state.textContent = this.found.length
        ? `${this.found.length.toLocaleString("en")}${of} arrays, ${sizeText(bytes)}`
        : `nothing found in ${counted(this.count, "array")}`;
      this.pager.hidden = this.pages === 1;
      this.number.value = String(this.page + 1);
      this.number.max = String(this.pages);
      this.total.textContent = `of ${this.pages.toLocaleString("en")}`;
      for (const button of this.back) button.disabled = this.page === 0;
      for (const button of this.on) button.disabled = this.page === this.pages - 1;
    }

    row(i) {
      const { names, types, type, shape, bytes } = this.data;
      const number = made("span", { className: "number", text: sizeText(bytes[i]) });
      return made(
        "tr",
        {},
        made("th", { scope: "row" }, made("code", {}, ...nameParts(names[i], this.words))),
        made("td", { text: types[type[i]] }),
        made("td", { text: shape[i] }),
        made("td", {}, number, bar((bytes[i] ?? 0) / this.largest)),
      );
    }
  }

  // -------------------------------------------------------------------------------- contents

  function setUpContents(nav) {
    const links = new Map();
    for (const link of nav.querySelectorAll("a")) links.set(link.hash.slice(1), link);
    const seen = new Set();
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) seen.add(target.id);
        else seen.delete(target.id);
      }
      const first = [...links.keys()].find((name) => seen.has(name));
      for (const [name, link] of links) {
        if (name === first) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-15% 0px -60% 0px" });
    for (const name of links.keys()) watcher.observe(document.getElementById(name));
  }

  // ------------------------------------------------------------------------------- in print

  function setUpPrinting() {
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = [...document.querySelectorAll("details:not([open])")];
      for (const details of closed) details.open = true;
    });
    addEventListener("afterprint", () => {
      for (const details of closed) details.open = false;
    });
  }

  setUpTheme(document.getElementById("theme"));
  document.querySelectorAll(".sides").forEach(setUpTrees);
  for (const card of document.querySelectorAll("article.weights")) {
    if (card.querySelector("table.arrays")) new Arrays(card);
  }
  setUpContents(document.querySelector("nav.contents"));
  setUpPrinting();
})();
