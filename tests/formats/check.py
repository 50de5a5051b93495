"""Reads the files of a run with what others read them with: check.py RUN SCHEMA_MD JUNIT_XSD WORKFLOWS.

Parquet by pyarrow and by polars, with the types that SCHEMA.md documents and the same rows as the CSV; JUnit by
Jenkins' schema; OpenMetrics by the client library of Prometheus; the trace as JSON; workflow files as YAML, with
scripts that a shell can parse. Ends with 1 at the first mistake.
"""

import csv
import json
import pathlib
import subprocess
import sys

import lxml.etree
import polars
import prometheus_client.openmetrics.parser as openmetrics
import pyarrow
import pyarrow.parquet
import yaml

TYPES = {
    "text": (pyarrow.string(), polars.String),
    "integer": (pyarrow.uint64(), polars.UInt64),
    "number": (pyarrow.float64(), polars.Float64),
    "flag": (pyarrow.bool_(), polars.Boolean),
}


def documented(schema_md: str, table: str) -> list[tuple[str, str]]:
    """Name and type of each column of a table."""
    section = schema_md.split(f"\n## {table}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return [(cells[1].strip().strip("`"), cells[2].strip()) for cells in rows]


def check_parquet(run: pathlib.Path, schema_md: str, table: str) -> None:
    """Types, values and what the file says of itself."""
    path, columns = run / f"{table}.parquet", documented(schema_md, table)
    by_arrow, by_polars = pyarrow.parquet.read_table(path), polars.read_parquet(path)
    assert [(f.name, f.type) for f in by_arrow.schema] == [(n, TYPES[kind][0]) for n, kind in columns], by_arrow.schema
    assert list(by_polars.schema.items()) == [(n, TYPES[kind][1]) for n, kind in columns], by_polars.schema
    metadata = pyarrow.parquet.read_metadata(path).metadata
    assert (metadata[b"bench.table"], metadata[b"bench.schema_version"]) == (table.encode(), b"1"), metadata
    with (run / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == by_arrow.num_rows == by_polars.height > 0, (table, len(rows), by_arrow.num_rows)
    assert by_polars.to_dict(as_series=False) == by_arrow.to_pydict()
    for at, (name, kind) in enumerate(columns):
        for row, value in zip(rows, by_arrow.column(name).to_pylist()):
            cell = row[at]
            if value is None:
                assert cell == "", (table, name, cell)
            elif kind == "number":
                assert float(cell) == value, (table, name, cell, value)
            elif kind == "flag":
                assert cell == str(value).lower(), (table, name, cell, value)
            elif kind == "integer":
                assert int(cell) == value, (table, name, cell, value)
            else:
                # a spreadsheet is told that this is text, and shown what cannot be seen
                assert cell.removeprefix("'") == value or not value.isprintable(), (table, name, cell, value)
    groups = pyarrow.parquet.read_metadata(path).num_row_groups
    print(f"{table}.parquet: {len(rows)} rows, {len(columns)} columns, {groups} row groups: as documented")


def scripts(node: object) -> list[str]:
    """Everything in a workflow that a shell is given."""
    if isinstance(node, list):
        return [script for part in node for script in scripts(part)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("run", "script", "before_script", "after_script") if key in node]
    flat = ["\n".join(script) if isinstance(script, list) else script for script in own]
    return flat + [script for value in node.values() for script in scripts(value)]


def check_workflows(folder: pathlib.Path) -> None:
    """They are YAML, and their scripts are bash."""
    files = sorted(folder.glob("*.yml"))
    assert files
    for file in files:
        found = scripts(yaml.safe_load(file.read_text(encoding="utf-8")))
        assert found, file
        for script in found:
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        print(f"{file.name}: {len(found)} scripts")


def main(run: pathlib.Path, schema_md: pathlib.Path, xsd: pathlib.Path, workflows: pathlib.Path) -> None:
    """Every file of the run that has a reader here."""
    documentation = schema_md.read_text(encoding="utf-8")
    for table in ("results", "units", "accuracy", "samples"):
        check_parquet(run, documentation, table)
    junit = lxml.etree.parse(run / "junit.xml")
    lxml.etree.XMLSchema(lxml.etree.parse(xsd)).assertValid(junit)
    print(f"junit.xml: {len(junit.findall('.//testcase'))} test cases, valid by {xsd.name}")
    families = list(openmetrics.text_string_to_metric_families((run / "metrics.prom").read_text(encoding="utf-8")))
    assert families
    print(f"metrics.prom: {len(families)} families")
    trace = json.loads((run / "trace.json").read_text(encoding="utf-8"))
    assert all({"ph", "pid", "name"} <= event.keys() for event in trace["traceEvents"])
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in trace["traceEvents"] if event["ph"] == "X")
    print(f"trace.json: {len(trace['traceEvents'])} events")
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert report["headline"]
    check_workflows(workflows)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
