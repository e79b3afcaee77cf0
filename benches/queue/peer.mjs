// graphile-worker on the same database: jobs that do nothing, in the two ways it is used. Prints one line of JSON.
//   node peer.mjs DATABASE_URL [JOBS] [SLOTS]
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const [url, jobs = "100000", slots = "24"] = process.argv.slice(2);
const logger = new Logger(() => (level, message) => level === "error" && console.error(message));

const pool = new pg.Pool({ connectionString: url, max: 4 });
pool.on("error", console.error);
pool.on("connect", (client) => client.on("error", console.error));
const utils = await makeWorkerUtils({ pgPool: pool, logger });
await utils.migrate();

const enqueue = async (count) => {
  const begun = performance.now();
  for (let first = 0; first < count; first += 1000) {
    await pool.query(
      `select count(*) from graphile_worker.add_jobs((select array_agg(('noop', '{}'::json, null, null, null, null, null, null)::graphile_worker.job_spec)
        from generate_series(1, $1::int)))`,
      [Math.min(1000, count - first)],
    );
  }
  return (count / (performance.now() - begun)) * 1000;
};

// How many a second are done, from the start of the worker until the table is empty. The table's statistics are as they should be:
// what has just been filled, and was empty when the server looked last, takes half as long again or longer.
const drain = async (count, preset) => {
  await pool.query("vacuum analyze");
  let done = 0;
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const begun = performance.now();
  const runner = await run({
    connectionString: url,
    concurrency: Number(slots),
    noHandleSignals: true,
    logger,
    preset,
    taskList: {
      noop: async () => {
        done += 1;
        if (done === count) finish();
      },
    },
  });
  await finished;
  for (;;) {
    const { rows } = await pool.query("select exists (select 1 from graphile_worker._private_jobs) as some");
    if (!rows[0].some) break;
  }
  const seconds = (performance.now() - begun) / 1000;
  await runner.stop();
  return count / seconds;
};

const count = Number(jobs);
const enqueue_per_s = await enqueue(count);
const plain_jobs_per_s = await drain(count, {});
// The best of three, each as on a fresh database: without what was left in the table before.
let fastest_jobs_per_s = 0;
for (let time = 0; time < 3; time += 1) {
  await pool.query("vacuum full graphile_worker._private_jobs");
  await enqueue(count);
  const fastest = { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };
  fastest_jobs_per_s = Math.max(fastest_jobs_per_s, await drain(count, fastest));
}
const round = (number) => Math.round(number);
console.log(
  JSON.stringify({
    peer: "graphile-worker",
    jobs: count,
    slots: Number(slots),
    enqueue_per_s: round(enqueue_per_s),
    plain_jobs_per_s: round(plain_jobs_per_s),
    fastest_jobs_per_s: round(fastest_jobs_per_s),
  }),
);
await utils.release();
await pool.end();
