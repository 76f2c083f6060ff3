"""What SQLite and PostgreSQL are asked differently.

Owns those expressions; must not run one. The invariant: a list that cannot be read holds nothing, and breaks no query.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Float, String, case, func, literal, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

A_DAY: Final = 86400
MILLISECONDS: Final = 3  # what SQLite's own days tell apart, in places behind the point


def holds(dialect: str, column: Column[Any], word: str) -> ColumnElement[bool]:
    """Whether the JSON list in `column` has `word` in it."""
    if dialect == "postgresql":
        return type_coerce(column, JSONB()).contains([word])
    texts = type_coerce(column, String())
    readable = case((func.json_valid(texts) == 1, texts), else_=literal_column("'[]'"))
    each = func.json_each(readable).table_valued("value")
    return literal(word, String()).in_(select(each.c.value))


def seconds_between(dialect: str, began: Column[Any], ended: Column[Any]) -> ColumnElement[Any]:
    """How long it was from one to the other, in seconds; NULL where one of them is not known."""
    if dialect == "postgresql":
        return func.extract("epoch", ended - began)
    days = func.julianday(ended, type_=Float()) - func.julianday(began, type_=Float())
    return func.round(days * A_DAY, MILLISECONDS, type_=Float())


class NotLookedUp(FunctionElement[str]):
    """A column that SQLite looks up no index for.

    It knows nothing of how values are spread: any index that begins with the node it took for a narrow one, and read
    every call there was to find one leg among them. So it did with the status that nearly every recording has.
    PostgreSQL counts how they are spread, and is left to it.
    """

    inherit_cache = True

    def __init__(self, column: Column[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(NotLookedUp)
def _as_it_is(element: NotLookedUp, compiler: SQLCompiler, **how: Any) -> str:
    return compiler.process(element.clauses, **how)


@compiles(NotLookedUp, "sqlite")
def _past_the_index(element: NotLookedUp, compiler: SQLCompiler, **how: Any) -> str:
    return f"+{compiler.process(element.clauses, **how)}"
