"""The Beam pipelines: sources, the graph, the block writer, the command."""
