-- Tokens, of which only the SHA-256 is kept. Times are RFC 3339, in UTC.
CREATE TABLE websockets_simple_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- AUTOINCREMENT: no number is ever used twice
    user_id      TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    scopes       TEXT NOT NULL, -- separated by blanks
    label        TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,
    revoked_at   TEXT,
    revocation   INTEGER UNIQUE -- the number of the revocation
);

CREATE INDEX websockets_simple_tokens_of_user ON websockets_simple_tokens (user_id);

-- How many revocations there have been. One row.
CREATE TABLE websockets_simple_revocations (number INTEGER NOT NULL);

INSERT INTO websockets_simple_revocations VALUES (0);

-- A trigger, so that a revocation by plain SQL is noticed like any other.
CREATE TRIGGER websockets_simple_revoke
AFTER UPDATE OF revoked_at ON websockets_simple_tokens
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
BEGIN
    UPDATE websockets_simple_revocations SET number = number + 1;
    UPDATE websockets_simple_tokens
    SET revocation = (SELECT number FROM websockets_simple_revocations)
    WHERE id = NEW.id;
END;
