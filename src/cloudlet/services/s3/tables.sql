-- Versions of objects; ids grow with time, so that a key's newest version has its greatest id. Times are milliseconds since the epoch.
-- `current`: what a request without a version sees, be it a marker; `version` is 'null' or 32 characters; `about` is the JSON of an About,
-- `checksum` the algorithms and the type of its checksum, for listings: they read nothing but their index.
-- The bytes are those of `content`, or of the parts of `upload`, one after the other.
create table if not exists s3_version (
  id integer primary key, bucket bigint not null, key text not null, version text not null, current integer not null,
  marker integer not null, size bigint not null, etag text not null, modified_ms bigint not null,
  storage_class text not null, owner text not null, content bigint, upload text, mode text not null,
  retain_until_ms bigint not null, legal_hold integer not null, about blob not null, checksum text not null);
create index if not exists s3_version_key on s3_version (bucket, key, id desc);
create unique index if not exists s3_version_current on s3_version (bucket, key) where current = 1;
create index if not exists s3_version_listed on s3_version (bucket, key, size, etag, modified_ms, storage_class, checksum)
  where current = 1 and marker = 0;
create index if not exists s3_version_upload on s3_version (upload) where upload is not null;
-- Archived versions that can be read until then, in seconds since the epoch.
create table if not exists s3_restored (id integer primary key, bucket text not null, until_s bigint not null);
create index if not exists s3_restored_until on s3_restored (until_s);
-- Versions that wait to be copied to other buckets.
create table if not exists s3_replication (id integer primary key, bucket bigint not null);
create index if not exists s3_replication_bucket on s3_replication (bucket, id);
-- Bytes, in the row itself or in a file, and how many versions and parts they are of. `crc64` (CRC-64/NVME) is that of the bytes
-- as they are stored; those with a `nonce` are encrypted with a customer's key. `rotten`: they were another when they were last read.
create table if not exists s3_content (
  id integer primary key, refs bigint not null, size bigint not null, body blob, file text, crc64 blob not null,
  nonce blob, scrubbed_ms bigint not null, rotten integer not null default 0);
create index if not exists s3_content_file on s3_content (file) where file is not null;
create index if not exists s3_content_scrubbed on s3_content (scrubbed_ms) where file is not null;
-- The CRC-64/NVME of each 256 KiB of the files of contents that have more, by which ranges are verified.
create table if not exists s3_blocks (content integer primary key, sums blob not null);
-- Files whose last content has gone; they go once that is on the disk.
create table if not exists s3_garbage (file text primary key);
-- Uploads whose parts nothing needs any more: each may have thousands, which go some at a time.
create table if not exists s3_gone (upload text primary key);
-- Multipart uploads under way, whose ids begin with their time; the parts of a completed one stay, as the parts of its object, and begin
-- at `start` there. `checksum`: the algorithm and type that the client chose, or ''. `crc64`: that of a part's bytes as they were sent.
create table if not exists s3_upload (
  id text primary key, bucket bigint not null, key text not null, initiated_ms bigint not null,
  storage_class text not null, owner text not null, initiator text not null, checksum text not null,
  about blob not null);
create index if not exists s3_upload_key on s3_upload (bucket, key, id);
create table if not exists s3_part (
  upload text not null, number integer not null, size bigint not null, etag text not null, modified_ms bigint not null,
  about blob not null, crc64 blob not null, content bigint not null, start bigint not null, primary key (upload, number));
-- Requests to buckets that have an access log, as lines of it, until they are delivered to where `sink` says (JSON).
create table if not exists s3_access (
  id integer primary key, bucket text not null, sink text not null, at_ms bigint not null, line text not null);
create index if not exists s3_access_sink on s3_access (bucket, sink, id);
-- The ids of versions and contents rise together (`Tx.rising`), and go on from those that SQLite gave.
insert into rising select 's3', coalesce(max(id), 0) from (
  select max(id) as id from s3_version union all select max(id) as id from s3_content) as known
  where true on conflict (name) do nothing;
