"""The drawings of the HTML report, one kind a file; each takes rows and gives SVG."""
