"""Just enough SVG."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

INK, FAINT, RULE, PAPER = "#1d2433", "#69707d", "#d3dae6", "#ffffff"
_PER_CHARACTER = 0.56  # of the size of a letter, on average


class Drawing:
    """A picture; lengths are pixels, from the upper left corner."""

    def __init__(self, width, height, *, background):
        self._root = Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width} {height}",
                "font-family": "Inter, Helvetica, Arial, sans-serif",
            },
        )
        self.rectangle(0, 0, width, height, fill=background)

    def rectangle(self, x, y, width, height, *, fill=PAPER, stroke="none", radius=0):
        sizes = {"x": x, "y": y, "width": max(0, width), "height": max(0, height), "rx": radius}
        self._add("rect", sizes, fill=fill, stroke=stroke)

    def line(self, points, *, stroke=RULE, width=1):
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add("polyline", {"points": text, "stroke-width": width}, fill="none", stroke=stroke)

    def text(self, x, y, text, *, size=12, anchor="start", fill=INK, bold=False, room=None):
        """Text on a base line; what has no room is cut off."""
        if room is not None and len(text) * size * _PER_CHARACTER > room:
            text = text[: max(1, int(room / size / _PER_CHARACTER) - 1)] + "…"
        places = {"x": x, "y": y, "font-size": size, "text-anchor": anchor}
        weight = {"font-weight": "600"} if bold else {}
        self._add("text", places | weight, fill=fill).text = text

    def _add(self, name, numbers, **looks):
        values = {
            key: f"{value:.1f}" if isinstance(value, float) else str(value)
            for key, value in numbers.items()
        }
        return SubElement(self._root, name, values | looks)

    def __str__(self):
        return tostring(self._root, encoding="unicode") + "\n"
