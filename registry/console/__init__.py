"""The console: pages for people, which are static files here and ask the public API like any other client.

`files.py` answers `/console/…`. Below `web/`: `data/` (what is known, and how it is kept current), `parts/` (what pages
are made of), `pages/` (one module each), `texts.js` (every text), `style.css`. registry/docs/console.md describes it.
"""
