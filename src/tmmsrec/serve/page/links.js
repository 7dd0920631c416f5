// Two lists side by side: a line from an item to the same item in the other list.

const SVG = "http://www.w3.org/2000/svg";

/** Lines in the gap between two columns, drawn anew whenever ``draw`` is called. */
export class Links {
  #svg = document.createElementNS(SVG, "svg");

  constructor(root) {
    this.#svg.setAttribute("class", "links");
    this.#svg.setAttribute("aria-hidden", "true");
    this.root = root;
    new ResizeObserver(() => this.draw(this.left, this.right)).observe(root);
  }

  /** Draw lines between two columns, and say in each row where the other list has it; gives how many are shared. */
  draw(left, right) {
    Object.assign(this, { left, right });
    this.#svg.replaceChildren();
    if (!left?.answer || !right?.answer) {
      this.#svg.remove();
      return null;
    }
    this.root.append(this.#svg);
    const ranks = new Map(right.answer.items.map((one) => [String(one.item), one.rank]));
    const frame = this.root.getBoundingClientRect();
    let shared = 0;
    for (const { item, rank } of left.answer.items) {
      const there = ranks.get(String(item));
      const [from, to] = [left.row(String(item)), right.row(String(item))];
      if (there === undefined || !from || !to) continue;
      shared += 1;
      place(from, there, right.name);
      place(to, rank, left.name);
      this.#svg.append(this.#line(frame, from, to, String(item), rank === there));
    }
    return shared;
  }

  /** Bring out one item's line and rows; null brings out none. */
  touch(item) {
    for (const one of this.root.querySelectorAll("[data-item]"))
      one.classList.toggle("touched", item !== null && one.dataset.item === item);
  }

  #line(frame, from, to, item, level) {
    const [a, b] = [from, to].map((row) => row.querySelector(".picture").getBoundingClientRect());
    const [x1, x2] = [from.getBoundingClientRect().right + 2, to.getBoundingClientRect().left - 2].map((x) => x - frame.left);
    const [y1, y2] = [a, b].map((box) => box.top + box.height / 2 - frame.top);
    const line = document.createElementNS(SVG, "path");
    const bend = (x2 - x1) / 2;
    line.setAttribute("d", `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
    line.setAttribute("class", level ? "link level" : "link");
    line.dataset.item = item;
    return line;
  }
}

function place(row, rank, name) {
  row.classList.add("shared");
  row.querySelector(".there").textContent = `no. ${rank} in ${name}`;
}
