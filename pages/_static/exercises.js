// Statements to judge, answers to choose and numbers to find, answered on the page: no Python runs. What is right, and the
// hints, come from the checkers of the notebooks (tools/answers.py writes them to answers.js). A wrong answer gets a hint.
// Which of several statements is wrong, and then the answer itself, are shown on request only.
document.addEventListener("DOMContentLoaded", () => {
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const within = (value, ranges) => ranges.some(([low, high]) => low <= value && value <= high);

  // A hint as elements: code is in backticks, emphasis in asterisks, as in the checkers' feedback.
  const written = (text) => text.split(/(`[^`]+`|\*\S[^*]*\*)/).map((piece, rank) =>
    rank % 2 ? element(piece[0] === "`" ? "code" : "em", { textContent: piece.slice(1, -1) }) : piece);

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

  const legend = (part) => element("legend", { textContent: part.legend });

  // What is said of rows: `wrong` holds those with a wrong answer, each with its hint; `which` is told on request.
  function judgement(wrong, count) {
    if (!wrong.length) return [true, "All right."];
    const [{ key, hint, which }] = wrong;
    const told = which ? hint : `Think again about “${key}”: ${hint}`;
    return [false, `${count - wrong.length} of ${count} are right. ${told}`, which];
  }

  function statementsForm(part, place) {
    const form = element("fieldset", { className: "answer-form" }, legend(part));
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
      if (left.length) return [null, `${left.length} still to judge.`];
      return judgement(part.statements.filter(({ key, truth }) => chosen.get(key) !== truth), part.statements.length);
    };
    return [form, judge];
  }

  // One option to choose in each row; the one that is right has no hint.
  function rowsForm(part) {
    const form = element("fieldset", { className: "answer-form" }, legend(part));
    const menus = part.rows.map(({ key, options }) => {
      const texts = ["choose", ...options.map(({ text }) => text)];
      const menu = element("select", {}, ...texts.map((textContent) => element("option", { textContent })));
      form.append(element("label", { className: "answer-choice" }, element("span", { textContent: key }), menu));
      return menu;
    });
    const judge = () => {
      const left = menus.filter((menu) => menu.selectedIndex === 0).length;
      if (left) return [null, `${left} still to choose.`];
      const chosen = part.rows.map(({ key, options }, row) => ({ key, ...options[menus[row].selectedIndex - 1] }));
      return judgement(chosen.filter(({ hint }) => hint), chosen.length);
    };
    return [form, judge];
  }

  // The answers of a question are listed below it, each with its letter; the form takes the place of the list.
  function choiceForm(part, place, list) {
    const form = element("fieldset", { className: "answer-form" }, legend(part));
    let chosen = null;
    for (const option of [...list.children]) {
      const letter = option.querySelector("code").textContent;
      const input = element("input", { type: "radio", name: place });
      input.addEventListener("change", () => { chosen = letter; });
      const words = element("span", {}, ...(option.querySelector("p") || option).childNodes);
      form.append(element("label", { className: "answer-choice" }, input, words));
    }
    list.remove();
    const judge = () => {
      if (!chosen) return [null, "Choose an answer first."];
      return chosen === part.right ? [true, "Right."] : [false, part.hints[chosen]];
    };
    return [form, judge];
  }

  // What a text may mean as a number. A comma separates thousands in 51,456, as the course writes them, and may be a
  // decimal one, as in 0,857; 1,234 is read in both ways.
  function readings(text) {
    const quotient = text.match(/^(-?[\d.]+)\s*\/\s*([\d.]+)$/);
    const written = quotient ? [quotient[1] / quotient[2]] : [text.replace(/^(-?\d+),(\d+)$/, "$1.$2")];
    if (/^-?[1-9]\d{0,2}(,\d{3})+$/.test(text)) written.unshift(text.replaceAll(",", ""));
    return text ? written.map(Number).filter(Number.isFinite) : [];
  }

  function numberForm(part) {
    const input = element("input", { type: "text", inputMode: "decimal", size: 12 });
    const form = element("fieldset", { className: "answer-form" }, legend(part));
    form.append(element("label", {}, element("code", { textContent: part.name }), " = ", input));
    const judge = () => {
      const values = readings(input.value.trim().replace("−", "-"));
      if (!values.length) return [null, "Give a number, such as 0.25 or 1/4."];
      if (values.some((value) => within(value, part.ranges))) return [true, "Right."];
      // The first mistake that fits one of the readings: the last mistake fits every number.
      const told = part.mistakes.find(({ ranges }) => values.some((value) => within(value, ranges)));
      const meant = values.find((value) => within(value, told.ranges));
      const inserted = (_, digits) => String(Number(meant.toPrecision(digits || 6)));
      return [false, told.hint.replaceAll(/\{value(?::(?:\.(\d+))?g)?\}/g, inserted)];
    };
    return [form, judge];
  }

  // What follows "Right." of a part once all parts of its checker are right.
  function closing({ parts, shows }) {
    const right = new Set();
    return (part, isRight) => {
      right[isRight ? "add" : "delete"](part);
      return shows && right.size === parts.length ? ` ${shows}` : "";
    };
  }

  function finish([form, judge], part, close) {
    const button = element("button", { type: "button", textContent: "Check" });
    const told = element("output");
    const shown = element("button", { type: "button", hidden: true });
    let which;
    const offer = () => { shown.textContent = which ? "Show which one" : "Show the answer"; };
    button.addEventListener("click", () => {
      const [right, text, wrong] = judge();
      which = wrong;
      offer();
      told.replaceChildren(...written(text + close(part, right === true)));
      form.classList.toggle("answer-right", right === true);
      shown.hidden = right !== false || !part.answer;
    });
    shown.addEventListener("click", () => {
      if (which) told.append(` ${which}`);
      else told.textContent = part.answer;
      shown.hidden = !which;
      which = "";
      offer();
    });
    form.append(button, shown, told);
    return form;
  }

  const checkers = Object.entries(window.ANSWERS || {});
  const called = (code) => checkers.filter(([name]) => new RegExp(`^${name}\\(`, "m").test(code));
  let place = 0;
  const done = new Set();
  for (const cell of document.querySelectorAll(".bd-article div.cell")) {
    for (const [name, asked] of called(cell.querySelector(".cell_input")?.textContent || "")) {
      if (done.has(name)) continue;
      done.add(name);
      const close = closing(asked);
      for (const part of asked.parts) {
        place += 1;
        const statements = part.statements && statementsForm(part, `answer-${place}`);
        cell.before(finish(statements || (part.rows ? rowsForm(part) : numberForm(part)), part, close));
      }
    }
  }

  // *Check yourself*: a list of questions, and a fold that says how to check the answers in JupyterLab.
  for (const fold of document.querySelectorAll(".bd-article details")) {
    for (const [, asked] of called(fold.querySelector("pre")?.textContent || "")) {
      const questions = fold.parentElement.querySelector("ol").children;
      const close = closing(asked);
      asked.parts.forEach((part, rank) => {
        place += 1;
        const list = questions[rank].querySelector("ul");
        questions[rank].append(
          finish(part.hints ? choiceForm(part, `answer-${place}`, list) : numberForm(part), part, close));
      });
      fold.remove();
    }
  }
});
