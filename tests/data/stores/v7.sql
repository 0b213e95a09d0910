-- A store of schema version 7, as its berth left it.
BEGIN TRANSACTION;
CREATE TABLE bindings(
  session INTEGER NOT NULL, agent TEXT NOT NULL, state INTEGER NOT NULL,
  native_session_id TEXT NOT NULL, attach_epoch INTEGER NOT NULL,
  continuation_owed INTEGER NOT NULL, agent_info TEXT NOT NULL, mode TEXT NOT NULL,
  config TEXT NOT NULL, pid INTEGER NOT NULL, start_time INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, native_history TEXT NOT NULL DEFAULT '', told_turn INTEGER NOT NULL DEFAULT 0, failure TEXT NOT NULL DEFAULT '', usage TEXT NOT NULL DEFAULT '', PRIMARY KEY(session, agent)) STRICT, WITHOUT ROWID;
INSERT INTO "bindings" VALUES(1,'one',0,'native_session_id of bindings',1,1,'agent_info of bindings','mode of bindings','config of bindings',1,1,1,'native_history of bindings',1,'failure of bindings','usage of bindings');
CREATE TABLE changes(
  session INTEGER PRIMARY KEY, turn_number INTEGER NOT NULL, base TEXT NOT NULL,
  tree TEXT NOT NULL, summary TEXT NOT NULL, outcome TEXT NOT NULL,
  recorded_ms INTEGER NOT NULL, touched TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "changes" VALUES(1,1,'base of changes','tree of changes','summary of changes','outcome of changes',1,'touched of changes');
CREATE TABLE events(
  session INTEGER NOT NULL, first_seq INTEGER NOT NULL, count INTEGER NOT NULL,
  frames BLOB NOT NULL) STRICT;
INSERT INTO "events" VALUES(1,1,2,X'69643A20310A6576656E743A206167656E742E7570646174650A646174613A207B22736571223A317D0A0A69643A20320A6576656E743A206167656E742E7570646174650A646174613A207B22736571223A327D0A0A');
INSERT INTO "events" VALUES(1,3,1,X'69643A20330A6576656E743A206167656E742E7570646174650A646174613A207B22736571223A337D0A0A');
CREATE TABLE interactions(
  session INTEGER NOT NULL, id TEXT NOT NULL, turn TEXT NOT NULL, kind TEXT NOT NULL,
  payload TEXT NOT NULL, state INTEGER NOT NULL, answer TEXT NOT NULL,
  answered_by TEXT NOT NULL, opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, agent TEXT NOT NULL DEFAULT '', child TEXT NOT NULL DEFAULT '', expires_ms INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "interactions" VALUES(1,'int_1','turn of interactions','kind of interactions','payload of interactions',0,'answer of interactions','answered_by of interactions',1,1,'agent of interactions','child of interactions',1);
CREATE TABLE log_cuts(
  session INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, first_turn INTEGER NOT NULL,
  head TEXT NOT NULL, cut_ms INTEGER NOT NULL, erased INTEGER NOT NULL) STRICT;
INSERT INTO "log_cuts" VALUES(1,2,1,'head of log_cuts',1,1);
CREATE TABLE owner(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  epoch INTEGER NOT NULL,
  last_session_no INTEGER NOT NULL, log_salt INTEGER NOT NULL DEFAULT 0, log_folded INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "owner" VALUES(1,7,1,4711,0);
CREATE TABLE sessions(
  no INTEGER PRIMARY KEY,
  project TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL,
  title TEXT NOT NULL, agent TEXT NOT NULL, permission TEXT NOT NULL,
  workspace_mode TEXT NOT NULL, repository TEXT NOT NULL, directory TEXT NOT NULL,
  branch TEXT NOT NULL, base_commit TEXT NOT NULL, base_tree TEXT NOT NULL,
  options TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
  workspace_ready INTEGER NOT NULL, held INTEGER NOT NULL, rules TEXT NOT NULL DEFAULT '', mcp_servers TEXT NOT NULL DEFAULT '', additional_directories TEXT NOT NULL DEFAULT '', client_state TEXT NOT NULL DEFAULT '', client_state_version INTEGER NOT NULL DEFAULT 0, idempotency_key TEXT NOT NULL DEFAULT '', body_hash TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "sessions" VALUES(1,'default','old','key of sessions',0,'title of sessions','agent of sessions','permission of sessions','workspace_mode of sessions','repository of sessions','directory of sessions','branch of sessions','base_commit of sessions','base_tree of sessions','options of sessions',1,1,1,0,'rules of sessions','mcp_servers of sessions','additional_directories of sessions','',0,'','');
CREATE TABLE tokens(
  id TEXT PRIMARY KEY, name TEXT NOT NULL, project TEXT NOT NULL, scopes TEXT NOT NULL,
  hash TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  last_used_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "tokens" VALUES('tok_1','name of tokens','project of tokens','scopes of tokens','hash of tokens',1,1,1,1);
CREATE TABLE turns(
  session INTEGER NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, state INTEGER NOT NULL,
  agent TEXT NOT NULL, prompt TEXT NOT NULL, idempotency_key TEXT NOT NULL,
  body_hash TEXT NOT NULL, reason TEXT NOT NULL, usage TEXT NOT NULL, snapshot TEXT NOT NULL,
  started_seq INTEGER NOT NULL, created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,
  ended_ms INTEGER NOT NULL, snapshot_before TEXT NOT NULL DEFAULT '', traceparent TEXT NOT NULL DEFAULT '', tracestate TEXT NOT NULL DEFAULT '', trace_parent TEXT NOT NULL DEFAULT '', timeout_ms INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "turns" VALUES(1,1,'trn_1',5,'agent of turns','prompt of turns','','body_hash of turns','reason of turns','usage of turns','snapshot of turns',1,1,1,1,'snapshot_before of turns','','','',1);
INSERT INTO "turns" VALUES(1,2,'trn_2',2,'agent of turns','prompt of turns','k','body_hash of turns','reason of turns','usage of turns','snapshot of turns',1,1,1,1,'snapshot_before of turns','','','',1);
CREATE UNIQUE INDEX sessions_by_id ON sessions(project, id);
CREATE INDEX sessions_by_no ON sessions(project, no);
CREATE UNIQUE INDEX events_by_seq ON events(session, first_seq);
CREATE UNIQUE INDEX turns_by_number ON turns(session, number);
CREATE INDEX turns_by_id ON turns(session, id);
CREATE INDEX turns_by_key ON turns(session, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX turns_open ON turns(session, number) WHERE state < 5;
CREATE INDEX bindings_live ON bindings(session) WHERE state = 1;
CREATE UNIQUE INDEX interactions_by_id ON interactions(session, id);
CREATE INDEX interactions_open ON interactions(session, id) WHERE state = 0;
CREATE INDEX sessions_ending ON sessions(no) WHERE state > 3;
CREATE INDEX sessions_by_key ON sessions(project, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX log_cuts_to_erase ON log_cuts(session) WHERE erased = 0;
COMMIT;
PRAGMA application_id=1651668072;
PRAGMA user_version=7;
