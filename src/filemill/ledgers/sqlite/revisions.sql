-- name: find_revision
-- The number of the configuration with this digest.
SELECT max(number) FROM revision WHERE digest = ?1;

-- name: add_revision
-- Store a configuration under the next number.
INSERT INTO revision (digest, text, at_ns) VALUES (?1, ?2, ?3);

-- name: revision_text
-- One stored configuration.
SELECT json_group_array(json_array(digest, text)) FROM revision WHERE number = ?1;

-- name: activate
-- Note that a configuration came into force.
INSERT INTO activation (at_ns, revision, how) VALUES (?1, ?2, ?3);

-- name: refuse
-- Remember why the last configuration was not taken.
INSERT OR REPLACE INTO refusal (number, at_ns, why) VALUES (1, ?1, ?2);

-- name: forget_refusal
-- What was refused is of no interest once a configuration is taken.
DELETE FROM refusal;
