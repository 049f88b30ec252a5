"""Where the HTML templates and the vendored viewer are: beside the code in a clone, inside the wheel otherwise."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

PACKAGE = Path(__file__).resolve().parents[1]


def templates_dir() -> Path:
    """`ui_templates` of the repository, or `annotator/_ui_templates` of an installed wheel."""
    installed = PACKAGE / "_ui_templates"
    return installed if installed.is_dir() else PACKAGE.parent / "ui_templates"


def environment() -> jinja2.Environment:
    """Escapes everything; a name the template asks for and nobody gave is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def model_viewer_script() -> Markup:
    """Google's model-viewer as the text of an inline module script.

    `<!--` inside an inline script changes how a browser finds the script's end. The two in the source are within
    template literals, where `<\\!--` is the same text.
    """
    source = (templates_dir() / "vendor" / "model-viewer" / "model-viewer.min.js").read_text(encoding="utf-8")
    source = source.replace("//# sourceMappingURL=model-viewer.min.js.map", "")
    return Markup(source.replace("<!--", "<\\!--").replace("</script", "<\\/script"))
