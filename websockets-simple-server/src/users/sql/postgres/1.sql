-- Tokens, of which only the SHA-256 is kept.
CREATE TABLE websockets_simple_tokens (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      TEXT NOT NULL,
    hash         BYTEA NOT NULL UNIQUE,
    scopes       TEXT NOT NULL, -- separated by blanks
    label        TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    revocation   BIGINT UNIQUE -- the number of the revocation
);

CREATE INDEX websockets_simple_tokens_of_user ON websockets_simple_tokens (user_id);

-- How many revocations there have been. One row. A transaction that revokes locks the row until it commits, so numbers
-- become visible in order: a reader that has seen one has seen all before it. A sequence does not guarantee that.
CREATE TABLE websockets_simple_revocations (number BIGINT NOT NULL);

INSERT INTO websockets_simple_revocations VALUES (0);

-- Triggers, so that a revocation by plain SQL is noticed like any other.
CREATE FUNCTION websockets_simple_before_revoke() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    -- Before any token is locked: two transactions that revoke the same tokens cannot deadlock.
    PERFORM number FROM websockets_simple_revocations FOR UPDATE;
    RETURN NULL;
END
$$;

CREATE TRIGGER websockets_simple_before_revoke
BEFORE UPDATE OF revoked_at ON websockets_simple_tokens
FOR EACH STATEMENT EXECUTE FUNCTION websockets_simple_before_revoke();

CREATE FUNCTION websockets_simple_revoke() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE websockets_simple_revocations SET number = number + 1 RETURNING number INTO NEW.revocation;
    PERFORM pg_notify('websockets_simple_revocations', '');
    RETURN NEW;
END
$$;

CREATE TRIGGER websockets_simple_revoke
BEFORE UPDATE OF revoked_at ON websockets_simple_tokens
FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
EXECUTE FUNCTION websockets_simple_revoke();
