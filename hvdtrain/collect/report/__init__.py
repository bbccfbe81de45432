"""The report: one page of HTML that needs nothing else, from typed pages through templates."""
