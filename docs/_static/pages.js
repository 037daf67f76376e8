// What scrolls sideways inside the page is reached by keyboard too.
document.addEventListener("DOMContentLoaded", () => {
  const named = [["div.highlight pre", "Code"], [".table-wrapper", "Table"]]
  const mark = () => named.forEach(([selector, label]) => {
    for (const box of document.querySelectorAll(selector)) {
      if (box.scrollWidth <= box.clientWidth || box.hasAttribute("tabindex")) continue
      box.tabIndex = 0
      box.setAttribute("role", "group")
      box.setAttribute("aria-label", label)
    }
  })
  mark()
  addEventListener("resize", mark)
})
