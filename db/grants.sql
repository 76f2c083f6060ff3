-- Two PostgreSQL roles: the owner, who runs `recorder db upgrade`, and the daemon's own, which cannot change or remove
-- what is append-only. Run as the owner, after each upgrade:
--
--     psql -v app=recorder_app -f grants.sql recorder
--
-- The roles are made once, as an administrator: CREATE ROLE recorder_owner LOGIN; CREATE ROLE recorder_app LOGIN;
-- CREATE DATABASE recorder OWNER recorder_owner;

\set ON_ERROR_STOP on
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"app";
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"app";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO :"app";
GRANT SELECT ON alembic_version TO :"app";
GRANT SELECT, INSERT ON prompts, consent_events, audit, call_events, file_acts, chain, numbers, policies, user_acts, sign_ins, release_acts, listens, contests, comments TO :"app";
GRANT SELECT, INSERT, UPDATE ON calls, legs, recordings, waveforms, bookmarks, sweeps, passwords, sessions, tokens TO :"app";
GRANT SELECT, INSERT, UPDATE, DELETE ON kept_answers TO :"app";
GRANT SELECT, INSERT, DELETE ON saved_searches TO :"app"; -- people remove their own
COMMIT;
