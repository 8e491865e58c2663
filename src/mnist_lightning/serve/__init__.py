"""One local page: a sweep as it runs, and a canvas on which to draw a digit."""
