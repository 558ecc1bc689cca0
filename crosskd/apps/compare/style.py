"""The style of the page, which is written into its file."""

CSS = '''
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24;
  --quiet: #57606a; --line: #d8dee4; --raised: #f6f8fa;
  --right: #1faa4b; --wrong: #e5342b; --missed: #f5c400 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0f1318; --ink: #e6e9ed; --quiet: #9aa4af;
    --line: #2d343c; --raised: #181d24 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 78rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
h1, h3, h4, p, li, figcaption, summary { overflow-wrap: anywhere }
h1 { font-size: clamp(1.25rem, 4vw, 1.6rem); line-height: 1.25;
  margin: 0 0 .5rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0 }
h4 { font-size: 1rem; margin: 0 }
p { margin: .4rem 0; max-width: 48rem }
.verdict { max-width: 60rem; margin: .8rem 0; padding: .8rem 1rem;
  border-left: .3rem solid var(--quiet); background: var(--raised);
  font-size: 1.075rem }
.quiet { font-size: .9rem }
.quiet, figcaption, caption { color: var(--quiet) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line) }
thead th { color: var(--quiet); font-weight: 600 }
tbody th, thead th:first-child { position: sticky; left: 0; text-align: left;
  background: var(--paper) }
tbody th { min-width: 7rem; max-width: min(24rem, 45vw); white-space: normal;
  overflow-wrap: anywhere }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em }
summary { cursor: pointer; margin: 1rem 0 .5rem }
.keys { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
  margin: .5rem 0; list-style: none }
.curves { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)) }
.curves svg { width: 100%; height: auto; display: block }
.example { border: 1px solid var(--line); border-radius: .5rem;
  background: var(--raised); padding: .8rem; margin: 1rem 0;
  break-inside: avoid }
.tiles { display: grid; gap: .6rem; margin-top: .6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)) }
figure { margin: 0; max-width: 30rem }
figcaption { font-size: .875rem; line-height: 1.35; margin-top: .25rem }
figcaption b { color: var(--ink) }
.photo { width: 100%; height: auto; display: block; background: #000 }
.small { image-rendering: pixelated }
.boxes { filter: drop-shadow(0 0 calc(.1 * var(--text)) #000) }
.photo rect, .key rect { fill: none; stroke-width: 2.5;
  vector-effect: non-scaling-stroke }
.right rect { stroke: var(--right) }
.wrong rect { stroke: var(--wrong); stroke-dasharray: 7 3 }
.missed rect { stroke: var(--missed); stroke-dasharray: 2 3 }
.photo text { fill: #fff; stroke: #000; stroke-width: .2em;
  stroke-linejoin: round; paint-order: stroke; font-weight: 600;
  font-size: var(--text) }
@media (max-width: 40rem) {
  .photo text { font-size: calc(1.7 * var(--text)) } }
.key { width: 1.6em; height: 1em; vertical-align: -.15em;
  margin-right: .4em }
'''
