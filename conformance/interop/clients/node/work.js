// What users of node-zookeeper-client do: every operation, watches, transactions, and a session that outlives the leader.
//
//     node work.js HOST:PORT,HOST:PORT,…
//
// The program prints "ready" when its first half is done, waits for a line on its standard input while the test kills the
// leader, goes on with the same session, and prints "done". It exits with 1 and a sentence at the first wrong answer.
'use strict';

const assert = require('assert');
const zookeeper = require('node-zookeeper-client');

const PATIENCE = 30000;
const { CreateMode, Event, Exception } = zookeeper;

// A call with a callback as a promise; several results come as an array.
function ask(client, name, ...args) {
  return new Promise((resolve, reject) => {
    client[name](...args, (error, ...results) => (error ? reject(error) : resolve(results.length > 1 ? results : results[0])));
  });
}

async function refused(code, promise, what) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(error.getCode && error.getCode(), code, `${what}: ${error}`);
    return;
  }
  assert.fail(`${what} was not refused`);
}

// A watcher and the promise of its event.
function watcher(what) {
  let tell;
  const event = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the watch never told ${what}`)), PATIENCE);
    tell = (event) => {
      clearTimeout(late);
      resolve(event);
    };
  });
  return { tell: (event) => tell(event), event };
}

async function fires(watch, type, path) {
  const event = await watch.event;
  assert.strictEqual(event.getType(), type);
  assert.strictEqual(event.getPath(), path);
}

// Requests fail while the client looks for another server; they are asked again, as every user of this client does.
async function again(what, request) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    try {
      return await request();
    } catch (error) {
      if (Date.now() > end) throw new Error(`${what}: still ${error} after ${PATIENCE} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function connect(servers) {
  const client = zookeeper.createClient(servers, { sessionTimeout: 10000, spinDelay: 50, retries: 5 });
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no session')), PATIENCE);
    client.once('connected', () => {
      clearTimeout(late);
      resolve(client);
    });
    client.connect();
  });
}

async function operations(client, other) {
  assert.strictEqual(await ask(client, 'create', '/node', Buffer.from('0')), '/node');
  await refused(Exception.NODE_EXISTS, ask(client, 'create', '/node'), 'create again');
  await refused(Exception.NO_NODE, ask(client, 'create', '/none/child'), 'create without a parent');
  const stat = await ask(client, 'setData', '/node', Buffer.from('22'), 0);
  assert.strictEqual(stat.version, 1);
  assert.strictEqual(stat.dataLength, 2);
  await refused(Exception.BAD_VERSION, ask(client, 'setData', '/node', Buffer.from('x'), 0), 'set of an old version');
  const [data] = await ask(client, 'getData', '/node');
  assert.strictEqual(data.toString(), '22');
  for (let i = 0; i < 3; i += 1) {
    const path = await ask(client, 'create', '/node/n-', null, CreateMode.PERSISTENT_SEQUENTIAL);
    assert.strictEqual(path, `/node/n-${String(i).padStart(10, '0')}`);
  }
  await ask(client, 'create', '/node/ephemeral', Buffer.from('e'), CreateMode.EPHEMERAL);
  await refused(Exception.NO_CHILDREN_FOR_EPHEMERALS, ask(client, 'create', '/node/ephemeral/child'), 'a child of an ephemeral node');
  await refused(Exception.NOT_EMPTY, ask(client, 'remove', '/node', -1), 'delete of a node with children');
  await ask(client, 'mkdirp', '/node/a/b/c');
  const [children] = await ask(client, 'getChildren', '/node');
  assert.deepStrictEqual(children.sort(), ['a', 'ephemeral', 'n-0000000000', 'n-0000000001', 'n-0000000002']);

  const [changed, childrenChanged, created] = [watcher('a change'), watcher('a new child'), watcher('a new node')];
  await again('the other client sees the node', () => ask(other, 'getData', '/node', changed.tell));
  await ask(other, 'getChildren', '/node', childrenChanged.tell);
  assert.strictEqual(await ask(other, 'exists', '/node/later', created.tell), null);
  await ask(client, 'setData', '/node', Buffer.from('3'), -1);
  await fires(changed, Event.NODE_DATA_CHANGED, '/node');
  await ask(client, 'create', '/node/later');
  await fires(childrenChanged, Event.NODE_CHILDREN_CHANGED, '/node');
  await fires(created, Event.NODE_CREATED, '/node/later');

  const wrong = client.transaction().create('/node/multi').check('/node', 77);
  await refused(Exception.BAD_VERSION, ask(wrong, 'commit'), 'a transaction with a wrong version');
  assert.strictEqual(await ask(client, 'exists', '/node/multi'), null);
  const right = client.transaction().create('/node/multi').setData('/node/multi', Buffer.from('m'), 0).remove('/node/later', -1);
  const results = await ask(right, 'commit');
  assert.strictEqual(results.length, 3);
  assert.strictEqual(results[1].stat.version, 1);

  client.addAuthInfo('digest', Buffer.from('ann:secret'));
  await ask(client, 'create', '/node/private', Buffer.from('p'), zookeeper.ACL.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
  const [acls] = await ask(client, 'getACL', '/node/private');
  assert.strictEqual(acls[0].id.scheme, 'digest');
  const unseen = async () => {
    try {
      await ask(other, 'getData', '/node/private');
    } catch (error) {
      if (error.getCode() === Exception.NO_AUTH) return;
      throw error;
    }
    throw new Error('a private node was read');
  };
  await again('the other client may not read a private node', unseen);
  await ask(client, 'setACL', '/node/private', zookeeper.ACL.OPEN_ACL_UNSAFE, -1);
  await again('the other client reads a node that is open again', () => ask(other, 'getData', '/node/private'));
}

async function main() {
  const servers = process.argv[2];
  const [client, other] = [await connect(servers), await connect(servers)];
  await operations(client, other);
  const session = client.getSessionId().toString('hex');
  const watched = watcher('a change after the death of the leader');
  await ask(client, 'getData', '/node', watched.tell);
  console.log('ready');
  await new Promise((resolve) => process.stdin.once('data', resolve));

  await again('a write after the death of the leader', () => ask(other, 'setData', '/node', Buffer.from('after'), -1));
  await fires(watched, Event.NODE_DATA_CHANGED, '/node');
  await again('a read after the death of the leader', () => ask(client, 'getData', '/node'));
  assert.strictEqual(client.getSessionId().toString('hex'), session, 'the session is another one');
  const stat = await ask(client, 'exists', '/node/ephemeral');
  assert.ok(stat, 'the ephemeral node did not outlive the leader');
  assert.strictEqual(stat.ephemeralOwner.toString('hex'), session);
  client.close();
  await again('the ephemeral node goes with its session', async () => {
    if (await ask(other, 'exists', '/node/ephemeral')) throw new Error('it is still there');
  });
  console.log('done');
  process.exit(0);
}

main().catch((error) => {
  console.log(`node-zookeeper-client: ${error.stack}`);
  process.exit(1);
});
