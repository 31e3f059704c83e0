-- The layout of a history. Everything here can be read with the sqlite3 tool;
-- begin with: SELECT * FROM log;

CREATE TABLE rooms (
  no    INTEGER NOT NULL PRIMARY KEY,  -- from 1, in the order in which rooms were first opened
  name  TEXT    NOT NULL,
  clock INTEGER NOT NULL,              -- Lamport time of the last step, refusals included
  seq   INTEGER NOT NULL,              -- number of the last event that the whole room sees
  floor INTEGER NOT NULL DEFAULT 0     -- Lamport time up to which events may have been removed
) STRICT;

CREATE TABLE members (
  room      INTEGER NOT NULL,          -- rooms.no
  key       INTEGER NOT NULL,          -- who it is; nobody else ever gets it
  id        INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  secret    BLOB,                      -- a digest, never the secret itself
  joined    INTEGER NOT NULL,          -- the room's Lamport time
  last_sent INTEGER NOT NULL,          -- its own Lamport time of its last send
  parted    INTEGER,                   -- the room's Lamport time when it left; NULL: it is in the room
  PRIMARY KEY (room, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  room         INTEGER NOT NULL,       -- rooms.no
  time         INTEGER NOT NULL,       -- Lamport time, unique in the room
  seq          INTEGER NOT NULL,       -- 1, 2, 3 … among those that the whole room sees; else 0
  kind         TEXT    NOT NULL,       -- join, message, leave or refusal
  sender_id    INTEGER NOT NULL,       -- 0: the server
  sender       TEXT    NOT NULL,
  text         TEXT    NOT NULL,
  sent         INTEGER NOT NULL,       -- the sender's own Lamport time; 0: nothing was sent
  wall_ms      INTEGER NOT NULL,       -- milliseconds since 1970 by the server's clock on the wall
  recipient    TEXT,                   -- of a private message
  seen_by      INTEGER,                -- members.key of the one who sees it; NULL: the whole room
  also_seen_by INTEGER,                -- and of the other one, if two do
  PRIMARY KEY (room, time)
) STRICT, WITHOUT ROWID;

-- One index for each way to be in an audience: a page costs what is on it,
-- however many events that others see lie between.
CREATE INDEX events_of_room ON events (room, time) WHERE seen_by IS NULL;
CREATE INDEX events_of_one ON events (room, seen_by, time) WHERE seen_by IS NOT NULL;
CREATE INDEX events_of_other ON events (room, also_seen_by, time) WHERE also_seen_by IS NOT NULL;

CREATE VIEW log AS
  SELECT
    rooms.name AS room,
    events.time AS L,
    events.seq,
    events.kind,
    events.sender,
    events.recipient,
    events.text,
    strftime('%Y-%m-%d %H:%M:%f', events.wall_ms / 1000.0, 'unixepoch') AS utc
  FROM events JOIN rooms ON rooms.no = events.room
  ORDER BY events.room, events.time;
