"""What can be seen in the data and in item rows: sections of their own, each made of a finished study (``Study.more``)."""
