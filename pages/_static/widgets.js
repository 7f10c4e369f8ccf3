// ipywidgets' embed.js, which draws once the page has loaded, typesets labels through MathJax 2's queue. These pages
// have MathJax 3, a deferred script, so it has loaded at this event.
document.addEventListener("DOMContentLoaded", () => {
  const mathjax = window.MathJax;
  if (mathjax) {
    mathjax.Hub = {
      Queue: ([, , element]) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element])),
    };
  }
});
