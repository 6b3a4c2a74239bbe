-- Holds the number until the change that has it is here. An index, because a migration that is run twice must fail.
CREATE INDEX number_six ON meta (value);
