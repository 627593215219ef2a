"""How values look in lines, tables and pages."""
