"""The gallery: one self-contained page from the records and figures in a folder."""

import html
import json
import re
from pathlib import Path
from typing import Any

from experiments.report import format_value


def write_index(out: Path) -> Path:
    """Write ``index.html`` from every record in ``out``; links are relative, so that the folder can be moved."""
    paths = sorted(path for path in out.glob("*.json") if re.fullmatch(r"e\d\d_\w+", path.stem))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    target = out / "index.html"
    target.write_text(_page(records), encoding="utf-8")
    return target


def _page(records: list[dict[str, Any]]) -> str:
    checks = [check for record in records for check in record["checks"]]
    passed = sum(check["passed"] for check in checks)
    good = sum(record["passed"] for record in records)
    links = "".join(f'<a href="#{_esc(r["name"])}">{_esc(_number(r["name"]))} · {_esc(_title(r))}</a>' for r in records)
    seconds = sum(record["seconds"] for record in records)
    environment = records[0]["environment"] if records else {}
    style = Path(__file__).with_name("gallery.css").read_text(encoding="utf-8")
    footer = ", ".join(f"{key} {value}" for key, value in environment.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>lossgeo: experiments</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>lossgeo: experiments</h1>
<p>Each card is one claim about losses, likelihoods and priors, shown on real data and
checked to a stated tolerance.</p>
<p><strong>{good} of {len(records)} experiments</strong> and <strong>{passed} of {len(checks)} checks</strong> passed,
in {seconds:.0f} s.</p>
<nav>{links}</nav>
</header>
<main>
{"".join(_card(record) for record in records)}
</main>
<footer>{_esc(footer)}</footer>
</body>
</html>
"""


def _card(record: dict[str, Any]) -> str:
    _, sections = _sections(record["doc"])
    told = "".join(f"<dt>{_esc(name)}</dt><dd>{_paragraphs(text)}</dd>" for name, text in sections)
    picture = ""
    if record["figure"]:
        source = _esc(record["figure"])
        alt = _esc(_title(record))
        picture = f'<figure><a href="{source}"><img src="{source}" alt="{alt}" loading="lazy"></a></figure>'
    checks = record["checks"]
    rows = "".join(_row(check) for check in checks)
    head = '<tr><th>check</th><th class="num">value</th><th></th><th class="num">tolerance</th><th></th></tr>'
    passed = sum(check["passed"] for check in checks)
    badge = '<span class="badge">passed</span>' if record["passed"] else '<span class="badge bad">failed</span>'
    error = f"<pre>{_esc(record['error'])}</pre>" if record["error"] else ""
    opened = "" if record["passed"] and len(checks) > 12 else " open"
    mode = ", fast" if record["fast"] else ""
    name = _esc(record["name"])
    return f"""<article id="{name}">
<h2>{_esc(_number(record["name"]))} · {_esc(_title(record))}</h2>
<p class="meta">{badge} {passed} of {len(checks)} checks · {record["seconds"]:.1f} s · seed {record["seed"]}{mode} ·
<a href="{name}.json">{name}.json</a></p>
{error}<dl>{told}</dl>
{picture}
<details{opened}><summary>Checks</summary><table>{head}{rows}</table></details>
</article>
"""


def _row(check: dict[str, Any]) -> str:
    verdict = '<td class="ok">pass</td>' if check["passed"] else '<td class="no">FAIL</td>'
    value, bound = (_esc(format_value(check[key])) for key in ("value", "tolerance"))
    relation = {"<=": "≤", ">=": "≥", "==": "="}[check["relation"]]
    return (
        f'<tr><td>{_esc(check["name"])}</td><td class="num">{value}</td><td class="rel">{relation}</td>'
        f'<td class="num">{bound}</td>{verdict}</tr>'
    )


def _sections(doc: str) -> tuple[str, list[tuple[str, str]]]:
    """First line of a docstring, and its ``Name:`` sections with their text."""
    title, *lines = doc.strip().splitlines() or [""]
    sections: list[tuple[str, list[str]]] = []
    for line in lines:
        heading = re.fullmatch(r"([A-Z][\w ]*):", line)
        if heading:
            sections.append((heading[1], []))
        elif sections:
            sections[-1][1].append(line.strip())
    return title, [(name, "\n".join(text).strip()) for name, text in sections]


def _paragraphs(text: str) -> str:
    blocks = re.split(r"\n\s*\n", text)
    return "".join(f"<p>{_esc(' '.join(block.split()))}</p>" for block in blocks)


def _title(record: dict[str, Any]) -> str:
    return _sections(record["doc"])[0].rstrip(".")


def _number(name: str) -> str:
    return f"E{int(name[1:3])}"


def _esc(value: Any) -> str:
    return html.escape(str(value))
