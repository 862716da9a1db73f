// Before the first paint, so that nobody who chose a theme sees the other one flash.
try {
  const chosen = localStorage.getItem("audiogate-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // No storage in this browser: the system's theme it is.
}
