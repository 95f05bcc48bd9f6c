/**
 * What happens at each bound, and which metric shows it: the part of docs/limits.md that the source can't say itself.
 * By file; `but` names single limits for which it is different. A file with limits and no entry fails the table.
 */
import type { SettingName } from '../src/settings.ts'

export interface Bound {
  at: string
  /** Without `fidelity_tracker_`. */
  metric?: string
}

const STOPS_READING = 'the client is not read until it has allowance again; nothing is dropped'
const CLOSED = 'the connection is closed'
const LIMIT = '`Error{limit}`; nothing was registered or kept for it'
const RETRIED = 'given up and tried again, with growing pauses'
const SHORTENED = 'cut to this length'
const WEATHER = 'given up as weather: tried again with growing pauses'

export const AT_SETTING: Partial<Record<SettingName, Bound>> = {
  'streams-per-circuit': { at: 'Tor closes that circuit with all its streams, and no other', metric: 'connections' },
  'start-timeout': { at: 'the daemon leaves with exit code 69' },
  'probe-interval': { at: 'the maker is due again', metric: 'probes_total' },
  'probe-timeout': { at: 'the probe has failed', metric: 'probes_total' },
  'tracker-interval': { at: 'the tracker is due again', metric: 'trackers' },
  'probes-at-once': { at: 'further makers that are due wait', metric: 'probe_duration_seconds' },
  'webhook-expiring-blocks': { at: 'the bond is told of, once' },
  'webhook-reorg-depth': { at: 'the reorg is told of', metric: 'reorg_depth_max' },
  'retention-blocks': { at: 'the oldest block leaves the index of spent outpoints', metric: 'db_bytes' },
  'watches-max': {
    at: '`Error{limit}`; from half of it on a registration needs effort, ever more of it',
    metric: 'registration_effort_bits',
  },
  'outpoints-per-request': { at: LIMIT, metric: 'requests_total' },
  'subscriptions-per-connection': { at: LIMIT, metric: 'subscriptions' },
  'registrations-per-connection': { at: LIMIT, metric: 'registrations_refused_total' },
  'subscriptions-max': { at: LIMIT, metric: 'subscriptions' },
  'connections-max': {
    at: 'a newcomer takes the place of another, never of the half that has been subscribed longest',
    metric: 'evicted_total',
  },
  'frame-bytes-max': { at: '`Error{too_large}`, then the connection is closed', metric: 'requests_total' },
  'idle-seconds-max': { at: CLOSED, metric: 'connections' },
  'subscribed-idle-seconds-max': { at: CLOSED, metric: 'connections' },
  'frame-seconds-max': { at: '`Error{bad_frame}`, then the connection is closed', metric: 'requests_total' },
  'units-per-second': { at: STOPS_READING, metric: 'work_exhausted_total' },
  'units-burst': { at: STOPS_READING, metric: 'work_exhausted_total' },
}

export const AT_BOUND: Record<string, Bound & { but?: Record<string, Bound> }> = {
  'bonds/announcement-faults.ts': { at: SHORTENED },
  'bonds/announcement.ts': { at: 'the transaction announces nothing' },
  'bonds/op-return.ts': { at: 'more is written behind PUSHDATA1' },
  'bonds/sybil.ts': { at: 'the cost is told as exactly as that' },
  'bonds/today.ts': { at: '`today` is false, and `today_refusals` says why' },
  'bonds/verify-proof.ts': { at: 'the proof fails its check' },
  'bonds/verify.ts': { at: 'the bond is refused, and the row says why', metric: 'bonds' },
  'chain/answers.ts': { at: SHORTENED },
  'chain/batch.ts': { at: 'what has come is connected', metric: 'scanned_height' },
  'chain/blocks.ts': {
    at: 'blocks come by RPC until then',
    but: { provenBlocks: { at: 'blocks further down are held to their header where something in them is believed' } },
  },
  'chain/client.ts': { at: WEATHER, metric: 'bitcoind_up' },
  'chain/contact.ts': { at: 'the next try is made', metric: 'bitcoind_up' },
  'chain/decode.ts': { at: 'more is no block, or no announcement' },
  'chain/following.ts': {
    at: 'no list is given: `Error{not_synced}`, and readiness says so',
    metric: 'synced',
    but: {
      tipAgeSMax: { at: 'told as a warning of bitcoind' },
      reorgsKept: { at: 'the oldest is forgotten; listeners are told `reset`', metric: 'reorgs_total' },
    },
  },
  'chain/meter.ts': { at: 'the next line is written' },
  'chain/mempool-sync.ts': { at: 'the next look is taken', metric: 'mempool_transactions' },
  'chain/mempool.ts': {
    at: 'the rest has to wait for the next round, or is asked for again',
    metric: 'mempool_transactions',
    but: { known: { at: 'watch requests are refused, lists are given; told in status and log', metric: 'ready' } },
  },
  'chain/merkle-block.ts': { at: 'the proof is refused' },
  'chain/node-reader.ts': { at: 'the rest comes with the next look' },
  'chain/node.ts': { at: 'the thread is ended; beyond its heap it breaks, and the daemon is started again' },
  'chain/plan.ts': { at: 'the scan begins there' },
  'chain/http-answer.ts': {
    at: WEATHER,
    metric: 'bitcoind_up',
    but: { chunkBytes: { at: 'more headers are no answer' }, untoldBytes: { at: 'it grows' } },
  },
  'chain/recent-transactions.ts': { at: 'the oldest are asked for again when they are needed' },
  'chain/receiver.ts': { at: 'a further one is closed once it is idle' },
  'chain/slabs.ts': { at: 'let go, and made anew when it is needed' },
  'chain/rpc.ts': {
    at: 'bitcoind is asked anew',
    but: {
      headersBehindMax: { at: 'bitcoind is taken to be in initial download' },
      nodeVersionMin: { at: 'an older node is refused, exit code 2' },
    },
  },
  'chain/sync.ts': { at: 'further blocks wait; the next look is taken', metric: 'scanned_height' },
  'chain/types.ts': { at: 'a higher output index is refused: no transaction has it' },
  'chain/key-table.ts': { at: 'a segment is made anew, with twice or half as many places' },
  'chain/txid-listing.ts': { at: 'the reply is not understood; bitcoind is asked anew' },
  'chain/txid-set.ts': { at: 'it grows by one more' },
  'chain/window.ts': { at: 'the exchange waits for its turn, and then is given up as weather', metric: 'bitcoind_up' },
  'chain/zmq.ts': { at: 'messages are dropped, which is noticed: bitcoind is asked instead' },
  'cli/clients.ts': { at: 'the verb ends with what it has' },
  'cli/query.ts': { at: 'the verb ends with exit code 69' },
  'cli/register.ts': { at: 'the verb ends, and says what would be asked for' },
  'cli/rescan.ts': { at: 'a line of progress' },
  'cli/verify.ts': { at: 'the verb says what differs' },
  'cli/watch.ts': { at: 'the verb tries again' },
  'cli/table-options.ts': { at: 'the table is as where no terminal reads it' },
  'cli/why-transaction.ts': { at: 'the transaction is told to be not known' },
  'cli/watches.ts': { at: 'the rest is told as a sum' },
  'cli/drop-watches.ts': { at: 'the rest is ended in a further transaction' },
  'config.ts': {
    at: 'a smaller value is refused beyond regtest, exit code 2',
    but: { RELAYS_MAX: { at: 'refused, exit code 2' } },
  },
  'daemon.ts': { at: 'done again' },
  'doctor/bitcoind.ts': { at: 'a finding' },
  'doctor/data-dir.ts': { at: 'a finding' },
  'doctor/host.ts': { at: 'a finding' },
  'doctor/postgres.ts': { at: 'a warning' },
  'doctor/relays.ts': { at: 'a finding' },
  'doctor/tor-places.ts': { at: 'a finding' },
  'doctor/tor.ts': { at: 'a finding' },
  'events/crowds.ts': { at: 'the rest is told as a number, once the time is over' },
  'events/market-log.ts': { at: 'held back until the next is due; nothing is told if it is as before by then' },
  'events/feed.ts': { at: '`reset` is told instead: the lists have to be read again' },
  'events/stream.ts': {
    at: '`reset` is told instead: the lists have to be read again',
    but: {
      streamsMax: { at: 'a newcomer takes the place of another, never of the half that has been open longest' },
      unsentBytesMax: { at: 'the stream is ended; the reader comes again' },
      heartbeatMs: { at: 'a comment is sent' },
    },
  },
  'events/webhook.ts': {
    at: 'the event is dropped, counted and told in the log',
    metric: 'webhook_dropped_total',
    but: {
      eventsPerLook: { at: '`reset` is told instead' },
      queue: { at: 'the oldest is dropped, counted and told in the log', metric: 'webhook_queue' },
      timeoutMs: { at: 'tried again over another circuit', metric: 'webhook_queue' },
      backoff: { at: 'tried again', metric: 'webhook_queue' },
      flaps: { at: 'held back until the next is due; nothing is told if it is as before by then', metric: 'ready' },
    },
  },
  'forgetting.ts': { at: 'the rest is a further piece', metric: 'db_bytes' },
  'heap.ts': { at: 'the heaps may grow' },
  'http/dashboard/headline.js': { at: 'the rest is counted; the table has them all' },
  'http/dashboard/live.js': { at: 'the page reads the lists again' },
  'http/dashboard/place.js': { at: 'cut off there' },
  'http/dashboard/plots.js': { at: 'drawn to its end' },
  'http/guard.ts': {
    at: 'refused with an HTTP status that says so',
    but: {
      connectionsMax: { at: 'a newcomer takes the place of another' },
      requestMsMax: { at: CLOSED },
      keepAliveMs: { at: CLOSED },
      idleMsMax: { at: CLOSED },
      sweepMs: { at: 'deadlines are looked after' },
      pageRows: { at: 'a further page, if asked for' },
    },
  },
  'indexer.ts': {
    at: 'the rest is a further piece',
    metric: 'work_piece_seconds_max',
    but: { txidsKept: { at: 'bitcoind is asked what has changed' } },
  },
  'main.ts': { at: 'a stop that hangs is ended' },
  'market.ts': {
    at: 'older ones are not in the lists; live and pending ones always are',
    metric: 'bonds',
    but: { tipsRemembered: { at: 'everything is read anew' } },
  },
  'notify.ts': { at: 'told again; the message is given up' },
  'nostr/door-limits.ts': {
    at: '`CLOSED` with a reason; the connection goes on',
    metric: 'nostr_door_messages_total',
    but: {
      eventsPerPiece: { at: 'the rest is a further piece', metric: 'work_piece_seconds_max' },
      pingMs: { at: 'the client is pinged' },
      unsentBytes: { at: 'its messages and its events wait', metric: 'nostr_door_connections' },
      headBytes: { at: 'HTTP 431, and the connection is closed' },
      echoedIdChars: { at: 'the refusal has an empty id' },
      lookMs: { at: 'looked at again' },
      signedAnewS: { at: 'the event is signed anew' },
      signaturesPerPiece: { at: 'the rest is a further piece', metric: 'work_piece_seconds_max' },
    },
  },
  'nostr/event.ts': {
    at: 'the event is refused, as invalid',
    but: {
      lifeS: { at: 'takers skip it, and so it counts as invalid' },
      aheadS: { at: 'takers skip it, and so it counts as invalid' },
    },
  },
  'nostr/tracker-event.ts': { at: 'it is said anew; when it stands no more, others take no hint from it' },
  'nostr/named-trackers.ts': {
    at: 'the place of any is taken by the newcomer',
    but: { everyMs: { at: 'the next is told' } },
  },
  'nostr/relay-mending.ts': { at: 'looked again' },
  'nostr/mender.ts': {
    at: 'nothing is sent to that relay meanwhile',
    metric: 'nostr_published_total',
    but: {
      renewS: { at: 'our own event is sent anew, if no other announces the bond' },
      bondPauseMs: { at: 'that bond is sent again' },
      bondPauseMsMax: { at: 'that bond is sent again' },
    },
  },
  'nostr/observer.ts': { at: 'done again' },
  'nostr/relay-client.ts': {
    at: 'the connection is given up as weather: tried again with growing pauses, and told in the relay’s row',
    metric: 'nostr_relay_up',
    but: {
      waitingChars: { at: 'the relay is not read until there is room' },
      reasonChars: { at: SHORTENED },
    },
  },
  'nostr/relay-events.ts': { at: 'the oldest is forgotten, and verified again when it comes again' },
  'nostr/relay-information.ts': { at: 'it counts as none', but: { textChars: { at: SHORTENED } } },
  'nostr/relay-ledger.ts': { at: 'the oldest is forgotten', but: { expectMs: { at: 'its delay is not counted' } } },
  'nostr/relay-messages.ts': {
    at: SHORTENED,
    but: { frameChars: { at: 'not read; counted as an event of no shape', metric: 'nostr_relay_bonds' } },
  },
  'nostr/relay-session.ts': {
    at: 'the connection is given up as weather: tried again with growing pauses, and told in the relay’s row',
    metric: 'nostr_relay_up',
    but: { messageUnits: { at: 'the relay is not read until it has allowance again' }, lookMs: { at: 'looked again' } },
  },
  'nostr/relay-view.ts': { at: 'further ones are not counted', metric: 'nostr_relay_bonds' },
  'nostr/relay-watch.ts': {
    at: 'done again',
    metric: 'nostr_relay_up',
    but: {
      noticesKept: { at: 'the oldest is forgotten' },
      knownMs: { at: 'nothing is told of what was seen there', metric: 'nostr_relay_bonds' },
      failureChars: { at: SHORTENED },
      slowedMs: { at: 'it is told no more' },
    },
  },
  'peers/canary.ts': { at: 'the canary runs again', metric: 'canary_up' },
  'peers/dial-budget.ts': {
    at: 'strangers’ hints wait, and are forgotten in time; our own schedule goes on',
    metric: 'stranger_dials_total',
  },
  'peers/dialects.ts': { at: 'the maker’s answer is rubbish', metric: 'probes_total' },
  'peers/hints.ts': {
    at: 'the newcomer takes the place of any; after its time a hint is forgotten',
    metric: 'hints_total',
  },
  'peers/known-trackers.ts': { at: 'one that was learnt makes room', metric: 'trackers_learnt' },
  'peers/list-comparison.ts': { at: 'their list is read no further: it differs', metric: 'trackers' },
  'peers/monitor.ts': { at: 'others that are due wait', metric: 'probes_total' },
  'peers/offer-terms.ts': { at: 'the offer is refused, and `why` names the number' },
  'peers/probe.ts': { at: 'the probe ends with what it has', metric: 'probe_duration_seconds' },
  'peers/reach.ts': { at: 'the maker is due again', metric: 'makers' },
  'peers/tracker-visit.ts': { at: 'the visit is given up, and the tracker asked more rarely', metric: 'trackers' },
  'peers/trackers.ts': {
    at: 'others that are due wait',
    metric: 'trackers',
    but: {
      forgetMs: { at: 'it is forgotten', metric: 'trackers_learnt' },
      failureChars: { at: SHORTENED },
    },
  },
  'rereading.ts': {
    at: 'the rest is a further piece',
    but: {
      triesMax: { at: 'they stay `unread` for a minute' },
      soonMs: { at: 'asked for again' },
      againMs: { at: 'asked for again' },
    },
  },
  'store/before-migration.ts': { at: 'no copy, and a warning in the log' },
  'store/backup.ts': { at: 'a look at the signal' },
  'store/local/bonds.ts': { at: 'the youngest are read, the rest is not' },
  'store/check.ts': { at: 'no further ones are listed' },
  'store/lock.ts': { at: 'the start is refused, exit code 2' },
  'store/migrate.ts': { at: 'a higher number is no migration' },
  'store/open.ts': {
    at: 'exit code 74: the database can’t be used',
    but: {
      walKeptBytes: { at: 'cut once it was written back', metric: 'db_bytes' },
      walToldBytes: { at: 'a warning in the log', metric: 'db_bytes' },
      statements: { at: 'all are prepared anew' },
      verdictChars: { at: SHORTENED },
    },
  },
  'store/pages.ts': { at: 'the row is damage, and left out' },
  'sharing.ts': {
    at: 'what is left is a further piece',
    metric: 'shared_store_untold',
    but: {
      pruneLeaseMs: { at: 'another tracker deletes what is past its time' },
      backoff: { at: RETRIED, metric: 'shared_store_up' },
    },
  },
  'store/shared/backed.ts': {
    at: 'the rest is a further piece',
    but: { claimGapMs: { at: 'the next claim waits' } },
  },
  'store/shared/local.ts': { at: 'the rest is a further piece' },
  'store/shared/whole.ts': { at: 'the rest is a further page' },
  'setting-values.ts': { at: 'refused, exit code 2' },
  'store/shared/postgres/connection.ts': { at: WEATHER },
  'store/shared/postgres/migrate.ts': { at: WEATHER },
  'store/shared/postgres/pool.ts': {
    at: 'further statements wait',
    but: { waiting: { at: 'the statement fails at once; a client that asked for it is told `Error{busy}`' } },
  },
  'store/shared/postgres/postgres.ts': {
    at: 'the next dial, or the next look; without an answer all connections are made anew',
  },
  'store/shared/postgres/primary.ts': { at: 'an older one is refused' },
  'store/shared/postgres/news.ts': { at: 'the rest is a further page' },
  'store/shared/postgres/postgres-shared.ts': {
    at: 'the rest is a further statement',
    but: { mergeAllMs: { at: 'given up as weather: nothing of the file was taken over' } },
  },
  'store/shared/postgres/pruning.ts': {
    at: 'the rest goes with the next call',
    but: {
      behindBlocks: { at: 'the row is deleted from the shared store' },
      turnMs: { at: 'the row is deleted from the shared store' },
    },
  },
  'store/shared/postgres/turns.ts': { at: 'the host is asked for again' },
  'store/shared/registrations.ts': { at: 'the rest is a further piece' },
  'store/shared/probes.ts': { at: 'older rows are deleted, some at a time', metric: 'db_bytes' },
  'store/local/relays.ts': { at: 'older hours are deleted; further rows are a further piece', metric: 'db_bytes' },
  'store/local/spent-keys.ts': { at: 'the rest is a further piece, or goes with the next block', metric: 'db_bytes' },
  'store/salvage.ts': { at: 'refused: move some of them away' },
  'onion.ts': {
    at: 'the lease is given back, for another tracker to publish',
    metric: 'onion_lease_holder',
    but: { lookMs: { at: 'looked again', metric: 'onion_up' } },
  },
  'tor/address-lease.ts': {
    at: 'the holder withdraws the service; another takes the lease',
    metric: 'onion_lease_holder',
    but: {
      renewMs: { at: 'renewed' },
      standbyMs: { at: 'asked for again' },
      retryMs: { at: 'asked for again' },
      dropMs: { at: 'it ends by itself' },
    },
  },
  'tor/fuse-process.ts': { at: 'the connection to Tor is cut', metric: 'onion_up' },
  'tor/fuse.ts': { at: 'it crashes, and the connection to Tor with it', metric: 'onion_up' },
  'tor/back-end-guard.ts': { at: 'the guard takes the service of a back end from Tor', metric: 'onion_up' },
  'tor/balanced-onion.ts': {
    at: RETRIED,
    metric: 'onion_up',
    but: {
      lookMs: { at: 'looked for again', metric: 'onion_up' },
      patienceMs: {
        at: 'the service is withdrawn from Tor until this tracker is ready',
        metric: 'onion_withdrawn_total',
      },
      farewellMs: { at: 'the guard takes it from Tor' },
    },
  },
  'tor/control.ts': { at: RETRIED, metric: 'onion_up' },
  'tor/descriptor.ts': {
    at: 'the next directory is asked; after the last the canary is red',
    metric: 'canary_up',
    but: {
      forgetMs: { at: 'the canary goes by what Tor has kept, and says so', metric: 'canary_up' },
      directoriesKept: { at: 'further ones are not kept' },
    },
  },
  'tor/healing.ts': { at: 'the service is taken down and published again', metric: 'onion_republished_total' },
  'tor/pasted-address.ts': { at: SHORTENED },
  'tor/refusals.ts': { at: SHORTENED },
  'tor/onion.ts': {
    at: RETRIED,
    metric: 'onion_up',
    but: { checkMs: { at: 'looked for again', metric: 'onion_up' } },
  },
  'tor/torrc-onion.ts': { at: 'read again', metric: 'onion_up' },
  'tor/uploads.ts': {
    at: 'further names are passed over',
    but: { rejectionsMax: { at: 'the service is down, and added anew after a pause', metric: 'onion_up' } },
  },
  'tor/torrc.ts': { at: 'Tor closes that circuit with all its streams, and no other', metric: 'connections' },
  'views/closed.ts': { at: 'the verbs say that the daemon hangs' },
  'views/history.ts': { at: 'the oldest are left out' },
  'views/maker-probes.ts': { at: 'the oldest are left out' },
  'views/relays.ts': { at: 'the rest is not named; the count has them all' },
  'views/sybil.ts': {
    at: 'fewer blocks of the past are reckoned',
    but: { makersMax: { at: 'refused with an HTTP status that says so' } },
  },
  'suggest.ts': { at: 'nothing is guessed' },
  'views/why.ts': { at: 'the rest is left out', but: { addressMax: { at: SHORTENED } } },
  'watch/answers.ts': { at: '`Error{busy}`: nothing was kept for it', metric: 'requests_total' },
  'watch/book.ts': { at: 'the oldest entries make room, and are looked up anew when asked about again' },
  'watch/effort.ts': {
    at: '`Error{limit}` that names the bits asked for; nothing was registered',
    metric: 'registration_effort_bits',
  },
  'watch/recorder.ts': { at: 'the rest is a further piece' },
  'watch/news.ts': {
    at: 'the rest is a further piece',
    metric: 'work_piece_seconds_max',
    but: { retryMs: { at: 'looked at again' } },
  },
  'watch/registration-ends.ts': {
    at: 'the rest is a further piece',
    metric: 'registrations',
    but: { backoff: { at: 'bitcoind is asked again' } },
  },
  'watch/registrations.ts': {
    at: 'the registration ends',
    metric: 'registrations',
    but: {
      blocksMax: { at: '`Error{bad_request}`', metric: 'requests_total' },
      v1RenewBlocks: { at: 'asking again prolongs it' },
      piece: { at: 'the rest is a further piece', metric: 'work_piece_seconds_max' },
    },
  },
  'watch/settling.ts': { at: '`Error{not_synced}`', metric: 'requests_total' },
  'watch/transactions.ts': {
    at: '`Error{limit}`: ask about fewer at once',
    metric: 'requests_total',
    but: {
      pieceBytes: { at: 'the rest is a further piece', metric: 'work_piece_seconds_max' },
      deepBytes: { at: 'the oldest makes room; bitcoind is asked again' },
    },
  },
  'watch/watcher.ts': {
    at: 'the rest is a further piece',
    metric: 'work_piece_seconds_max',
    but: {
      subscriptionsAlways: { at: 'further ones are counted in --subscriptions-max', metric: 'subscriptions' },
      sweepMs: { at: 'looked at again' },
    },
  },
  'wire/bond-pages.ts': { at: 'encoded anew' },
  'wire/bond-proofs.ts': { at: 'the one that was asked for longest ago makes room' },
  'wire/cbor.ts': { at: '`Error{bad_frame}`, then the connection is closed', metric: 'requests_total' },
  'wire/client.ts': { at: 'the other side’s reply is refused' },
  'wire/fidelity-proof.ts': { at: '`Error{bad_request}`' },
  'wire/limits.ts': {
    at: CLOSED,
    metric: 'connections',
    but: {
      frameBytesMax: { at: '`Error{too_large}`, then the connection is closed', metric: 'requests_total' },
      connectionsMax: AT_SETTING['connections-max']!,
      unitsPerS: AT_SETTING['units-per-second']!,
      unitsBurst: AT_SETTING['units-burst']!,
      unsentBytesMax: { at: 'its requests and pushes wait', metric: 'connections' },
      sweepMs: { at: 'looked at again' },
      limitMax: { at: '`Error{bad_request}`', metric: 'requests_total' },
      limitDefault: { at: 'a further page, if asked for' },
    },
  },
  'wire/proxy-line.ts': { at: 'the connection is closed: what comes there is no PROXY line of Tor’s' },
  'wire/walk.ts': { at: 'the walk is given up: the other tracker’s list is not taken' },
  'wire/work.ts': {
    at: 'the request waits in its queue, round robin over clients',
    metric: 'work_waiting',
    but: {
      piecesMs: { at: 'sockets and timers have their turn', metric: 'work_piece_seconds_max' },
      pieceOutpoints: { at: 'the rest is a further piece', metric: 'work_piece_seconds_max' },
      waitMsMax: { at: '`Error{busy}`: nothing was kept for it', metric: 'work_refused_total' },
    },
  },
}
