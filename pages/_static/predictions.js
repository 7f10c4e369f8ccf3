// A *Predict* box asks for a guess; the result further down shows it again. Guesses stay in the reader's browser.
//
// In the source, a comment in the box names the prediction and what can be chosen:
//   <!-- predict: polymorphs; 0.01 eV/atom; 0.1 eV/atom; 1 eV/atom -->
// Without choices, or without the comment, the reader writes the guess. What `measured` of
// course_lib.teaching.predictions displays says the result of the prediction of that name.
document.addEventListener("DOMContentLoaded", () => {
  const kept = {
    key: (name) => `guess ${location.pathname} ${name}`,
    read: (name) => { try { return localStorage.getItem(kept.key(name)); } catch { return null; } },
    write(name, guess) { try { localStorage.setItem(kept.key(name), guess); } catch { /* a browser that keeps nothing */ } },
  };

  function wanted(box) {
    const comments = document.createNodeIterator(box, NodeFilter.SHOW_COMMENT);
    for (let node; (node = comments.nextNode()); ) {
      const [, fields] = node.data.match(/^\s*predict:([^]*)$/) || [];
      if (fields) return fields.split(";").map((field) => field.trim());
    }
    return null;
  }

  function show(name, guess) {
    for (const result of document.querySelectorAll(`.measured[data-prediction="${CSS.escape(name)}"] .guess`)) {
      result.textContent = guess ? `Your guess: ${guess}. ` : "";
    }
  }

  function field(type, attributes, label, form) {
    const input = Object.assign(document.createElement("input"), { type, ...attributes });
    const words = document.createElement("label");
    words.append(...(type === "radio" ? [input, ` ${label}`] : [`${label} `, input]));
    form.append(words);
    return input;
  }

  let number = 0;
  for (const box of document.querySelectorAll("blockquote")) {
    if (!/^\s*Predict\./.test(box.textContent)) continue;
    number += 1;
    const [name, ...choices] = wanted(box) || [`box ${number}`];
    const form = document.createElement("fieldset");
    form.className = "guess-form";
    const legend = document.createElement("legend");
    legend.textContent = "Your guess";
    form.append(legend);
    const said = document.createElement("output");
    const before = kept.read(name);
    const keep = (guess) => {
      kept.write(name, guess);
      show(name, guess);
      said.textContent = guess ? "Noted. Read on, and compare." : "";
    };
    if (choices.length) {
      for (const choice of choices) {
        const input = field("radio", { name: `guess-${number}`, value: choice, checked: choice === before }, choice, form);
        input.addEventListener("change", () => keep(choice));
      }
    } else {
      const input = field("text", { value: before || "", maxLength: 120 }, "in a few words or a number:", form);
      input.addEventListener("change", () => keep(input.value.trim()));
    }
    form.append(said);
    box.append(form);
    show(name, before);
  }
});
