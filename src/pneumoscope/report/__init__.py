"""Results as JSON, figures and self-contained HTML pages."""
