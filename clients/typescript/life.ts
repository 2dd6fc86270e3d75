// The life of a task with the generated TypeScript client: node dist/life.js ADDRESS USER PASSWORD
import { strict as assert } from "node:assert";

import { Configuration, ModelErrorFromJSON, ResponseError, TaskState, TasksApi } from "./client";

const workerId = "typescript-worker";

async function live(tasks: TasksApi): Promise<void> {
  const { queue, id, ...created } = await tasks.createTask({
    newTask: {
      id: "a/typescript",
      queue: "life-typescript",
      kind: "greet",
      priority: Number.MAX_SAFE_INTEGER, // what is larger, a JavaScript number can not hold
      args: { name: "Ada" },
    },
  });
  assert.equal(created.state, TaskState.Queued);
  assert.equal(created.priority, Number.MAX_SAFE_INTEGER);
  assert.equal(created.lastClaimed, undefined);
  assert.ok(created.runAt instanceof Date);

  const claimed = await tasks.claimTasks({
    workerId,
    claim: { queues: [queue], blockFor: "10s" },
  });
  assert.deepEqual(claimed.map((task) => task.args), [{ name: "Ada" }]);

  const held = { queue, id, workerId };
  const reported = await tasks.reportOnClaimedTask({ ...held, newReport: { data: { percent: 50 } } });
  assert.deepEqual(reported.lastClaimed?.lastReport?.data, { percent: 50 });

  await tasks.markClaimedTaskDone({ ...held, success: { data: { said: "Hello, Ada" } } });
  const done = await tasks.getExistingTask({ queue, id });
  assert.equal(done.state, TaskState.Done);
  assert.deepEqual(done.lastClaimed?.result?.success, { said: "Hello, Ada" });
}

async function refused(tasks: TasksApi, status: number, code: string): Promise<void> {
  const failure = await tasks.getExistingTask({ queue: "life-typescript", id: "nowhere" }).then(
    () => assert.fail("a task that is nowhere was found"),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof ResponseError);
  assert.equal(failure.response.status, status);
  assert.equal(ModelErrorFromJSON(await failure.response.json()).code, code);
}

async function main(): Promise<void> {
  const [basePath, username, password] = process.argv.slice(2);
  const tasks = new TasksApi(new Configuration({ basePath, username, password }));
  await live(tasks);
  await refused(tasks, 404, "task_not_found");
  await refused(new TasksApi(new Configuration({ basePath })), 401, "not_authenticated");
  console.log("typescript: a task lived");
}

void main();
