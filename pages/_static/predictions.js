// A *Predict* box asks for a guess; the result further down shows it again. Guesses stay in the reader's browser.
//
// In the source, a comment in the box names the prediction and what can be chosen:
//   <!-- predict: polymorphs; 0.01 eV/atom; 0.1 eV/atom; 1 eV/atom -->
// What `measured` of course_lib.teaching.predictions displays says the result of the prediction of that name.
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
  }

  function show(name, guess) {
    for (const result of document.querySelectorAll(`.measured[data-prediction="${CSS.escape(name)}"] .guess`)) {
      result.textContent = guess ? `Your guess: ${guess}. ` : "";
    }
  }

  let number = 0;
  for (const box of document.querySelectorAll("blockquote")) {
    if (!/^\s*Predict\./.test(box.textContent)) continue;
    number += 1;
    const [name, ...choices] = wanted(box);
    const question = box.querySelector("p");
    question.id = `guess-question-${number}`;
    const form = document.createElement("fieldset");
    form.className = "guess-form";
    form.setAttribute("aria-describedby", question.id);
    const legend = document.createElement("legend");
    legend.textContent = "Your guess";
    form.append(legend);
    const said = document.createElement("output");
    const before = kept.read(name);
    for (const choice of choices) {
      const input = Object.assign(document.createElement("input"), {
        type: "radio", name: `guess-${number}`, value: choice, checked: choice === before,
      });
      input.addEventListener("change", () => {
        kept.write(name, choice);
        show(name, choice);
        said.textContent = "Noted. Read on, and compare.";
      });
      const words = document.createElement("label");
      words.append(input, ` ${choice}`);
      form.append(words);
    }
    form.append(said);
    box.append(form);
    show(name, before);
  }
});
