// The page of an exercise shows its solutions. Its buttons lead to the learner's copy instead, which has none.
document.addEventListener("DOMContentLoaded", () => {
  const copy = document.querySelector("a.download[href$='.ipynb']");
  if (!copy) return;
  for (const link of document.querySelectorAll(".article-header-buttons a[href*='.ipynb']")) {
    const inRepository = /notebooks\/(ex\d[^/]*\.ipynb)$/;
    link.href = inRepository.test(link.href) && !link.href.includes("_sources")
      ? link.href.replace(inRepository, "notebooks/exercises/$1")
      : copy.href;
  }
});
