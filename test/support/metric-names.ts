/** The metrics that a tracker offers on its metrics page, as its contract with the outside names them. */

/** Every metric of ours without its prefix, with its labels. */
export const METRICS: Record<string, { labels?: string[]; isHistogram?: boolean }> = {
  tip_height: {},
  scanned_height: {},
  synced: {},
  bonds: { labels: ['state'] },
  makers: { labels: ['reach'] },
  requests_total: { labels: ['kind', 'outcome'] },
  request_duration_seconds: { labels: ['kind'], isHistogram: true },
  connections: {},
  subscriptions: {},
  probes_total: { labels: ['outcome'] },
  probe_duration_seconds: { isHistogram: true },
  reorgs_total: {},
  reorg_depth_max: {},
  mempool_transactions: {},
  trackers: { labels: ['agrees'] },
  trackers_learnt: {},
  hints_total: { labels: ['outcome'] },
  stranger_dials_total: {},
  onion_up: {},
  bitcoind_up: {},
  ready: {},
  canary_up: {},
  registrations: {},
  registration_effort_bits: {},
  registrations_refused_total: { labels: ['reason'] },
  webhook_queue: {},
  webhook_dropped_total: {},
  build_info: { labels: ['version'] },
  db_bytes: {},
  work_waiting: { labels: ['queue'] },
  work_units_total: {},
  work_exhausted_total: {},
  work_refused_total: {},
  work_piece_seconds_max: {},
  evicted_total: { labels: ['group'] },
}

/** Of those that prom-client tells of every Node process, the ones that the monitoring kit asks for. */
export const PROCESS_METRICS = [
  'process_start_time_seconds',
  'process_open_fds',
  'process_max_fds',
  'process_resident_memory_bytes',
  'nodejs_eventloop_lag_p99_seconds',
]
