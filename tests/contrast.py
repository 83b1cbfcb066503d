"""Text that is too faint to read by WCAG 2.2, criterion 1.4.3 (AA), from what a browser computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Backgrounds are colours, laid over each other where they are transparent; gradients and pictures are not seen. Behind
# text in an SVG lies its own outline where it has one that is painted first, else the last shape drawn before it that
# holds its middle.
FAINT = r"""() => {
  const parse = (text) => {
    const found = text.match(/^(rgba?\(|color\(srgb )([\d.e-]+),? ([\d.e-]+),? ([\d.e-]+)(?:(?:,| \/) ([\d.e-]+))?\)$/);
    if (!found) throw new Error(`a colour that nobody here understands: ${text}`);
    const unit = found[1].startsWith("rgb") ? 1 : 255;
    return [...found.slice(2, 5).map((one) => unit * Number(one)), Number(found[5] ?? 1)];
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    const mixed = [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / (alpha || 1));
    return [...mixed, alpha];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((one) => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratioOf = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].toSorted((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const withAlpha = (colour, alpha) => [...colour.slice(0, 3), colour[3] * alpha];
  const lineage = (element) => (element ? [element, ...lineage(element.parentElement)] : []);

  const behindHtml = (element) => {
    const layers = lineage(element).map((one) => parse(getComputedStyle(one).backgroundColor));
    return [...layers, [255, 255, 255, 1]].reduce(over);
  };
  const behindSvg = (element, rect) => {
    const style = getComputedStyle(element);
    const picture = lineage(element).filter((one) => one.tagName === "svg").at(-1);
    let found = behindHtml(picture.parentElement);
    const [x, y] = [(rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2];
    for (const shape of picture.querySelectorAll("rect, path, polygon, circle")) {
      if (!(shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
      const box = shape.getBoundingClientRect();
      const paint = getComputedStyle(shape);
      const isBehind = box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
      if (!isBehind || paint.fill === "none") continue;
      found = over(withAlpha(parse(paint.fill), Number(paint.fillOpacity)), found);
    }
    const isOutlined = style.paintOrder.startsWith("stroke") && style.stroke !== "none";
    return isOutlined && parseFloat(style.strokeWidth) >= 2 ? over(parse(style.stroke), found) : found;
  };

  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || element.closest("script, style, title, desc")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const styles = lineage(element).map((one) => getComputedStyle(one));
    if (styles.some((one) => one.clipPath !== "none")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const isSvg = element.closest("svg") !== null;
    const behind = isSvg ? behindSvg(element, range.getBoundingClientRect()) : behindHtml(element);
    const opacity = styles.reduce((product, one) => product * Number(one.opacity), 1);
    const own = isSvg ? withAlpha(parse(styles[0].fill), Number(styles[0].fillOpacity)) : parse(styles[0].color);
    const ratio = ratioOf(over(withAlpha(own, opacity), behind), behind);
    const size = parseFloat(styles[0].fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(styles[0].fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${text.slice(0, 60)}`);
  }
  return faint;
}"""


def faint_text(page: Page) -> list[str]:
    """Contrast and beginning of every visible text below 4.5, or below 3 where it is large."""
    found: list[str] = page.evaluate(FAINT)
    return found
