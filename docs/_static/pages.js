// What the theme leaves out for people who use a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) {
    caption.setAttribute("aria-level", "2")
  }
  document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "All pages")
  document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page")

  // A box that scrolls sideways takes the focus, so that arrow keys scroll it.
  const boxes = {"div.highlight pre": "Code", ".table-wrapper": "Table"}
  const mark = () => Object.entries(boxes).forEach(([selector, label]) => {
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
