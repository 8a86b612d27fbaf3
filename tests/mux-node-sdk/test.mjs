// Mux's own SDK, unchanged, against the simulator. It reads MUX_BASE_URL, MUX_TOKEN_ID and MUX_TOKEN_SECRET by itself;
// SIMULATOR_URL is the base of the simulator's switches.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import Mux, { AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from '@mux/mux-node';

const mux = new Mux();
const impatient = new Mux({ maxRetries: 0 });
const marker = `mux-node-sdk/${randomUUID()}`;

async function switches(method, what, body) {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  const answer = await fetch(`${process.env.SIMULATOR_URL}/${what}`, { method, headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${what}: ${answer.status}`);
  return answer.status === 204 ? undefined : answer.json();
}

function create(settings = {}) {
  return mux.video.liveStreams.create({
    passthrough: marker,
    playback_policies: ['public'],
    new_asset_settings: { playback_policies: ['public'] },
    ...settings,
  });
}

test('a live stream is made, read, changed, switched and deleted', async () => {
  const stream = await create({ latency_mode: 'low' });
  assert.equal(stream.status, 'idle');
  assert.equal(stream.passthrough, marker);
  assert.equal(stream.reconnect_window, 0);
  assert.match(stream.created_at, /^[0-9]+$/);
  assert.equal(stream.playback_ids[0].policy, 'public');
  const streams = mux.video.liveStreams;
  assert.deepEqual(await streams.retrieve(stream.id), stream);

  const updated = await streams.update(stream.id, { reconnect_window: 30, latency_mode: 'standard' });
  assert.equal(updated.reconnect_window, 30);
  assert.equal(updated.latency_mode, 'standard');

  await streams.complete(stream.id);
  await streams.disable(stream.id);
  assert.equal((await streams.retrieve(stream.id)).status, 'disabled');
  await streams.enable(stream.id);
  assert.equal((await streams.retrieve(stream.id)).status, 'idle');

  const renewed = await streams.resetStreamKey(stream.id);
  assert.notEqual(renewed.stream_key, stream.stream_key);
  const byKey = await streams.list({ stream_key: renewed.stream_key });
  assert.deepEqual(byKey.data.map((one) => one.id), [stream.id]);

  const added = await streams.createPlaybackId(stream.id, { policy: 'signed' });
  assert.equal((await streams.retrievePlaybackId(stream.id, added.id)).policy, 'signed');
  const found = await mux.video.playbackIds.retrieve(added.id);
  assert.deepEqual(found.object, { id: stream.id, type: 'live_stream' });
  await streams.deletePlaybackId(stream.id, added.id);
  assert.equal((await streams.retrieve(stream.id)).playback_ids.length, 1);

  const assets = await mux.video.assets.list({ live_stream_id: stream.id });
  assert.deepEqual(assets.data, []);

  await streams.delete(stream.id);
  await assert.rejects(streams.retrieve(stream.id), NotFoundError);
});

test('pages are followed up to the empty one', async () => {
  const made = [];
  for (let count = 0; count < 5; count += 1) made.push(await create());
  await switches('DELETE', 'requests');
  const found = [];
  for await (const stream of mux.video.liveStreams.list({ limit: 2, status: 'idle' })) {
    if (stream.passthrough === marker) found.push(stream.id);
  }
  assert.deepEqual(found.toSorted(), made.map((stream) => stream.id).toSorted());
  const counts = await switches('GET', 'requests');
  const pages = counts.find((count) => count.operation === 'list_live_streams' && count.status === 200);
  assert.ok(pages.count >= 4, `${pages.count} pages`);
  for (const stream of made) await mux.video.liveStreams.delete(stream.id);
});

test('errors have the classes of the SDK', async () => {
  const stream = await create();
  await assert.rejects(impatient.video.liveStreams.retrieve('not-an-id'), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.match(error.message, /Failed to parse ID/);
    return true;
  });
  const stranger = new Mux({ tokenSecret: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.video.liveStreams.retrieve(stream.id), AuthenticationError);

  const fault = { operation: 'get_live_stream', times: 1, kind: { too_many_requests: { retry_after: null } } };
  await switches('POST', 'faults', fault);
  await assert.rejects(impatient.video.liveStreams.retrieve(stream.id), RateLimitError);
  await switches('POST', 'faults', fault);
  assert.equal((await mux.video.liveStreams.retrieve(stream.id)).id, stream.id, 'it tries again by itself');

  await assert.rejects(create({ test: true, max_continuous_duration: 43200 }), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.match(error.message, /Cannot use max continuous duration with test live streams/);
    return true;
  });
  await mux.video.liveStreams.delete(stream.id);
  await assert.rejects(impatient.video.liveStreams.delete(stream.id), NotFoundError);
});

// Even the official SDK makes two when an answer is lost: there is no idempotency key.
test('a create whose answer is lost is made twice by the SDK', async () => {
  const own = `${marker}/lost`;
  await switches('POST', 'faults', { operation: 'create_live_stream', times: 1, kind: 'drop_reply' });
  await create({ passthrough: own });
  const made = (await switches('GET', 'streams')).filter((stream) => stream.passthrough === own);
  assert.equal(made.length, 2);
  for (const stream of made) await mux.video.liveStreams.delete(stream.id);
});

test('whose token it is can be asked', async () => {
  const whoami = await mux.system.utilities.whoami();
  assert.ok(whoami.environment_id);
});
