"""The wiring as Mermaid and as Graphviz. Every text is escaped: a name cannot end a label or begin a statement."""

from __future__ import annotations

from filemill.cli.graph.wiring import Node, Wiring
from filemill.telemetry.wording import printable

_MERMAID = {"source": ("[/", "/]"), "tag": ("([", "])"), "pipeline": ("{{", "}}")}
_MERMAID |= {"step": ("[", "]"), "sink": ("[(", ")]")}
_DOT = {
    "source": "parallelogram",
    "tag": "ellipse",
    "pipeline": "hexagon",
    "step": "box",
    "sink": "cylinder",
}


def mermaid(wiring: Wiring) -> str:
    """A `flowchart LR`; steps stand in the subgraph of their pipeline."""
    number = _numbers(wiring)
    lines = ["flowchart LR"]
    lines += [f"  {_mermaid_node(node, number)}" for node in wiring.nodes if node.kind != "step"]
    for pipeline in _pipelines_with_steps(wiring):
        lines.append(f'  subgraph p_{number[f"pipeline:{pipeline}"]}["{_entities(pipeline)}"]')
        lines += [
            f"    {_mermaid_node(node, number)}"
            for node in wiring.nodes
            if node.kind == "step" and node.pipeline == pipeline
        ]
        lines.append("  end")
    for edge in wiring.edges:
        label = f'|"{_entities(edge.label)}"|' if edge.label else ""
        lines.append(f"  {number[edge.begin]} -->{label} {number[edge.end]}")
    return "\n".join(lines)


def dot(wiring: Wiring) -> str:
    """A `digraph`; steps stand in the cluster of their pipeline."""
    number = _numbers(wiring)
    lines = ["digraph filemill {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    lines += [f"  {_dot_node(node, number)}" for node in wiring.nodes if node.kind != "step"]
    for pipeline in _pipelines_with_steps(wiring):
        lines.append(f"  subgraph cluster_{number[f'pipeline:{pipeline}']} {{")
        lines.append(f'    label="{_backslashed(pipeline)}";')
        lines += [
            f"    {_dot_node(node, number)}"
            for node in wiring.nodes
            if node.kind == "step" and node.pipeline == pipeline
        ]
        lines.append("  }")
    for edge in wiring.edges:
        label = f' [label="{_backslashed(edge.label)}"]' if edge.label else ""
        lines.append(f"  {number[edge.begin]} -> {number[edge.end]}{label};")
    return "\n".join([*lines, "}"])


def _numbers(wiring: Wiring) -> dict[str, str]:
    """A plain word for each node: names of the configuration are no identifiers there (`end` is a keyword)."""
    return {node.id: f"n{place}" for place, node in enumerate(wiring.nodes)}


def _pipelines_with_steps(wiring: Wiring) -> list[str]:
    return list(dict.fromkeys(node.pipeline for node in wiring.nodes if node.kind == "step"))


def _mermaid_node(node: Node, number: dict[str, str]) -> str:
    left, right = _MERMAID[node.kind]
    detail = f"<br/>{_entities(node.detail)}" if node.detail else ""
    return f'{number[node.id]}{left}"{_entities(node.name)}{detail}"{right}'


def _dot_node(node: Node, number: dict[str, str]) -> str:
    detail = f"\\n{_backslashed(node.detail)}" if node.detail else ""
    label = f"{_backslashed(node.name)}{detail}"
    return f'{number[node.id]} [label="{label}", shape={_DOT[node.kind]}];'


def _entities(text: str) -> str:
    """Text inside a Mermaid label: what Markdown, HTML or Mermaid itself reads becomes `#code;`."""
    return "".join(
        each if each.isalnum() or each in " _.,:=/-%+" else f"#{ord(each)};"
        for each in printable(text)
    )


def _backslashed(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
