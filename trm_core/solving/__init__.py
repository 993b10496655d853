"""A model, watched while it solves: asked, recorded, drawn in a terminal, as a picture, a film and a page."""
