"""How load is issued and measured; the only room that knows LoadGen."""
