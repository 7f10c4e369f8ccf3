// Statements to judge and numbers to find, answered on the page: no Python runs. What is right, and the hints, come from
// the checkers of the notebooks (tools/answers.py writes them to answers.js). A first wrong answer gets a hint; the answer
// itself is shown on request only.
document.addEventListener("DOMContentLoaded", () => {
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const within = (value, ranges) => ranges.some(([low, high]) => low <= value && value <= high);

  // What the page says of a statement: the list item that begins with its key.
  function words(key) {
    for (const item of document.querySelectorAll(".bd-article li")) {
      const code = item.querySelector("code");
      if (code && item.textContent.trim().startsWith(code.textContent) && code.textContent.replaceAll('"', "") === key) {
        return item.textContent.trim().slice(code.textContent.length).replace(/^[:\s]+/, "");
      }
    }
    return "";
  }

  function statementsForm(part, place) {
    const form = element("fieldset", { className: "answer-form" }, element("legend", { textContent: "True or false?" }));
    const chosen = new Map();
    part.statements.forEach(({ key }, row) => {
      const group = element("fieldset", { className: "answer-row" });
      group.append(element("legend", {}, element("code", { textContent: key }), ` ${words(key)}`));
      for (const truth of [true, false]) {
        const input = element("input", { type: "radio", name: `${place}-${row}` });
        input.addEventListener("change", () => chosen.set(key, truth));
        group.append(element("label", {}, input, truth ? " true" : " false"));
      }
      form.append(group);
    });
    const judge = () => {
      const left = part.statements.filter(({ key }) => !chosen.has(key));
      if (left.length) return [false, `${left.length} still to judge.`];
      const wrong = part.statements.filter(({ key, truth }) => chosen.get(key) !== truth);
      if (!wrong.length) return [true, "All right."];
      const right = part.statements.length - wrong.length;
      return [false, `${right} of ${part.statements.length} are right. Think again about “${wrong[0].key}”: ${wrong[0].hint}`];
    };
    const solution = part.statements.map(({ key, truth }) => `${key}: ${truth}`).join(", ");
    return [form, judge, solution];
  }

  function numberForm(part) {
    const input = element("input", { type: "text", inputMode: "decimal", size: 12 });
    const form = element("fieldset", { className: "answer-form" }, element("legend", { textContent: "A number" }));
    form.append(element("label", {}, element("code", { textContent: part.name }), " = ", input));
    const judge = () => {
      const text = input.value.trim().replace("−", "-").replace(/^(-?\d+),(\d+)$/, "$1.$2");
      const quotient = text.match(/^(-?[\d.]+)\s*\/\s*([\d.]+)$/);
      const value = quotient ? quotient[1] / quotient[2] : Number(text);
      if (!text || !Number.isFinite(value)) return [false, "Give a number, such as 0.25 or 1/4."];
      if (within(value, part.ranges)) return [true, "Right."];
      const told = part.mistakes.find(({ ranges }) => within(value, ranges));
      const written = (_, digits) => String(Number(value.toPrecision(digits || 6)));
      return [false, told.hint.replaceAll(/\{value(?::(?:\.(\d+))?g)?\}/g, written)];
    };
    const [low, high] = part.ranges[0];
    return [form, judge, `${part.name} = ${Number(((low + high) / 2).toPrecision(4))}`];
  }

  function add(part, place, cell) {
    const [form, judge, solution] = part.statements ? statementsForm(part, place) : numberForm(part);
    const button = element("button", { type: "button", textContent: "Check" });
    const told = element("output");
    const shown = element("button", { type: "button", textContent: "Show the answer", hidden: true });
    button.addEventListener("click", () => {
      const [right, text] = judge();
      told.textContent = text;
      form.classList.toggle("answer-right", right);
      shown.hidden = right || text.includes("still to judge");
    });
    shown.addEventListener("click", () => { told.textContent = solution; shown.hidden = true; });
    form.append(button, shown, told);
    cell.before(form);
  }

  const checkers = window.ANSWERS || {};
  let place = 0;
  const done = new Set();
  for (const cell of document.querySelectorAll(".bd-article div.cell")) {
    const code = cell.querySelector(".cell_input")?.textContent || "";
    for (const [name, parts] of Object.entries(checkers)) {
      if (done.has(name) || !new RegExp(`^${name}\\(`, "m").test(code)) continue;
      done.add(name);
      for (const part of parts) add(part, `answer-${(place += 1)}`, cell);
    }
  }
});
