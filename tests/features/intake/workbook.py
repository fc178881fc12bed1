"""Write a workbook of Excel, as small as one can be: for tests of reading it."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from xml.sax.saxutils import escape

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_STYLES = (
    f'<styleSheet {_MAIN}><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>'
    "</styleSheet>"
)


def workbook(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """The bytes of a `.xlsx` with these sheets; moments become cells that are formatted as such."""
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(names, 1)
    )
    targets = "".join(
        f'<Relationship Id="rId{n}" Type="{_RELS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(names) + 1)
    )
    styles = f'<Relationship Id="rId99" Type="{_RELS}/styles" Target="styles.xml"/>'
    relations = f'<Relationships xmlns="{_PACKAGE}/relationships">'
    types = f'<Types xmlns="{_PACKAGE}/content-types">'
    default = '<Default Extension="xml" ContentType="application/xml"/></Types>'
    root = f'<Relationship Id="rId1" Type="{_RELS}/officeDocument" Target="xl/workbook.xml"/>'
    files = {
        "[Content_Types].xml": types + default,
        "_rels/.rels": f"{relations}{root}</Relationships>",
        "xl/workbook.xml": (
            f'<workbook {_MAIN} xmlns:r="{_RELS}"><sheets>{listed}</sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": f"{relations}{targets}{styles}</Relationships>",
        "xl/styles.xml": _STYLES,
    }
    for n, rows in enumerate(sheets.values(), 1):
        cells = "".join(
            f'<row r="{at}">{"".join(_cell(chr(65 + c), at, v) for c, v in enumerate(row))}</row>'
            for at, row in enumerate(rows, 1)
        )
        files[f"xl/worksheets/sheet{n}.xml"] = (
            f"<worksheet {_MAIN}><sheetData>{cells}</sheetData></worksheet>"
        )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def _cell(column: str, row: int, value: object) -> str:
    place = f'r="{column}{row}"'
    if value is None:
        return ""
    if isinstance(value, datetime):
        days = (value - datetime(1899, 12, 30)).total_seconds() / 86_400
        return f'<c {place} s="1"><v>{days!r}</v></c>'
    if isinstance(value, int | float):
        return f"<c {place}><v>{value!r}</v></c>"
    text = escape(str(value))
    return f'<c {place} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
