-- Dump of an index of format 2: three float16 records with a note, the second deleted.
PRAGMA journal_mode = wal;
PRAGMA application_id = 1768777587;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE dead (
    number INTEGER PRIMARY KEY,
    row INTEGER NOT NULL
);
INSERT INTO "dead" VALUES(1,1);
CREATE TABLE fields (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    value NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (name, kind, value, row)
) WITHOUT ROWID;
INSERT INTO "fields" VALUES('sold','b',1,2);
INSERT INTO "fields" VALUES('stock','n',0,0);
INSERT INTO "fields" VALUES('stock','n',1,1);
INSERT INTO "fields" VALUES('stock','n',2.5,2);
INSERT INTO "fields" VALUES('tags','e','a',0);
INSERT INTO "fields" VALUES('tags','e','b',0);
INSERT INTO "fields" VALUES('tags','x','',0);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "notes" VALUES('calibration','{"threshold": 0.5}');
CREATE TABLE records (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    uri TEXT NOT NULL,
    digest TEXT NOT NULL,
    metadata TEXT NOT NULL
);
INSERT INTO "records" VALUES(0,'id-00000','/photos/id-00000.jpg','','{"stock":0,"tags":["a","b"]}');
INSERT INTO "records" VALUES(2,'id-00002','/photos/id-00002.jpg','','{"stock":2.5,"sold":true}');
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    meta TEXT NOT NULL,
    generation INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    live INTEGER NOT NULL,
    version INTEGER NOT NULL,
    dtype TEXT NOT NULL DEFAULT 'float32'
);
INSERT INTO "state" VALUES(1,'{"metric": "cosine", "projection": null, "embedding": {"name": "conformance", "dim": 4, "normalised": false, "fingerprint": "first", "decode_size": null, "kind": null, "options": {}}}',1,3,2,3,'float16');
COMMIT;
