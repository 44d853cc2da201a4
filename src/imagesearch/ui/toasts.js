// Gradio's browser code refuses large files by itself, in English; here it speaks as the page does.
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

  // The root, for whether the body is there already depends on when Gradio loads this.
  new MutationObserver(translate).observe(
    document.documentElement, { childList: true, subtree: true });
})();
