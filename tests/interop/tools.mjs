// What another team does with a BullMQ queue: `node tools.mjs WHAT REDIS_URL QUEUE`; one JSON document on standard output.
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { Queue, Worker } from 'bullmq';

const [what, url, name] = process.argv.slice(2);
const connection = { url, maxRetriesPerRequest: null };
const say = (document) => process.stdout.write(JSON.stringify(document) + '\n');

const doings = {
  async work() {
    const done = await new Promise((resolve, reject) => {
      const worker = new Worker(name, async (job) => ({ id: job.id, name: job.name, data: job.data }), { connection });
      worker.on('completed', async (job, result) => { await worker.close(); resolve(result); });
      worker.on('failed', (job, error) => reject(error));
    });
    say(done);
  },
  async board() {
    const queue = new Queue(name, { connection });
    const adapter = new BullMQAdapter(queue);
    const jobs = await adapter.getJobs(['waiting'], 0, 10);
    say({ counts: await adapter.getJobCounts(), jobs: jobs.map((job) => ({ name: job.name, data: job.data })) });
    await queue.close();
  },
  async ring() {
    const queue = new Queue(name, { connection });
    say({ id: (await queue.add('anything', { from: 'node' })).id });
    await queue.close();
  },
};

await doings[what]();
