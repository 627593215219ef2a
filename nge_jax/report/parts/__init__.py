"""Parts of reports: several runs in a table or on a page, mistakes, what follows a run and what came of it."""
