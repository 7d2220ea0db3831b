//! The page says what was found, whoever wrote the words in it, and holds nothing that runs or loads.
