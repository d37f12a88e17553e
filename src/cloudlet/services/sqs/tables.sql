-- Messages of queues. Times are milliseconds since the epoch. A message's id grows with the time of its arrival.
-- What never changes of it is in sqs_body, so that a receive rewrites little. `visible_ms`: from when it can be
-- received; `taken_ms`: when it was received last.
create table if not exists sqs_message (
  id integer primary key, store bigint not null, grp text, visible_ms bigint not null, receives integer not null,
  first_received_ms bigint not null, taken_ms bigint not null, sent_ms bigint not null);
create index if not exists sqs_message_visible on sqs_message (store, visible_ms, id, receives);
create index if not exists sqs_message_group on sqs_message (store, grp, id) where grp is not null;
drop index if exists sqs_message_in_flight;
create table if not exists sqs_body (id integer primary key, message_id text not null, body text not null, about blob not null);
-- The id that was given last, until they came from the store.
create table if not exists sqs_newest (one integer primary key, id bigint not null);
insert or ignore into rising select 'sqs.message', id from sqs_newest;
drop table sqs_newest;
-- How many messages are stored under a number; numbers are never given twice.
create table if not exists sqs_store (id integer primary key autoincrement, messages bigint not null);
-- How many more may be taken of large queues before those in flight are to be counted anew.
create table if not exists sqs_room (store bigint primary key, room bigint not null) without rowid;
-- How many messages of large queues could not be received when they were counted last, and how many of them somebody had.
create table if not exists sqs_count (
  store bigint primary key, at_ms bigint not null, hidden bigint not null, flying bigint not null) without rowid;
-- Message groups that have messages: from when the first of them can be received.
create table if not exists sqs_group (
  store bigint not null, grp text not null, ready_ms bigint not null, primary key (store, grp)) without rowid;
create index if not exists sqs_group_ready on sqs_group (store, ready_ms);
-- Message groups of standard queues that have messages, which are stored under the negative id: from when the first can
-- be received, how many are in flight, how many were on average lately, and when that was so. `queue` is what the
-- queue's other messages are stored under; its row without a group says what is in flight of all.
create table if not exists sqs_tenant (
  id integer primary key autoincrement, queue bigint not null, grp text not null, noisy integer not null,
  head_ms bigint, flying bigint not null, recent real not null, seen_ms bigint not null);
create unique index if not exists sqs_tenant_group on sqs_tenant (queue, grp);
create index if not exists sqs_tenant_head on sqs_tenant (queue, noisy, head_ms);
-- What was sent to FIFO queues in the last five minutes, and what a receive was answered.
create table if not exists sqs_dedup (
  queue bigint not null, token text not null, id bigint not null, message_id text not null, until_ms bigint not null,
  primary key (queue, token)) without rowid;
create index if not exists sqs_dedup_until on sqs_dedup (until_ms);
create table if not exists sqs_attempt (
  queue bigint not null, attempt text not null, taken blob not null, until_ms bigint not null,
  primary key (queue, attempt)) without rowid;
create index if not exists sqs_attempt_until on sqs_attempt (until_ms);
