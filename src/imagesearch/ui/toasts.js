// Gradio's browser code refuses large files with an English message; this translates it.
(() => {
  "use strict";
  const inChinese = () => Boolean(document.querySelector("#is-language input[value=zh]")?.checked);
  const tooLarge = /^\s*File\(s\) exceed the maximum allowed size of (.+?): (.*)$/s;

  function translate() {
    if (!inChinese()) return;
    for (const toast of document.querySelectorAll("[data-testid=toast-text]")) {
      const [, size, names] = toast.textContent.match(tooLarge) ?? [];
      if (names) toast.textContent = `文件过大，最多接受 ${size}：${names.trim()}`;
    }
  }

  // The root, because the body may not exist yet when Gradio loads this script.
  new MutationObserver(translate).observe(
    document.documentElement, { childList: true, subtree: true });
})();
