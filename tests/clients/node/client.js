// node-postgres (with pg-cursor, pg-copy-streams, pg-query-stream) through Sluice. Prints one line for each check, "ok NAME" or
// "FAIL NAME why"; tests/integration/drivers.py reads them. usage: node client.js HOST PORT [CHECK...], NODE_PATH at the packages
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline: streamed } = require('node:stream/promises');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const QueryStream = require('pg-query-stream');

const PAN = '4111111111111111';
const MASKED = '411111******1111';
const MASKED_BIG = '4111110000011111';
const RAISE = `do $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$`;
const config = { host: process.argv[2], port: Number(process.argv[3]), user: 'postgres', database: 'postgres' };

const code = (promise) => promise.then(() => 'no error', (error) => error.code ?? error.message);

const checks = {
  async simple(client) {
    const results = await client.query('select pan, pan_big from cards where id = 1; select count(*)::int as n from plain');
    assert.deepEqual(results[0].rows, [{ pan: MASKED, pan_big: MASKED_BIG }]);
    assert.deepEqual(results[1].rows, [{ n: 1000 }]);
  },
  async prepared(client) {
    for (const binary of [false, true]) {
      for (let i = 0; i < 8; i++) {
        const query = { name: `card ${binary}`, text: 'select pan, pan_big from cards where id = $1', values: [1], binary };
        const { rows } = await client.query(query);
        assert.equal(rows[0].pan, MASKED);
        if (!binary) assert.equal(rows[0].pan_big, MASKED_BIG); // this driver misreads binary integers of this size, directly too
      }
    }
    const { rows } = await client.query('select pan_texts, pan_jsonb, pan_bytes from cards where id = $1', [1]);
    assert.deepEqual(rows[0].pan_texts, [MASKED, 'x']);
    assert.equal(rows[0].pan_bytes.toString(), MASKED);
    assert.equal(String(rows[0].pan_jsonb.pan), MASKED_BIG);
  },
  async blocked(client) {
    await assert.rejects(client.query('truncate plain'), (error) => error.code === '42501' && error.message.includes('no-truncate'));
    assert.equal(await code(client.query({ text: 'truncate plain', values: [], name: 'gone' })), '42501');
    assert.equal((await client.query('select count(*)::int as n from plain')).rows[0].n, 1000);
  },
  async blocked_in_transaction(client) {
    await client.query('begin');
    assert.equal(await code(client.query('truncate plain')), '42501');
    assert.equal(await code(client.query('select 1')), '25P02');
    await client.query('rollback');
    assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  },
  async copy_text(client) {
    await client.query('create temp table copied (i int, pan text)');
    const lines = Array.from({ length: 2000 }, (_, i) => `${i}\t${PAN}\n`);
    await streamed(Readable.from(lines), client.query(copy.from('copy copied from stdin')));
    const chunks = [];
    for await (const chunk of client.query(copy.to('copy copied to stdout'))) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    assert.equal(text.split(MASKED).length - 1, 2000);
    assert.ok(!text.includes(PAN));
  },
  async copy_binary(client) {
    await client.query('create temp table copied_binary as select i, $1::text as pan from generate_series(1, 2000) i', [PAN]);
    const chunks = [];
    for await (const chunk of client.query(copy.to('copy copied_binary to stdout binary'))) chunks.push(chunk);
    const data = Buffer.concat(chunks);
    assert.ok(data.includes(MASKED) && !data.includes(PAN));
    await client.query('create temp table back (i int, pan text)');
    const whole = Buffer.from(data.toString('latin1').replaceAll(MASKED, PAN), 'latin1');  // masked numbers are not written back
    await streamed(Readable.from([whole]), client.query(copy.from('copy back from stdin binary')));
    assert.equal((await client.query("select count(*)::int as n from back where pan = '41111111' || '11111111'")).rows[0].n, 2000);
  },
  async pipeline(client) {
    // The driver queues on its own and sends one query at a time: what is tested is that nothing is mixed up.
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.query('select $1::int as i', [i])));
    answers.forEach((answer, i) => assert.equal(answer.rows[0].i, i));
    const mixed = await Promise.allSettled([client.query('select 1 as i'), client.query('truncate plain'), client.query('select 3 as i')]);
    assert.deepEqual(mixed.map((one) => one.value?.rows[0].i ?? one.reason.code), [1, '42501', 3]);
  },
  async pipelined() {
    const client = new Client({ ...config, pipeline: true });
    await client.connect();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.query('select $1::int as i, pan from cards where id = 1', [i])));
    answers.forEach((answer, i) => assert.deepEqual(answer.rows, [{ i, pan: MASKED }]));
    const mixed = await Promise.allSettled([client.query('select 1 as i'), client.query('truncate plain'), client.query('select 3 as i')]);
    assert.deepEqual(mixed.map((one) => one.value?.rows[0].i ?? one.reason.code), [1, '42501', 3]);
    await client.end();
  },
  async cursor(client) {
    const cursor = client.query(new Cursor('select pan from cards order by id'));
    assert.deepEqual((await cursor.read(2)).map((row) => row.pan), [MASKED, '555555******4444']);
    assert.equal((await cursor.read(100)).length, 4);
    await cursor.close();
    let count = 0;
    for await (const row of client.query(new QueryStream('select id, note from plain order by id', [], { batchSize: 7 }))) {
      assert.equal(row.note, `note ${row.id}`);
      count++;
    }
    assert.equal(count, 1000);
  },
  async cancel(client) {
    const sleeping = code(client.query('select pg_sleep(30)'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    new Client(config).cancel(client, client.activeQuery);
    assert.equal(await sleeping, '57014');
    assert.equal((await client.query('select 1 as one')).rows[0].one, 1);
  },
  async notifications(client) {
    await client.query('listen node');
    const notified = once(client, 'notification');
    await client.query("select pg_notify('node', '41111111' || '11111111')");
    const [notification] = await notified;
    assert.equal(notification.payload, MASKED);
  },
  async large_object(client) {
    const data = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => i % 251));
    const { oid } = (await client.query('select lo_from_bytea(0, $1) as oid', [data])).rows[0];
    assert.ok((await client.query('select lo_get($1) as data', [oid])).rows[0].data.equals(data));
    await client.query('select lo_unlink($1)', [oid]);
  },
  async errors(client) {
    const notices = [];
    client.on('notice', (notice) => notices.push(notice.message));
    const error = await client.query(RAISE).catch((raised) => raised);
    assert.equal(error.message, `declined ${MASKED}`);
    assert.equal(error.detail, 'number 555555******4444');
    assert.deepEqual(notices, [`card ${MASKED}`]);
    assert.equal(await code(client.query('select 1/0')), '22012');
  },
  async pool() {
    const pool = new Pool({ ...config, max: 8 });
    const answers = await Promise.all(Array.from({ length: 400 }, (_, i) => pool.query('select note from plain where id = $1', [i + 1])));
    answers.forEach((answer, i) => assert.equal(answer.rows[0].note, `note ${i + 1}`));
    await pool.end();
  },
};

async function main() {
  const wanted = process.argv.slice(4);
  for (const [name, run] of Object.entries(checks)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const client = new Client(config);
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error('not within 60 s')), 60_000).unref());
    try {
      await client.connect();
      await Promise.race([run(client), late]);
      await client.end();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAIL ${name} ${String(error.stack).replaceAll('\n', ' ').slice(0, 600)}`);
      client.end().catch(() => {});
    }
  }
  process.exit(0);
}
main();
