-- Streams, and their events in chunks (chunks.py): what one call appended, or several, compressed. Times are milliseconds since the epoch.
-- A stream is known by a random id; a chunk spans at most an hour, so that a range of time bounds the chunks to look at.
create table if not exists logs_stream (
  id bigint primary key, log_group bigint not null, name text not null, created_ms bigint not null,
  first_ms bigint, last_ms bigint, ingested_ms bigint, next_seq bigint not null, stored_bytes bigint not null,
  unique (log_group, name));
create index if not exists logs_stream_last on logs_stream (log_group, last_ms, name);
create table if not exists logs_chunk (
  stream bigint not null, seq bigint not null, log_group bigint not null, first_ms bigint not null,
  last_ms bigint not null, ingested_ms bigint not null, stored_bytes bigint not null, body blob not null,
  primary key (stream, seq));
create index if not exists logs_chunk_stream_first on logs_chunk (stream, first_ms, last_ms);
create index if not exists logs_chunk_stream_last on logs_chunk (stream, last_ms, first_ms);
create index if not exists logs_chunk_group_first on logs_chunk (log_group, first_ms, last_ms);
create index if not exists logs_chunk_group_last on logs_chunk (log_group, last_ms, first_ms);
-- The rows of Insights queries that are complete, so many to a part, compressed.
create table if not exists logs_result (
  query text not null, part bigint not null, body blob not null, primary key (query, part));
