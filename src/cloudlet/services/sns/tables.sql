-- What was published to FIFO topics in the last five minutes (`until`: epoch seconds), and their last sequence number.
create table if not exists sns_dedup (
  topic text not null, token text not null, message_id text not null, sequence text not null, until double precision not null,
  primary key (topic, token)) without rowid;
create index if not exists sns_dedup_until on sns_dedup (topic, until);
create table if not exists sns_sequence (topic text primary key, last bigint not null);
-- What is still to be delivered to subscribers, and from when; and from when each of them has something to be delivered
-- (no earlier than its rows, or than it wants), and in which lane it waits for its turn. Times are epoch seconds; `kind` is the message's
-- type, `raw` whether it has no envelope, `at` when it was published; an `id` is never used again.
create table if not exists sns_pending (
  id integer primary key autoincrement, subscription text not null, due double precision not null, attempts integer not null,
  at double precision not null, kind text not null, raw integer not null, message_id text not null,
  request_id text not null, body text not null);
create index if not exists sns_pending_due on sns_pending (subscription, due, id);
create table if not exists sns_lane (
  subscription text primary key, lane text not null, due double precision not null,
  pause_until double precision not null default 0) without rowid;
create index if not exists sns_lane_due on sns_lane (lane, due);
-- Of which subscriptions nothing up to an id is to be delivered any more.
create table if not exists sns_forgotten (subscription text primary key, last bigint not null) without rowid;
-- Lines of delivery status logs that are not in CloudWatch Logs yet.
create table if not exists sns_status (
  id integer primary key, topic text not null, role text not null, failed integer not null, at double precision not null,
  line text not null);
create index if not exists sns_status_topic on sns_status (topic, id);
-- What was published to topics that keep an archive (`message`: in MessagePack), and after which of it the replay of a
-- subscription goes on, until when.
create table if not exists sns_archive (
  id integer primary key autoincrement, topic text not null, at double precision not null, endpoint text not null,
  message blob not null);
create index if not exists sns_archive_topic on sns_archive (topic, id);
create index if not exists sns_archive_at on sns_archive (topic, at, id);
create table if not exists sns_replay (
  subscription text primary key, last bigint not null, until double precision) without rowid;
-- The mailbox: mail and text messages, the newest thousand.
create table if not exists sns_mail (
  id integer primary key, at double precision not null, protocol text not null, recipient text not null,
  sender text not null, subject text not null, text text not null);
