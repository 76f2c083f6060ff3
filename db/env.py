"""Alembic's entry: runs the migrations in the transaction of the connection that recorder.catalogue hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    render_as_batch=True,
)
context.run_migrations()
