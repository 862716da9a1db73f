/**
 * What the API answers, for editors that read types.
 *
 * @typedef {{target: string, provider: string, model: string | null, status: number | null, failure: string | null,
 *   cause: string | null, started_ms: number, connect_ms: number | null, sent_bytes: number, upload_ms: number | null,
 *   ttfb_ms: number | null, total_ms: number | null, replayed: boolean, possibly_billed: boolean, hedged: boolean
 * }} Attempt
 *
 * @typedef {{start: number | null, end: number | null, text: string, speaker: string | null}} Segment
 *
 * @typedef {{id: string, trace_id: string, time: string, route: string, method: string, status: number | null,
 *   outcome: string, error_code: string | null, key_name: string | null, config: string | null,
 *   provider: string | null, model_requested: string | null, model_used: string | null,
 *   metadata: Record<string, any>, attempts: Attempt[], retry_count: number,
 *   audio: {container: string | null, filename: string | null, bytes: number | null, seconds: number | null,
 *     seconds_source: string, ended_early: boolean},
 *   usage: Record<string, any> | null, cost_usd: string | null, cost_basis: string, bytes_in: number,
 *   bytes_out: number, timing_ms: {total: number, upload: number | null, overhead: number | null,
 *     ttfb_upstream: number | null, overlap_saved: number | null},
 *   response_format: string | null, language: string | null, stream: boolean, transcript: string | null,
 *   transcript_cut?: boolean, segments?: Segment[] | null, client: string | null, user_agent: string | null,
 *   replay: string}} RequestRecord
 *
 * @typedef {{requests: number, errors: number, unpriced: number, cost_usd: string, audio_seconds: number,
 *   bytes_in: number, bytes_out: number, latency_ms: {p50: number | null, p95: number | null, p99: number | null}
 * }} Measures
 *
 * @typedef {{since: string, until: string, bucket: number, group_by: string | null, total: Measures,
 *   groups: (Measures & {group: string})[], series: (Measures & {time: string, group: string | null})[]}} Stats
 *
 * @typedef {{element: HTMLElement, title: string, parked?: boolean, leave?: () => void, shown?: () => void}} Page
 */

export {};
