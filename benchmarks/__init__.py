"""Side-by-side measurements; each prints ratios and writes them to ``results``."""
