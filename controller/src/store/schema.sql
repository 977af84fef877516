-- The study of this directory. One row.
CREATE TABLE study (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    -- Names this directory to devices; it outlives the study.
    controller TEXT NOT NULL,
    -- What is measured, as JSON; NULL until a study begins.
    definition TEXT,
    -- Whether nothing is left to do.
    finished INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Files that were made, by what they were made from.
CREATE TABLE variants (
    key BLOB PRIMARY KEY,
    digest BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    -- What the passes did, as JSON; NULL where an earlier version made the file.
    making TEXT
) STRICT;

-- Devices that took part, as they described themselves when their jobs were made.
CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    description BLOB NOT NULL
) STRICT;

-- Jobs in the order in which they were made, and how each ended.
CREATE TABLE jobs (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    device TEXT NOT NULL REFERENCES devices (id),
    batch TEXT NOT NULL,
    seed BLOB NOT NULL,
    job BLOB NOT NULL,
    outcome BLOB
) STRICT;

-- Devices, runtimes and variants that came to nothing before there was a job.
CREATE TABLE failures (
    position INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    variant TEXT NOT NULL,
    runtime TEXT NOT NULL,
    stage TEXT NOT NULL,
    error TEXT NOT NULL
) STRICT;
