"""Programs that show how Tasques is used."""
