"""Composition roots: settings become components, components become roles, roles start and stop."""
