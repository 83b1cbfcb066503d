"""The answer: what MLflow holds, as tables, figures and a page. Never torch, never the outbox."""
