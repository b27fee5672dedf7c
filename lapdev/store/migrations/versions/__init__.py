"""One file per migration, in order; a published one is never edited."""
